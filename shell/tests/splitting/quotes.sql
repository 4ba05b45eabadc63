SELECT 'a;b', "c;d", `e;f`, 'it''s; fine', E'it\'s; too', e'a\\'; SELECT 'back\';
SELECT $$a;'b$$, $x$ $$ ; $y$ $x$, $1, a$b$c; SELECT U&'\0041;', N'n;', X'3B', B'1';
SELECT 'two
lines; here' AS "more
; lines";
