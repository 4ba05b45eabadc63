select count(*) as n, sum(v1) as v1 from (select id1, sum(v1) as v1 from x group by id1) as g
