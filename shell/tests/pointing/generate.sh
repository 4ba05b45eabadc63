#!/usr/bin/env bash
# Writes NAME.txt: how psql 15 points at the unknown column `nope` in NAME.sql.
# Needs a psql that connects without further arguments (PGHOST, PGPORT, PGUSER); the tests do not.
set -euo pipefail
cd "$(dirname "$0")"
export PGCLIENTENCODING=UTF8
for statement in *.sql; do
    psql -X -c "$(cat "$statement")" 2>&1 | tail -n +2 > "${statement%.sql}.txt" || true
done
