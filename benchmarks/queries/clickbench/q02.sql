select count(*) as views from hits where adv_engine_id <> 0
