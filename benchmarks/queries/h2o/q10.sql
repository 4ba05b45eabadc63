select count(*) as n, sum(v3) as v3, sum(rows) as rows
from (
    select id1, id2, id3, id4, id5, id6, sum(v3) as v3, count(*) as rows
    from x
    group by id1, id2, id3, id4, id5, id6
) as g
