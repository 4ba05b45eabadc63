SELECT 1;
SELECT 2; SELECT 3

;;  ;
-- a comment; with a semicolon
SELECT /* a; b /* nested; */ c */ 4 -- end;
;
   
  SELECT
    5
