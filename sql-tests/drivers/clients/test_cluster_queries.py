"""Statements that run on executors, and many connections at once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import pyarrow as pa
import pytest

# There are no transactions, and tools that open connections themselves do not know it.
pytestmark = pytest.mark.filterwarnings("ignore:Cannot disable autocommit")


def rows(cursor, sql, parameters=None):
    cursor.execute(sql, parameters)
    return cursor.fetchall()


HEAVY = {
    "aggregate over a join": "SELECT a.value % 7 AS k, count(*) AS n, sum(b.value) AS s FROM range(0, 20000) a"
    " JOIN range(0, 10000) b ON a.value = b.value GROUP BY 1 ORDER BY 1",
    "outer join": "SELECT a.value, b.value AS other FROM range(0, 100) a FULL JOIN range(50, 150) b ON a.value = b.value"
    " ORDER BY 1, 2",
    "distinct": "SELECT DISTINCT value % 10 AS k FROM range(0, 10000) ORDER BY 1",
    "window": "SELECT value, sum(value) OVER (PARTITION BY value % 3 ORDER BY value) AS s FROM range(0, 1000) ORDER BY 1",
    "top": "SELECT value FROM range(0, 100000) ORDER BY value % 1000 DESC, value LIMIT 10",
    "subquery": "SELECT value FROM range(0, 1000) WHERE value IN (SELECT value * 2 FROM range(0, 100)) ORDER BY 1",
    "union": "SELECT value FROM range(0, 10) UNION SELECT value FROM range(5, 15) ORDER BY 1",
    "text": "SELECT 'k' || (value % 5) AS k, min('v' || value) AS v, count(DISTINCT value % 11) AS n FROM range(0, 1000)"
    " GROUP BY 1 ORDER BY 1",
    "nothing": "SELECT value % 7 AS k, count(*) AS n FROM range(0, 1000) WHERE value < 0 GROUP BY 1",
}


@pytest.mark.parametrize("sql", HEAVY.values(), ids=HEAVY)
def test_executors_give_the_same_table_as_the_coordinator(cursor, sql):
    tables = []
    for mode in ("local", "staged"):
        cursor.execute(f"SET grappe.execution_mode = '{mode}'")
        cursor.execute(sql)
        tables.append(cursor.fetch_arrow_table().combine_chunks())
    assert tables[0].equals(tables[1])


def test_executors_take_parameters(cursor):
    cursor.execute("SET grappe.execution_mode = 'staged'")
    sql = "SELECT value % ? AS k, count(*) AS n FROM range(0, 1000) WHERE value < ? GROUP BY 1 ORDER BY 1"
    assert rows(cursor, sql, (2, 10)) == [(0, 5), (1, 5)]
    assert rows(cursor, sql, (3, 6)) == [(0, 2), (1, 2), (2, 2)]


def test_executors_read_rows_that_were_sent(cursor, target):
    cursor.adbc_ingest(target, pa.table({"k": ["a", "b", None] * 1000, "n": range(3000)}), mode="create")
    cursor.execute("SET grappe.execution_mode = 'staged'")
    sql = 'SELECT k, count(*), sum(n) FROM "Trips" GROUP BY 1 ORDER BY 1 NULLS LAST'
    assert rows(cursor, sql) == [("a", 1000, 1_498_500), ("b", 1000, 1_499_500), (None, 1000, 1_500_500)]
    cursor.execute("SET grappe.execution_mode = 'auto'")


# All at once.

CONNECTIONS = 100


def at_once(two_executors, work, connections=CONNECTIONS):
    """What `work(cursor, number)` gives on so many connections at the same time."""

    def connected(number):
        with flightsql.connect(two_executors, autocommit=True) as connection, connection.cursor() as cursor:
            return work(cursor, number)

    with ThreadPoolExecutor(connections) as pool:
        return list(pool.map(connected, range(connections)))


# Staged queries cost more, and two virtual cores run them all.
@pytest.mark.parametrize(("mode", "queries"), [("local", 20), ("staged", 3)])
def test_a_hundred_connections_run_queries(two_executors, mode, queries):
    sql = "SELECT value % 3 AS k, count(*) AS n FROM range(0, 10000) WHERE value < ? GROUP BY 1"

    def work(cursor, number):
        cursor.execute(f"SET grappe.execution_mode = '{mode}'")
        return [sorted(rows(cursor, sql, (3 * (number + n),))) for n in range(queries)]

    wanted = [
        [[(k, number + n) for k in range(3) if number + n] for n in range(queries)] for number in range(CONNECTIONS)
    ]
    assert at_once(two_executors, work) == wanted


def test_a_hundred_connections_sort_a_few_rows(two_executors):
    together = threading.Barrier(CONNECTIONS, timeout=60)
    sql = "SELECT value % 3 AS k, count(*) AS n FROM range(0, 3000) GROUP BY 1 ORDER BY 1"

    def work(cursor, number):
        cursor.execute("SET grappe.execution_mode = 'local'")
        answers = []
        for _ in range(5):
            together.wait()
            try:
                answers.append(rows(cursor, sql))
            except adbc_driver_manager.dbapi.Error as error:
                answers.append(str(error))
        return answers

    answers = [answer for answers in at_once(two_executors, work) for answer in answers]
    assert [answer for answer in answers if answer != [(0, 1000), (1, 1000), (2, 1000)]] == []


def test_a_few_rows_are_sorted_in_many_parts(cursor):
    cursor.execute("SET datafusion.execution.target_partitions = 64")
    assert rows(cursor, "SELECT value % 3 AS k, count(*) FROM range(0, 3000) GROUP BY 1 ORDER BY 1")[0] == (0, 1000)


def test_many_connections_make_fill_and_drop_tables(two_executors):
    def work(cursor, number):
        name = f"at_once_{number}"
        sent = cursor.adbc_ingest(name, pa.table({"n": range(number, number + 100)}), mode="create")
        cursor.execute(f"INSERT INTO {name} VALUES (0)")
        found = rows(cursor, f"SELECT count(*), max(n) FROM {name}")
        cursor.execute(f"DROP TABLE {name}")
        return sent, found

    assert at_once(two_executors, work, 30) == [(100, [(101, number + 99)]) for number in range(30)]


def test_cursors_of_one_connection_work_at_once(connection):
    def work(number):
        with connection.cursor() as cursor:
            return [rows(cursor, "SELECT count(*) FROM range(0, 1000) WHERE value < ?", (number,)) for _ in range(10)]

    with ThreadPoolExecutor(10) as pool:
        assert list(pool.map(work, range(10))) == [[[(number,)]] * 10 for number in range(10)]
