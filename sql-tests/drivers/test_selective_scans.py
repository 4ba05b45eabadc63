"""Scans read the keys of a join first where few of their rows have one, and give the same rows as those that do not."""

import re

import adbc_driver_flightsql.dbapi as flightsql
import pytest

from lake import rows

ROWS = 400_000
FACTS = f"""
    SELECT value AS id, CASE WHEN value % 11 = 0 THEN NULL ELSE value * 7919 % 20000 END AS item,
        CAST(value * 31 % 20000 AS INT) AS small_item, 'item ' || (value * 7919 % 20000) AS name,
        CAST('2020-01-01' AS DATE) + CAST(value % 2000 AS INT) AS day,
        repeat('x', CAST(value % 40 AS INT)) AS text, value % 100 AS amount
    FROM range(0, {ROWS})
"""
ITEMS = """
    SELECT value AS item, CAST(value AS INT) AS small_item, 'item ' || value AS name, value % 1000 AS kind,
        CAST('2020-01-01' AS DATE) + CAST(value AS INT) AS day
    FROM range(0, 20000)
"""


@pytest.fixture(scope="module")
def lake(server, tmp_path_factory):
    """A cursor with a large Parquet table, of several files, and a small one."""
    with flightsql.connect(server.flight, autocommit=True) as connection, connection.cursor() as cursor:
        rows(cursor, "CREATE SCHEMA selective")
        rows(cursor, "SET datafusion.catalog.default_schema = 'selective'")
        for name, query, parts in [("facts", FACTS, 3), ("items", ITEMS, 1)]:
            files = tmp_path_factory.mktemp(name)
            for part in range(parts):
                rows(cursor, f"COPY (SELECT * FROM ({query}) WHERE {'id' if parts > 1 else 'item'} % {parts} = {part}) "
                             f"TO '{files}/{part}.parquet'")
            rows(cursor, f"CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{files}/'")
        rows(cursor, "SET grappe.execution_mode = 'local'")
        yield cursor
        rows(cursor, "DROP SCHEMA selective CASCADE")


def rows_left_out(cursor, query):
    """Rows of facts of which only some columns were read."""
    plan = dict(rows(cursor, f"EXPLAIN ANALYZE {query}"))["Plan with Metrics"]
    scan = next(line for line in plan.splitlines() if "DataSourceExec" in line and "facts" in line)
    count = re.search(r"pushdown_rows_pruned=([\d.]+) ?([KM]?)", scan)
    return float(count[1]) * {"": 1, "K": 1e3, "M": 1e6}[count[2]]


FEW, MANY = "items.kind = 7", "items.kind < 600"


@pytest.mark.parametrize("key", ["item", "small_item"])
def test_keys_are_read_first_where_few_match(lake, key):
    query = f"SELECT count(*), sum(id), sum(length(text)) FROM facts JOIN items USING ({key}) WHERE "
    assert rows_left_out(lake, query + FEW) > 0.9 * ROWS
    assert rows_left_out(lake, query + MANY) == 0


def test_keys_that_cannot_be_counted_are_read_with_all_others(lake):
    query = f"SELECT count(*), sum(id) FROM facts JOIN items USING (name) WHERE {FEW}"
    assert rows_left_out(lake, query) == 0
    assert rows(lake, query) == rows(lake, query.replace("USING (name)", "ON concat(facts.name, '') = concat(items.name, '')"))


@pytest.mark.parametrize("condition", [FEW, MANY, "items.kind > 5000", "items.item = 15838", "items.item >= 19999"])
@pytest.mark.parametrize("query", [
    "SELECT count(*), sum(id), sum(length(text)), min(facts.name) FROM facts JOIN items ON facts.item = items.item WHERE {}",
    "SELECT count(*), sum(id) FROM facts JOIN items ON facts.item = items.item AND facts.day = items.day WHERE {}",
    "SELECT count(*), sum(id) FROM facts JOIN items ON facts.item = items.item WHERE {} AND amount < 50 AND text <> 'xxx'",
    "SELECT count(*), sum(id) FROM facts WHERE item IN (SELECT item FROM items WHERE {})",
    "SELECT count(*), sum(id), count(items.item) FROM facts LEFT JOIN items ON facts.item = items.item AND {}",
    "SELECT count(*), sum(id) FROM facts WHERE NOT EXISTS (SELECT 1 FROM items WHERE items.item = facts.item AND {})",
    "SELECT count(*), sum(id) FROM facts WHERE item NOT IN (SELECT item FROM items WHERE {})",
    "SELECT facts.text, facts.id FROM facts JOIN items ON facts.item = items.item WHERE {} ORDER BY amount DESC, id LIMIT 7",
    "SELECT id, text FROM facts WHERE EXISTS (SELECT 1 FROM items WHERE {}) ORDER BY id DESC LIMIT 3",
])
def test_every_way_to_read_gives_the_same_rows(lake, query, condition):
    query = query.format(condition)
    chosen = rows(lake, query)
    rows(lake, "SET datafusion.optimizer.enable_dynamic_filter_pushdown = false")
    plain = rows(lake, query)
    rows(lake, "SET datafusion.optimizer.enable_dynamic_filter_pushdown = true")
    assert chosen == plain
