select url_hash, event_date, count(*) as views
from hits
where
    counter_id = 62
    and event_date between date '2024-07-05' and date '2024-07-25'
    and is_refresh = 0
    and traffic_source_id in (-1, 2)
    and referer_hash <> 0
group by url_hash, event_date
order by
    views desc,
    url_hash,
    event_date
limit 10
offset 10
