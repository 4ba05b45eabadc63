SELECT relname,
       nope,
  1
FROM pg_class