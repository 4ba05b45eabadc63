select count(*) as n, sum(v3) as v3
from (select id6, v3, row_number() over (partition by id6 order by v3 desc) as place from x) as g
where place <= 2
