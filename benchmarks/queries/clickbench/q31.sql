select search_engine_id, client_ip, count(*) as searches, sum(is_refresh) as refreshes, avg(resolution_width) as width
from hits
where search_phrase <> ''
group by search_engine_id, client_ip
order by
    searches desc,
    search_engine_id,
    client_ip
limit 10
