select avg(user_id) as user_id from hits
