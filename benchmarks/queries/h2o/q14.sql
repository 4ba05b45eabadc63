select count(*) as n, sum(v1) as v1, sum(v2) as v2
from (select lhs.*, medium.id1 as medium_id1, v2 from lhs join medium on lhs.id5 = medium.id5) as j
