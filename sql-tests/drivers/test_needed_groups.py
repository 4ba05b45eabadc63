"""Of groups that are joined, only those are made that the other side asks for; the rows stay as they are."""

import adbc_driver_flightsql.dbapi as flightsql
import pytest

from lake import rows

SALES = """
    SELECT value AS id, CASE WHEN value % 101 = 0 THEN NULL ELSE value * 7919 % 20000 END AS item, value % 20 AS store,
        value % 97 AS amount
    FROM range(0, 200000)
"""
ITEMS = "SELECT nullif(value, 40) AS item, value % 100 AS brand, 'item ' || value AS name FROM range(0, 20000)"
GROUPS = "(SELECT item, count(*) AS n, sum(amount) AS total FROM sales GROUP BY item)"


@pytest.fixture(scope="module")
def shop(server, tmp_path_factory):
    """A cursor in a schema with many sales of many items."""
    with flightsql.connect(server.flight, autocommit=True) as connection, connection.cursor() as cursor:
        rows(cursor, "CREATE SCHEMA needed")
        rows(cursor, "SET datafusion.catalog.default_schema = 'needed'")
        for name, query in {"sales": SALES, "items": ITEMS}.items():
            files = f"{tmp_path_factory.mktemp(name)}/"
            rows(cursor, f"COPY ({query}) TO '{files}' STORED AS PARQUET")
            rows(cursor, f"CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{files}'")
        yield cursor
        rows(cursor, "DROP SCHEMA needed CASCADE")


def asks_for_keys(cursor, query):
    """Whether the plan of a query looks for keys before it groups."""
    return "__needed_keys" in dict(rows(cursor, f"EXPLAIN {query}"))["logical_plan"]


def both_ways(cursor, query):
    """The rows with all groups and with those that are needed."""
    answers = []
    for switch in ["false", "true"]:
        rows(cursor, f"SET grappe.join_reordering = {switch}")
        answers.append(sorted(rows(cursor, query), key=repr))
    return answers


FEWER = [
    # An average beside each row: TPC-H q17.
    "SELECT count(*), sum(s.amount) FROM sales s, items i WHERE s.item = i.item AND i.brand = 3 "
    "AND s.amount < (SELECT 0.2 * avg(amount) FROM sales x WHERE x.item = i.item)",
    # Known by the other column of an equality, through a subquery and a filter of groups.
    f"SELECT count(*), sum(g.n), min(s.id) FROM sales s, items i, {GROUPS} g "
    "WHERE s.item = i.item AND i.brand = 7 AND g.item = s.item AND g.n > 9",
    # Items that nobody bought stay.
    "SELECT i.item, i.name, g.n FROM (SELECT * FROM items WHERE brand = 40) i LEFT JOIN "
    "(SELECT item, count(*) AS n FROM sales WHERE store < 15 GROUP BY item) g ON g.item = i.item",
    f"SELECT i.item, g.total FROM {GROUPS} g RIGHT JOIN (SELECT * FROM items WHERE brand = 41) i ON g.item = i.item",
    "SELECT i.name FROM items i WHERE brand = 5 AND NOT EXISTS "
    "(SELECT 1 FROM sales s WHERE s.item = i.item GROUP BY s.item HAVING max(amount) > 95)",
    # Two keys, one of which is told, and groups of groups.
    "SELECT count(*), sum(g.n) FROM items i JOIN (SELECT item, store, count(*) AS n FROM sales GROUP BY item, store) g "
    "ON g.item = i.item AND g.store = i.brand WHERE i.name LIKE 'item 1%'",
    "SELECT sum(g.least) FROM items i JOIN (SELECT item, min(n) AS least FROM "
    "(SELECT item, store, count(*) AS n FROM sales GROUP BY item, store) GROUP BY item) g ON g.item = i.item WHERE brand = 9",
    # The keys themselves in a view of them.
    f"WITH few AS (SELECT item AS key, name FROM items WHERE brand = 1) SELECT count(*), max(name) FROM few JOIN {GROUPS} g "
    "ON few.key = g.item JOIN sales s ON s.item = few.key",
]


@pytest.mark.parametrize("query", FEWER)
def test_groups_that_nobody_asks_for_are_not_made(shop, query):
    every, needed = both_ways(shop, query)
    assert asks_for_keys(shop, query)
    assert needed == every and every


EVERY = [
    # All groups are in the answer.
    f"SELECT count(*), sum(g.n), count(i.item) FROM (SELECT * FROM items WHERE brand = 3) i RIGHT JOIN {GROUPS} g "
    "ON i.item = g.item",
    f"SELECT count(*), sum(g.n) FROM (SELECT * FROM items WHERE brand = 3) i FULL JOIN {GROUPS} g ON i.item = g.item",
    f"SELECT count(*) FROM {GROUPS} g WHERE NOT EXISTS (SELECT 1 FROM items i WHERE i.item = g.item AND i.brand = 3)",
    # A group without an item meets an item without a key.
    f"SELECT count(*), sum(g.n) FROM (SELECT * FROM items WHERE brand = 40) i JOIN {GROUPS} g "
    "ON i.item IS NOT DISTINCT FROM g.item",
    # Most items are asked for.
    f"SELECT count(*), sum(g.n) FROM items i JOIN {GROUPS} g ON i.item = g.item WHERE i.brand > 3",
    # What is joined is no group, but what was made of one.
    "SELECT count(*) FROM items i JOIN (SELECT item + 1 AS item, count(*) AS n FROM sales GROUP BY item) g "
    "ON i.item = g.item WHERE i.brand = 3",
    "SELECT count(*), sum(n) FROM items i JOIN (SELECT item, store, count(*) AS n FROM sales "
    "GROUP BY GROUPING SETS ((item), (store), ())) g ON i.item = g.item WHERE i.brand = 3",
]


@pytest.mark.parametrize("query", EVERY)
def test_groups_that_are_seen_are_made(shop, query):
    every, needed = both_ways(shop, query)
    assert not asks_for_keys(shop, query)
    assert needed == every and every


def test_conditions_that_change_are_not_asked_twice(shop):
    query = f"SELECT count(*) > 0, min(g.n) > 0 FROM ({{}}) i JOIN {GROUPS} g ON g.item = i.item"
    some = query.format("SELECT * FROM items WHERE brand = 3 AND random() < 0.5")
    # What else is asked of the items is enough.
    assert asks_for_keys(shop, some) and rows(shop, some) == [(True, True)]
    assert dict(rows(shop, f"EXPLAIN {some}"))["logical_plan"].count("random") == 1
    some = query.format("SELECT * FROM items WHERE item > 50 LIMIT 20")
    assert not asks_for_keys(shop, some) and rows(shop, some) == [(True, True)]
