select url, count(*) as views
from hits
where
    counter_id = 62
    and event_date between date '2024-07-05' and date '2024-07-25'
    and is_refresh = 0
    and (is_link <> 0 or is_download <> 0)
group by url
order by
    views desc,
    url
limit 10
offset 5
