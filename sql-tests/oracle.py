#!/usr/bin/env python3
"""Holds the `.slt` files against DuckDB, an engine that shares no code with ours.

    pip install duckdb fastavro pyarrow pytz
    python3 oracle.py [--fill] [FILE ...]

Every record that is not marked `onlyif grappe` or `skipif duckdb` must give in DuckDB what its file says; those records
are right by reasoning and say why in a comment where it is not plain. `onlyif duckdb` marks what sets the same thing up
in DuckDB's words. With --fill, a query with nothing under its `----` gets DuckDB's result.
"""

import hashlib
import re
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path

import duckdb
import fastavro
import pyarrow
import pyarrow.feather

HERE = Path(__file__).resolve().parent


@dataclass
class Record:
    line: int
    head: list
    labels: list
    sql: str = ""
    expected: list = field(default_factory=list)
    separator: int | None = None

    def is_for_duckdb(self) -> bool:
        return all((kind == "onlyif") == (label == "duckdb") for kind, label in self.labels)


def parse(lines: list) -> list:
    """The statements and queries of a file; line numbers are from 0."""
    records, labels, at = [], [], 0
    while at < len(lines):
        words = lines[at].split()
        if words[:1] in (["onlyif"], ["skipif"]):
            labels.append(tuple(words[:2]))
        elif words[:1] in (["statement"], ["query"]):
            record, at = parse_record(lines, at, labels)
            records.append(record)
            labels = []
            continue
        at += 1
    return records


def parse_record(lines: list, at: int, labels: list) -> tuple:
    record = Record(at, lines[at].split(), labels)
    sql, at = [], at + 1
    while at < len(lines) and lines[at].strip() and lines[at] != "----":
        sql.append(lines[at])
        at += 1
    if at < len(lines) and lines[at] == "----":
        record.separator, at = at, at + 1
        while at < len(lines) and lines[at].strip():
            record.expected.append(lines[at].rstrip())
            at += 1
    record.sql = "\n".join(sql)
    return record, at


def show(value, kind: str) -> str:
    """A value as `src/cell.rs` shows it; `kind` is DuckDB's name of its type."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return show_float(value, 6 if kind == "FLOAT" else 12)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, datetime):
        zone = "" if value.tzinfo is None else value.strftime("%z")
        zone = "Z" if zone == "+0000" else zone and f"{zone[:3]}:{zone[3:]}"
        return value.strftime("%Y-%m-%dT%H:%M:%S") + fraction(value.microsecond) + zone
    if isinstance(value, time):
        return value.strftime("%H:%M:%S") + fraction(value.microsecond)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(nested(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{nested(key)}: {nested(item)}" for key, item in value.items()) + "}"
    text = str(value)
    return text.replace("\n", "\\n") if text else "(empty)"


def nested(value) -> str:
    """Inside another value, floats have all digits and an empty text stays empty."""
    if value == "":
        return ""
    return repr(value) if isinstance(value, float) else show(value, "")


def fraction(microseconds: int) -> str:
    if microseconds == 0:
        return ""
    return f".{microseconds // 1000:03}" if microseconds % 1000 == 0 else f".{microseconds:06}"


def show_float(value: float, digits: int) -> str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    rounded = float(f"{value:.{digits - 1}e}")
    if rounded == 0:
        return "0"
    if 1e-4 <= abs(rounded) < 1e15:
        return format(Decimal(repr(rounded)).normalize(), "f")
    mantissa, exponent = f"{rounded:.{digits - 1}e}".split("e")
    mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(exponent)}"


def rows_of(cursor, sort: str | None, hash_threshold: int) -> list:
    kinds = [str(column[1]) for column in cursor.description or []]
    rows = [[show(value, kind) for value, kind in zip(row, kinds)] for row in cursor.fetchall()]
    if sort == "rowsort":
        rows.sort()
    values = [value for row in rows for value in row]
    if hash_threshold and len(values) > hash_threshold:
        digest = hashlib.md5("".join(f"{value}\n" for value in values).encode()).hexdigest()
        return [f"{len(values)} values hashing to {digest}"]
    return [" ".join(row).rstrip() for row in rows]


def connect() -> duckdb.DuckDBPyConnection:
    db = duckdb.connect()
    # What the standard leaves open and PostgreSQL decides as we do.
    db.execute("SET integer_division = true")
    db.execute("SET default_null_order = 'nulls_last_on_asc_first_on_desc'")
    db.execute("SET TimeZone = 'UTC'")
    return db


EXTERNAL = re.compile(
    r"CREATE EXTERNAL TABLE (?P<name>\w+)(?: \((?P<columns>.*?)\))?\s+STORED AS (?P<format>\w+)"
    r"(?: PARTITIONED BY \((?P<partitions>.*?)\))?\s+LOCATION '(?P<location>.*?)'(?:\s+OPTIONS \((?P<options>.*)\))?",
    re.DOTALL,
)


def create_external(db, parts: re.Match) -> None:
    """What `CREATE EXTERNAL TABLE` does, by DuckDB's readers and, for formats that it lacks, by other libraries."""
    name, location, kind = parts["name"], parts["location"], parts["format"].lower()
    columns = [column.strip().split(" ", 1) for column in (parts["columns"] or "").split(",") if column.strip()]
    if kind == "avro":
        with open(location, "rb") as file:
            db.register(name, pyarrow.Table.from_pylist(list(fastavro.reader(file))))
        return
    if kind == "arrow":
        db.register(name, pyarrow.feather.read_table(location))
        return
    if location.endswith("/"):
        location += f"**/*.{kind}"
    arguments = csv_arguments(parts["options"] or "", columns) if kind == "csv" else ""
    if parts["partitions"]:
        arguments += ", hive_partitioning = true"
    selected = ", ".join(f"CAST({column} AS {of}) AS {column}" for column, of in columns) or "*"
    db.execute(f"CREATE TABLE {name} AS SELECT {selected} FROM read_{kind}('{location}'{arguments})")


def csv_arguments(options: str, columns: list) -> str:
    option = dict(re.findall(r"'format\.(\w+)' '(.*?)'", options))
    header = option.get("has_header", "true")
    arguments = f", header = {header}, delim = '{option.get('delimiter', ',')}', strict_mode = true"
    if columns and header == "false":
        arguments += f", names = {[column for column, _ in columns]}"
    return arguments


def execute(db, sql: str):
    external = EXTERNAL.fullmatch(sql.strip())
    return create_external(db, external) if external else db.execute(sql)


def hold(record: Record, db, variables: dict, hash_threshold: int) -> tuple:
    """What is wrong with the record, and the rows that DuckDB gives."""
    sql = record.sql
    for name, value in variables.items():
        sql = sql.replace(name, value)
    fails = record.head[1:2] == ["error"]
    try:
        cursor = execute(db, sql)
        if record.head[0] == "statement" or fails:
            return ("DuckDB does not fail" if fails else None), []
        rows = rows_of(cursor, record.head[2] if len(record.head) > 2 else None, hash_threshold)
    except (duckdb.Error, OSError) as error:
        return (None if fails else f"DuckDB fails: {str(error).splitlines()[0]}"), []
    if rows == record.expected:
        return None, rows
    return "\n  ".join(["expected:", *record.expected, "DuckDB gives:", *rows]), rows


def hold_file(path: Path, fill: bool) -> int:
    text = path.read_text(encoding="utf-8")
    lines = text.split("\n")
    substitutes = "control substitution on" in lines
    hash_threshold = next((int(line.split()[1]) for line in lines if line.startswith("hash-threshold ")), 0)
    faults, filled = 0, []
    with tempfile.TemporaryDirectory() as temporary:
        variables = {"$DATA": str(HERE / "data"), "$TMP": temporary} if substitutes else {}
        db = connect()
        for record in parse(lines):
            if not record.is_for_duckdb():
                continue
            fault, rows = hold(record, db, variables, hash_threshold)
            if fill and fault and rows and not record.expected and record.separator is not None:
                filled.append((record.separator, rows))
            elif fault:
                faults += 1
                print(f"{path}:{record.line + 1}: {fault}\n  [{record.sql}]")
    for separator, rows in reversed(filled):
        lines[separator + 1 : separator + 1] = rows
    if filled:
        path.write_text("\n".join(lines), encoding="utf-8")
    return faults


def main(arguments: list) -> int:
    fill = "--fill" in arguments
    files = [Path(name) for name in arguments if name != "--fill"] or sorted((HERE / "slt").rglob("*.slt"))
    faults = sum(hold_file(path, fill) for path in files)
    print(f"{len(files)} files, {faults} records that DuckDB does not agree with")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
