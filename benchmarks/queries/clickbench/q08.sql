select adv_engine_id, count(*) as views
from hits
where adv_engine_id <> 0
group by adv_engine_id
order by
    views desc,
    adv_engine_id
