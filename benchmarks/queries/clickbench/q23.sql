select
    search_phrase,
    min(url) as url,
    min(title) as title,
    count(*) as views,
    count(distinct user_id) as users
from hits
where title like '%Library%' and url not like '%/library.%' and search_phrase <> ''
group by search_phrase
order by
    views desc,
    search_phrase
limit 10
