select count(*) as n, sum(v1) as v1, sum(v2) as v2
from (select lhs.*, small.id4 as small_id4, v2 from lhs join small on lhs.id1 = small.id1) as j
