select user_id, count(*) as views
from hits
group by user_id
order by
    views desc,
    user_id
limit 10
