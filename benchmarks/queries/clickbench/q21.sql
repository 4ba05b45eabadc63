select count(*) as views from hits where url like '%meteo%'
