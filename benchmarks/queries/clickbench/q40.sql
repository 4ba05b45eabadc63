select
    traffic_source_id,
    search_engine_id,
    adv_engine_id,
    case when search_engine_id = 0 and adv_engine_id = 0 then referer else '' end as src,
    url as dst,
    count(*) as views
from hits
where
    counter_id = 62
    and event_date between date '2024-07-05' and date '2024-07-25'
    and is_refresh = 0
group by traffic_source_id, search_engine_id, adv_engine_id, src, dst
order by
    views desc,
    traffic_source_id,
    search_engine_id,
    adv_engine_id,
    src,
    dst
limit 10
offset 20
