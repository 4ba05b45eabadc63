select window_client_width, window_client_height, count(*) as views
from hits
where
    counter_id = 62
    and event_date between date '2024-07-05' and date '2024-07-25'
    and is_refresh = 0
    and dont_count_hits = 0
group by window_client_width, window_client_height
order by
    views desc,
    window_client_width,
    window_client_height
limit 10
offset 10
