select count(*) as n, sum(r2) as r2
from (select id2, id4, power(corr(v1, v2), 2) as r2 from x group by id2, id4) as g
-- Where all values of a group are equal there is no correlation, which is null to some engines and not a number to others.
where r2 <= 1.5
