\timing on
SELECT 1 \g
SELECT '\d', "\d" -- \d
; \d orders
  \x
SELECT 2;\a\t
SELECT '
\not a command
';
