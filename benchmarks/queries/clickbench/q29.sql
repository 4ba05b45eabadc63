select
    regexp_replace(referer, '^https?://(?:www\.)?([^/]+)/.*$', '\1') as site,
    avg(length(referer)) as referer_length,
    count(*) as views,
    min(referer) as referer
from hits
where referer <> ''
group by regexp_replace(referer, '^https?://(?:www\.)?([^/]+)/.*$', '\1')
having count(*) > 10
order by
    referer_length desc,
    site
limit 25
