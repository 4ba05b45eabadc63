"""Joins are put in the order that statistics suggest, and give the same rows in every order."""

import itertools
import re

import adbc_driver_flightsql.dbapi as flightsql
import pytest

from lake import rows

TABLES = {
    "sales": "SELECT value AS id, value % 1000 AS item, value % 20 AS store, value % 365 AS day, value % 7 AS amount "
             "FROM range(0, 50000)",
    "items": "SELECT value AS item, value % 10 AS brand, 'item ' || value AS name FROM range(0, 1000)",
    "stores": "SELECT value AS store, value % 5 AS region FROM range(0, 20)",
    "days": "SELECT value AS day, value % 12 AS month FROM range(0, 365)",
    "regions": "SELECT value AS region, 'region ' || value AS name FROM range(0, 5)",
}


@pytest.fixture(scope="module", params=["managed", "files"])
def shop(request, server, tmp_path_factory):
    """A cursor in a schema with one large table and four around it: tables that have been counted, or Parquet files."""
    with flightsql.connect(server.flight, autocommit=True) as connection, connection.cursor() as cursor:
        rows(cursor, "CREATE SCHEMA shop")
        rows(cursor, "SET datafusion.catalog.default_schema = 'shop'")
        for name, query in TABLES.items():
            if request.param == "managed":
                rows(cursor, f"CREATE TABLE {name} AS {query}")
                rows(cursor, f"ANALYZE TABLE {name}")
            else:
                files = f"{tmp_path_factory.mktemp(name)}/"
                rows(cursor, f"COPY ({query}) TO '{files}' STORED AS PARQUET")
                rows(cursor, f"CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{files}'")
        yield cursor
        rows(cursor, "DROP SCHEMA shop CASCADE")


def joined_first(cursor, query):
    """The two tables that the plan of a query joins first: those that stand deepest in it."""
    plan = dict(rows(cursor, f"EXPLAIN {query}"))["logical_plan"]
    scans = re.findall(r"^( *).*TableScan: (\w+)", plan, re.MULTILINE)
    deepest = sorted(scans, key=lambda scan: -len(scan[0]))
    joins = re.findall(r"^( *)Inner Join", plan, re.MULTILINE)
    lowest = max(len(indent) for indent in joins)
    return {name for indent, name in deepest if len(indent) > lowest}


STAR = """
    FROM {} WHERE sales.item = items.item AND sales.store = stores.store AND sales.day = days.day
    AND stores.region = regions.region AND {}
"""


# Of strings, only tables that were counted tell how many there are.
@pytest.mark.parametrize("shop", ["managed"], indirect=True)
@pytest.mark.parametrize(("condition", "first"), [
    ("items.name = 'item 7'", {"sales", "items"}),
    ("days.month = 3", {"sales", "days"}),
    ("regions.name = 'region 3'", {"stores", "regions"}),
])
def test_the_most_selective_table_is_joined_first_however_it_is_written(shop, condition, first):
    orders = [", ".join(order) for order in itertools.permutations(TABLES)][::17]
    query = "SELECT count(*), sum(amount), min(items.name), max(regions.name)" + STAR
    firsts = [joined_first(shop, query.format(order, condition)) for order in orders]
    assert firsts == [first] * len(orders)
    rows(shop, "SET grappe.join_reordering = false")
    written = {tuple(rows(shop, query.format(order, condition))[0]) for order in orders}
    unmoved = {frozenset(joined_first(shop, query.format(order, condition))) for order in orders}
    rows(shop, "SET grappe.join_reordering = true")
    moved = {tuple(rows(shop, query.format(order, condition))[0]) for order in orders}
    assert moved == written and len(moved) == 1
    assert unmoved != {frozenset(first)}


@pytest.mark.parametrize("query", [
    # A condition over three tables.
    "SELECT count(*), sum(id) FROM sales, items, stores WHERE sales.item = items.item AND stores.store = sales.store "
    "AND sales.amount + items.brand = stores.region",
    # One table twice, under two names.
    "SELECT count(*), sum(a.id + b.id) FROM sales a, items i, sales b WHERE a.item = i.item AND b.id = a.id + 1 AND i.brand = 3",
    # No condition between two of them.
    "SELECT count(*) FROM regions, days, stores WHERE days.month = 3 AND stores.region = regions.region",
    # Every column, in the order of the statement.
    "SELECT * FROM sales JOIN items USING (item) JOIN stores USING (store) JOIN regions ON stores.region = regions.region "
    "WHERE items.item = 12 ORDER BY id LIMIT 20",
    # A table of unknown size, one that is empty, an outer join below and a subquery beside.
    "SELECT count(*), sum(v) FROM sales, (VALUES (1, 10), (2, 20)) AS v(item, v), items WHERE sales.item = v.item AND items.item = v.item",
    "SELECT count(*) FROM sales, items, (SELECT store FROM stores WHERE region > 90) AS none "
    "WHERE sales.item = items.item AND none.store = sales.store",
    "SELECT count(*), count(d.day) FROM sales s LEFT JOIN days d ON s.day = d.day AND d.month = 2, items i, stores t "
    "WHERE s.item = i.item AND t.store = s.store AND i.brand = 4",
    "SELECT count(*) FROM sales s, items i, stores t WHERE s.item = i.item AND t.store = s.store "
    "AND s.id > (SELECT avg(id) FROM sales x WHERE x.item = i.item) AND EXISTS (SELECT 1 FROM regions r WHERE r.region = t.region)",
    # Null keys meet nothing.
    "SELECT count(*) FROM (SELECT nullif(item, 5) AS item, store FROM sales) s, items i, stores t "
    "WHERE s.item = i.item AND s.store = t.store",
])
def test_the_order_changes_no_row(shop, query):
    answers = []
    for switch in ["true", "false"]:
        rows(shop, f"SET grappe.join_reordering = {switch}")
        answers.append(rows(shop, query))
    rows(shop, "SET grappe.join_reordering = true")
    assert answers[0] == answers[1] and answers[0]


# Two ways to ask for a match, and two to ask for none; the last knows of nulls.
ASKING = [
    ("s.item IN (SELECT item FROM items WHERE brand = 3)", "LeftSemi"),
    ("EXISTS (SELECT 1 FROM items i WHERE i.item = s.item AND i.brand < s.amount)", "LeftSemi"),
    ("NOT EXISTS (SELECT 1 FROM items i WHERE i.item = s.item AND i.brand < 5)", "LeftAnti"),
    ("s.item NOT IN (SELECT nullif(item, 5000) FROM items WHERE brand = 3)", "LeftAnti"),
    ("s.item NOT IN (SELECT nullif(item, 3) FROM items WHERE brand = 3)", "LeftAnti"),
]


@pytest.mark.parametrize(("condition", "join"), ASKING)
def test_a_match_is_asked_for_where_there_are_fewest_rows(shop, condition, join):
    query = "SELECT count(*), sum(s.id), min(d.month), max(t.region) FROM {} AND " + condition
    # Days and stores leave all sales, so that sales are asked first; of few sales it is asked last.
    every = query.format("days d, sales s, stores t WHERE s.day = d.day AND t.store = s.store")
    few = query.format("days d, sales s, stores t WHERE s.day = d.day AND t.store = s.store AND d.month = 3 AND t.region = 1")
    assert (lines_above_sales(shop, every, join), lines_above_sales(shop, few, join)) == ("below", "above")
    for text in [every, few]:
        moved = rows(shop, text)
        rows(shop, "SET grappe.join_reordering = false")
        written = rows(shop, text)
        rows(shop, "SET grappe.join_reordering = true")
        assert moved == written


def lines_above_sales(cursor, query, join):
    """Whether a kind of join stands above or below the first inner join of a plan."""
    plan = dict(rows(cursor, f"EXPLAIN {query}"))["logical_plan"].splitlines()
    depth = lambda words: min(line.index(words) for line in plan if words in line)
    return "above" if depth(f"{join} Join") < depth("Inner Join") else "below"


def test_matches_are_asked_for_of_every_kind_of_rows(shop):
    queries = [
        # Two questions to one table and one to another, below and above a group.
        "SELECT t.region, count(*) AS sales FROM sales s, stores t, days d WHERE s.store = t.store AND d.day = s.day "
        "AND s.item IN (SELECT item FROM items WHERE brand = 1) AND NOT EXISTS (SELECT 1 FROM items i WHERE i.item = s.item "
        "AND i.name LIKE '%1') AND t.region NOT IN (SELECT region FROM regions WHERE name = 'region 2') "
        "GROUP BY t.region HAVING count(*) IN (SELECT count(*) FROM sales x GROUP BY x.item) ORDER BY 1",
        # A question about two tables at once.
        "SELECT count(*) FROM sales s, items i, stores t WHERE s.item = i.item AND s.store = t.store "
        "AND EXISTS (SELECT 1 FROM days d WHERE d.day = s.day AND d.month > t.region)",
        # None of the rows, and a question that depends on nothing.
        "SELECT count(*), sum(s.id) FROM sales s, items i, stores t WHERE s.item = i.item AND s.store = t.store "
        "AND s.day IN (SELECT day FROM days WHERE month = 99) AND EXISTS (SELECT 1 FROM regions)",
        # One that is another each time.
        "SELECT count(*) FROM sales s, items i, stores t WHERE s.item = i.item AND s.store = t.store "
        "AND s.day IN (SELECT day FROM days WHERE random() >= 0)",
    ]
    for query in queries:
        moved = rows(shop, query)
        rows(shop, "SET grappe.join_reordering = false")
        written = rows(shop, query)
        rows(shop, "SET grappe.join_reordering = true")
        assert moved == written, query


def test_a_condition_that_changes_is_asked_where_it_was_written(shop):
    query = "SELECT count(*) FROM sales, items, stores WHERE sales.item = items.item AND sales.store = stores.store " \
            "AND random() + items.brand >= stores.region * 0"
    assert rows(shop, query) == [(50_000,)]


def test_a_wrong_switch_is_refused(shop):
    with pytest.raises(Exception, match="'true' or 'false', not 'maybe'"):
        rows(shop, "SET grappe.join_reordering = 'maybe'")


def join_of(cursor, query):
    """How the only hash join of a query is done."""
    plan = dict(rows(cursor, f"EXPLAIN {query}"))["physical_plan"]
    return re.search(r"HashJoinExec: mode=(\w+)", plan)[1]


def test_one_process_keeps_rather_large_sides_whole(server, tmp_path):
    query = "SELECT count(*), sum(one.n + many.n) FROM one JOIN many USING (n)"
    with flightsql.connect(server.flight, autocommit=True) as connection, connection.cursor() as cursor:
        rows(cursor, "SET grappe.execution_mode = 'local'")
        rows(cursor, "SET datafusion.execution.target_partitions = 4")
        for name, count in {"one": 200_000, "many": 600_000}.items():
            rows(cursor, f"COPY (SELECT value AS n FROM range(0, {count})) TO '{tmp_path}/{name}/' STORED AS PARQUET")
            rows(cursor, f"CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{tmp_path}/{name}/'")
        assert join_of(cursor, query) == "CollectLeft"
        answer = [(200_000, 199_999 * 200_000)]
        assert rows(cursor, query) == answer
        # Made by one thread: with more parts, smaller ones.
        rows(cursor, "SET datafusion.execution.target_partitions = 256")
        assert join_of(cursor, query) == "Partitioned"
        rows(cursor, "SET datafusion.execution.target_partitions = 4")
        rows(cursor, "SET datafusion.optimizer.hash_join_single_partition_threshold_rows = 1000")
        rows(cursor, "SET datafusion.optimizer.hash_join_single_partition_threshold = 1000")
        assert join_of(cursor, query) == "Partitioned"
        assert rows(cursor, query) == answer
        rows(cursor, "DROP TABLE one")
        rows(cursor, "DROP TABLE many")
