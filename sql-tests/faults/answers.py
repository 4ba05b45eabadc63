"""The data, and the right rows of the queries: from DuckDB, an engine that shares no code with ours.

At small scale a query is over before a fault can hit it. So its largest table is many copies of the same file: hard
links, which cost nothing. Both engines read the same directories.
"""

import os
import pathlib
import pickle
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import duckdb

from cluster import BINARY, clean_environment

QUERIES = pathlib.Path(__file__).resolve().parents[2] / "benchmarks" / "queries" / "tpch"
TABLES = ["customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier"]
# Copies at scale 0.1, so that a query takes a second or more on three executors.
COPIES = {"lineitem": 48, "orders": 64, "partsupp": 160}
# Queries that do not read lineitem, and what is large in them instead.
LARGEST = {2: "partsupp", 11: "partsupp", 13: "orders", 16: "partsupp", 22: "orders"}
TOLERANCE = 1e-6


@dataclass
class Expected:
    """Right rows. With a limit: the first ones, and all that tie with the last of them from `sure` on."""

    rows: list
    limit: int | None = None
    sure: int = 0


@dataclass
class Question:
    """A statement, and what is wrong with its rows; None if nothing is."""

    label: str
    sql: str
    difference: Callable


class Data:
    """The Parquet files of one scale, made once, with the answers beside them."""

    def __init__(self, folder, scale):
        self.scale = scale
        self.folder = folder / f"tpch-sf{scale:g}"
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [BINARY, "bench", "tpch", "--scale", f"{scale:g}", "--generate-only", "--data", str(self.folder / "once")]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=clean_environment())
        for table, copies in COPIES.items():
            self.copy(table, max(1, round(copies * 0.1 / scale)))
        self.answers = self.folder / "answers"
        self.answers.mkdir(exist_ok=True)

    def copy(self, table, copies):
        many = self.folder / "many" / table
        many.mkdir(parents=True, exist_ok=True)
        for number in range(copies):
            for file in sorted((self.folder / "once" / table).glob("*.parquet")):
                copy = many / f"{number:03}-{file.name}"
                if not copy.exists():
                    os.link(file, copy)

    def once(self):
        """Every table of TPC-H and its directory."""
        return {table: self.folder / "once" / table for table in TABLES}

    def places(self):
        """Those, and the ones with many copies."""
        return self.once() | {f"many_{table}": self.folder / "many" / table for table in COPIES}

    def question(self, query):
        """A query of TPC-H over many copies of its largest table."""
        table = LARGEST.get(query, "lineitem")
        return self.about(f"q{query:02}", re.sub(rf"\b{table}\b", f"many_{table}", self.text(query)))

    def question_once(self, query):
        """A query of TPC-H over its tables as they are."""
        return self.about(f"q{query:02}-once", self.text(query))

    def text(self, query):
        text = (QUERIES / f"q{query:02}.sql").read_text().strip()
        # The fraction of query 11 is 0.0001 at scale 1 and shrinks as the data grow.
        return re.sub(r"\b0\.0001\b", f"{0.0001 / self.scale:.12f}".rstrip("0"), text)

    def about(self, label, sql):
        """A statement whose rows DuckDB knows."""
        expected = self.expected(label, sql)
        return Question(label, sql, lambda rows: difference(rows, expected))

    def expected(self, label, sql):
        """The right rows of a statement, computed once."""
        cached = self.answers / f"{label}.pickle"
        if not cached.exists():
            half = cached.with_suffix(".half")
            half.write_bytes(pickle.dumps(answer(self.duckdb(), sql)))
            half.rename(cached)
        return pickle.loads(cached.read_bytes())

    def duckdb(self):
        db = duckdb.connect(config={"threads": 2})
        for table, place in self.places().items():
            db.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{place}/*.parquet')")
        return db


def answer(db, sql):
    unlimited, _, limit = sql.partition("\nlimit ")
    cursor = db.execute(unlimited)
    columns, rows = [column[0] for column in cursor.description], cursor.fetchall()
    if not limit:
        return Expected(rows)
    keys = [columns.index(part.split()[0]) for part in unlimited.rsplit("order by", 1)[1].split(",")]
    end = sure = min(int(limit), len(rows))

    def ties(one, other):
        return [rows[one][key] for key in keys] == [rows[other][key] for key in keys]

    while 0 < end < len(rows) and ties(end, end - 1):
        end += 1
    while end > int(limit) and sure > 0 and ties(sure - 1, end - 1):
        sure -= 1
    return Expected(rows[:end], int(limit), sure)


def difference(rows, expected):
    """What is wrong with the rows, as a multiset; None if nothing is."""
    if expected.limit is None:
        return multiset_difference(rows, expected.rows)
    count = min(expected.limit, len(expected.rows))
    if len(rows) != count:
        return f"{len(rows)} rows, not {count}"
    left = list(rows)
    for number, wanted in enumerate(expected.rows):
        at = next((at for at, row in enumerate(left) if is_same(row, wanted)), None)
        if at is not None:
            left.pop(at)
        elif number < expected.sure:
            return f"row {wanted} is missing"
    return f"row {left[0]} should not be there" if left else None


def multiset_difference(rows, wanted):
    if len(rows) != len(wanted):
        return f"{len(rows)} rows, not {len(wanted)}"
    pairs = zip(sorted(rows, key=order), sorted(wanted, key=order))
    return next((f"row {row}, not {right}" for row, right in pairs if not is_same(row, right)), None)


def is_number(value):
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def order(row):
    """Numbers last: they may differ a little."""
    return [str(value) for value in row if not is_number(value)], [float(value) for value in row if is_number(value)]


def is_same(row, wanted):
    return len(row) == len(wanted) and all(map(is_same_value, row, wanted))


def is_same_value(value, wanted):
    if is_number(value) and is_number(wanted):
        one, other = float(value), float(wanted)
        # Where DuckDB has a float, such as in an average, ours may be a decimal: cut after its last digit.
        last_digit = 10.0 ** value.as_tuple().exponent if isinstance(value, Decimal) and isinstance(wanted, float) else 0
        return abs(one - other) <= max(last_digit, TOLERANCE * max(abs(one), abs(other)))
    return value == wanted
