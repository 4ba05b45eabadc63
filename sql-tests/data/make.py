#!/usr/bin/env python3
"""Makes the files that the tests read. The files are committed; run this after changing it, in this directory.

    pip install pyarrow fastavro
    python3 make.py

The same five people are in every format, so that a format that reads them differently shows.
"""

import csv
import gzip
import json
import shutil
from datetime import date, datetime, timezone
from decimal import Decimal
from pathlib import Path

import fastavro
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq

HERE = Path(__file__).resolve().parent

PEOPLE = pa.schema(
    [("id", pa.int64()), ("name", pa.string()), ("born", pa.date32()), ("height", pa.float64()), ("active", pa.bool_())]
)
ROWS = [
    (1, "Ada Lovelace", date(1815, 12, 10), 1.65, True),
    (2, "Grace, \"Amazing\" Hopper", date(1906, 12, 9), 1.68, True),
    (3, "José Núñez", None, None, False),
    (4, "王小明", date(2000, 2, 29), 1.8, None),
    (5, None, date(1970, 1, 1), -0.5, False),
]


def people() -> pa.Table:
    columns = [list(column) for column in zip(*ROWS)]
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, PEOPLE)], schema=PEOPLE)


def plain(value):
    """A value as CSV and JSON have it."""
    return value.isoformat() if isinstance(value, date) else value


def write_csv(path: Path, **options) -> None:
    as_csv = {True: "true", False: "false", None: ""}
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n", **options)
        if options.get("delimiter", ",") == ",":
            writer.writerow(PEOPLE.names)
        writer.writerows([[as_csv[v] if v is None or isinstance(v, bool) else plain(v) for v in row] for row in ROWS])


def write_json(path: Path) -> None:
    with open(path, "w", encoding="utf-8") as file:
        for row in ROWS:
            record = {name: plain(value) for name, value in zip(PEOPLE.names, row)}
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def write_avro(path: Path) -> None:
    types = ["long", "string", {"type": "int", "logicalType": "date"}, "double", "boolean"]
    fields = [{"name": "id", "type": "long"}]
    fields += [{"name": name, "type": ["null", of]} for name, of in list(zip(PEOPLE.names, types))[1:]]
    schema = fastavro.parse_schema({"type": "record", "name": "person", "fields": fields})
    with open(path, "wb") as file:
        fastavro.writer(file, schema, [dict(zip(PEOPLE.names, row)) for row in ROWS], sync_marker=b"0123456789abcdef")


def write_partitioned(root: Path) -> None:
    """Hive directories: the partition's values are in the path alone."""
    shutil.rmtree(root, ignore_errors=True)
    amounts = {("north", 2023): [10, 20], ("north", 2024): [30], ("south", 2023): [5], ("south", 2024): [7, 8, 9]}
    for (region, year), values in amounts.items():
        directory = root / f"region={region}" / f"year={year}"
        directory.mkdir(parents=True)
        pq.write_table(pa.table({"amount": pa.array(values, pa.int64())}), directory / "part-0.parquet")


def write_months(root: Path) -> None:
    """Several CSV files and one that is none, for directories and globs."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for month, hits in {"2024-01": [3, 4], "2024-02": [5], "2023-12": [1, 1, 1]}.items():
        lines = "".join(f"{month}-{day + 1:02},{hit}\n" for day, hit in enumerate(hits))
        (root / f"{month}.csv").write_text(f"day,hits\n{lines}")
    (root / "notes.txt").write_text("this is no table\n")


def write_nested(path: Path) -> None:
    rows = [
        {"id": 1, "tags": ["a", "b"], "place": {"city": "Oslo", "zip": 150}, "scores": [[1, 2], [3]]},
        {"id": 2, "tags": [], "place": {"city": None, "zip": 10115}, "scores": []},
        {"id": 3, "tags": None, "place": None, "scores": [None, [4, None]]},
    ]
    flat = [{name: value for name, value in row.items() if name != "scores"} for row in rows]
    (path.with_suffix(".json")).write_text("".join(json.dumps(row) + "\n" for row in flat))
    schema = pa.schema(
        [
            ("id", pa.int64()),
            ("tags", pa.list_(pa.string())),
            ("place", pa.struct([("city", pa.string()), ("zip", pa.int64())])),
            ("scores", pa.list_(pa.list_(pa.int64()))),
        ]
    )
    pq.write_table(pa.Table.from_pylist(rows, schema), path.with_suffix(".parquet"))


def write_types(path: Path) -> None:
    """One row of values and one of nulls, in the types that other writers give."""
    columns = {
        "i8": pa.array([-128, None], pa.int8()),
        "u64": pa.array([18446744073709551615, None], pa.uint64()),
        "f32": pa.array([0.5, None], pa.float32()),
        "price": pa.array([Decimal("1234567.89"), None], pa.decimal128(12, 2)),
        "bytes": pa.array([b"\x00\xff", None], pa.binary()),
        "at": pa.array([datetime(2024, 2, 29, 12, 30, 15, 123456), None], pa.timestamp("us")),
        "at_utc": pa.array([datetime(2024, 2, 29, 12, 30, tzinfo=timezone.utc), None], pa.timestamp("us", "UTC")),
        "category": pa.array(["red", None], pa.string()).dictionary_encode(),
    }
    pq.write_table(pa.table(columns), path)


def main() -> None:
    write_csv(HERE / "people.csv")
    write_csv(HERE / "people_semicolon.csv", delimiter=";")
    with open(HERE / "people.csv", "rb") as plain_file, open(HERE / "people.csv.gz", "wb") as packed:
        with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as file:
            shutil.copyfileobj(plain_file, file)
    write_json(HERE / "people.json")
    write_avro(HERE / "people.avro")
    pq.write_table(people(), HERE / "people.parquet")
    pa.feather.write_feather(people(), HERE / "people.arrow", compression="uncompressed")
    write_partitioned(HERE / "sales")
    write_months(HERE / "months")
    write_nested(HERE / "nested")
    write_types(HERE / "types.parquet")
    (HERE / "broken.csv").write_text("a,b\n1,2\n3\n")
    (HERE / "broken.json").write_text('{"a": 1}\n{"a": \n')
    (HERE / "header_only.csv").write_text("a,b\n")
    (HERE / "not.parquet").write_bytes(b"this is no parquet file\n")


if __name__ == "__main__":
    main()
