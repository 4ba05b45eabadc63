SELECT :n, :'name', :"column", ':name', ":name", $$:name$$ -- :name
;
SELECT x::name, :unknown, a[1:2], :'unknown', b := 1, \:name, :again;
:two;
SELECT 'it' || :'name
