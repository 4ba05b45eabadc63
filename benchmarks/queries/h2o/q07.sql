select count(*) as n, sum(range_v1_v2) as range_v1_v2
from (select id3, max(v1) - min(v2) as range_v1_v2 from x group by id3) as g
