select count(*) as pairs, max(views) as most
from (select user_id, search_phrase, count(*) as views from hits group by user_id, search_phrase) as pairs
