select url, count(*) as views
from hits
where
    counter_id = 62
    and event_date between date '2024-07-05' and date '2024-07-25'
    and dont_count_hits = 0
    and is_refresh = 0
    and url <> ''
group by url
order by
    views desc,
    url
limit 10
