select user_id, search_phrase, count(*) as views
from hits
group by user_id, search_phrase
order by
    views desc,
    user_id,
    search_phrase
limit 10
