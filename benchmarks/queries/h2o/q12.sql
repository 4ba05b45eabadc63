select count(*) as n, sum(v1) as v1, sum(v2) as v2
from (select lhs.*, medium.id1 as medium_id1, medium.id4 as medium_id4, v2 from lhs join medium on lhs.id2 = medium.id2) as j
