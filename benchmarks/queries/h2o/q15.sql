select count(*) as n, sum(v1) as v1, sum(v2) as v2
from (select lhs.*, big.id1 as big_id1, big.id2 as big_id2, v2 from lhs join big on lhs.id3 = big.id3) as j
