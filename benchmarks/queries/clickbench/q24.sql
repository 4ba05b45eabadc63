select *
from hits
where url like '%meteo%'
order by
    event_time,
    watch_id
limit 10
