select user_id, event_time, watch_id, url
from hits
where user_id = 523197356250784763
order by
    event_time,
    watch_id
limit 20
