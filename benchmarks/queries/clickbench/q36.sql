select client_ip, client_ip - 1 as before_1, client_ip - 2 as before_2, client_ip - 3 as before_3, count(*) as views
from hits
group by client_ip, client_ip - 1, client_ip - 2, client_ip - 3
order by
    views desc,
    client_ip
limit 10
