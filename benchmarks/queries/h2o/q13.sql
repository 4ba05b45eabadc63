select count(*) as n, sum(v1) as v1, sum(v2) as v2
from (select lhs.*, medium.id1 as medium_id1, v2 from lhs left join medium on lhs.id2 = medium.id2) as j
