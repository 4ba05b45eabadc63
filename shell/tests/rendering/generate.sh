#!/usr/bin/env bash
# Writes psql/CASE.txt: what psql 15 prints for each case in cases/ under each line of settings.txt.
# Needs jq and a psql that connects without further arguments (PGHOST, PGPORT, PGUSER); the tests need neither.
set -euo pipefail
cd "$(dirname "$0")"
export PGTZ=UTC PGCLIENTENCODING=UTF8

# The case as one SELECT: columns c0, c1 ... read from JSON, renamed to the names of the case.
statement() {
    jq -r '
      (.columns | to_entries) as $columns
      | if ($columns | length) == 0 then "SELECT FROM generate_series(1, \(.rows | length))" else
          ($columns | map("c\(.key) AS \"\(.value[0] | gsub("\""; "\"\""))\"") | join(", ")) as $names
          | ($columns | map("c\(.key) \(.value[1])") | join(", ")) as $types
          | [.rows[] | to_entries | map({key: "c\(.key)", value: .value}) | from_entries] as $rows
          | "SELECT \($names) FROM json_to_recordset($case$\($rows | tojson)$case$) AS t(\($types))"
        end' "$1"
}

for case in cases/*.json; do
    sql=$(statement "$case")
    golden=psql/$(basename "$case" .json).txt
    : > "$golden"
    while IFS= read -r settings; do
        # shellcheck disable=SC2086 # each word is an argument
        { echo "==== psql $settings"; psql -X $settings -c "$sql"; } >> "$golden"
    done < settings.txt
done
