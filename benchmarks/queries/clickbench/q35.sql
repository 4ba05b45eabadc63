select 1 as one, url, title, count(*) as views
from hits
group by one, url, title
order by
    views desc,
    url,
    title
limit 10
