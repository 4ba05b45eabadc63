select counter_id, avg(length(url)) as url_length, count(*) as views
from hits
where url <> ''
group by counter_id
having count(*) > 100
order by
    url_length desc,
    counter_id
limit 25
