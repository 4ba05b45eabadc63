select search_engine_id, search_phrase, count(*) as searches
from hits
where search_phrase <> ''
group by search_engine_id, search_phrase
order by
    searches desc,
    search_engine_id,
    search_phrase
limit 10
