select count(*) as n, sum(v1) as v1, sum(v2) as v2, sum(v3) as v3
from (select id4, avg(v1) as v1, avg(v2) as v2, avg(v3) as v3 from x group by id4) as g
