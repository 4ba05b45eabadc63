#!/usr/bin/env python3
"""Makes the TPC-H answer files with DuckDB, an engine that shares no code with ours.

    pip install duckdb
    python3 make.py DATA_DIR OUT_DIR SCALE

DATA_DIR holds the Parquet files of that scale, as `grappe bench tpch --scale SCALE --generate-only --data DATA_DIR` or
`tpchgen-cli parquet -s SCALE -o DATA_DIR` writes them. OUT_DIR gets one `qNN.csv` a query.

A header cell is `name:kind`, the kind one of text, date, int, decimal, float. `\\N` stands for NULL. A query with a
LIMIT is run without it; the file then keeps the first LIMIT rows and all that tie with the last of them, so that a
reader can tell any right choice among the tied rows from a wrong one.
"""

import csv
import re
import sys
from pathlib import Path

import duckdb

QUERIES = Path(__file__).resolve().parents[2] / "benchmarks" / "queries" / "tpch"
TABLES = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]


def open_tables(data: Path) -> duckdb.DuckDBPyConnection:
    db = duckdb.connect()
    for table in TABLES:
        place = data / table / "*.parquet" if (data / table).is_dir() else data / f"{table}.parquet"
        db.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{place}')")
    return db


def kind(duckdb_type: str) -> str:
    if duckdb_type.startswith("DECIMAL"):
        return "decimal"
    kinds = {"VARCHAR": "text", "DATE": "date", "DOUBLE": "float", "FLOAT": "float"}
    return kinds.get(duckdb_type, "int")


def cut(rows: list, columns: list, order: list, limit: int) -> list:
    """The first `limit` rows and those that tie with the last of them."""
    keys = [columns.index(name) for name in order]
    key = lambda row: [row[i] for i in keys]
    end = min(limit, len(rows))
    while 0 < end < len(rows) and key(rows[end]) == key(rows[end - 1]):
        end += 1
    return rows[:end]


def answer(db: duckdb.DuckDBPyConnection, sql: str) -> tuple:
    unlimited, _, limit = sql.partition("\nlimit ")
    cursor = db.execute(unlimited)
    columns = [column[0] for column in cursor.description]
    types = [str(column[1]) for column in cursor.description]
    rows = cursor.fetchall()
    if limit:
        order = [part.split()[0] for part in unlimited.rsplit("order by", 1)[1].split(",")]
        rows = cut(rows, columns, order, int(limit))
    return [f"{name}:{kind(of)}" for name, of in zip(columns, types)], rows


def text(value) -> str:
    return "\\N" if value is None else repr(value) if isinstance(value, float) else str(value)


def main(data: str, out: str, scale: str) -> None:
    db = open_tables(Path(data))
    Path(out).mkdir(parents=True, exist_ok=True)
    for query in sorted(QUERIES.glob("q*.sql")):
        # The fraction of query 11 is 0.0001 at scale 1 and shrinks as the data grow.
        fraction = f"{0.0001 / float(scale):.12f}".rstrip("0")
        sql = re.sub(r"\b0\.0001\b", fraction, query.read_text().strip())
        header, rows = answer(db, sql)
        with open(Path(out) / f"{query.stem}.csv", "w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows([text(value) for value in row] for row in rows)
        print(f"{query.stem}: {len(rows)} rows")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
