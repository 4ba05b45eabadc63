"""Streamed mode: all stages at the same time on two executors, with the answers of local mode."""

import os
import pathlib
import signal
import threading
import time

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import pytest

from lake import assert_soon, rows
from test_recovery import Nodes

SALES = """
    SELECT value AS id, value * 7919 % 5000 AS item, 'store ' || (value % 37) AS store,
        CASE WHEN value % 13 = 0 THEN NULL ELSE CAST(value % 1000 AS DECIMAL(12, 2)) / 8 END AS price,
        to_timestamp_seconds(1704067200 + value % 100000 * 60) AS at,
        [value % 3, value % 5] AS list, repeat('é', CAST(value % 30 AS INT)) AS text
    FROM range(0, 600000)
"""
ITEMS = "SELECT value AS item, 'item ' || value AS name, value % 50 AS kind FROM range(0, 5000)"
QUESTIONS = [
    "SELECT count(*), sum(price), min(at), max(text), count(price), avg(length(text)) FROM sales",
    "SELECT store, count(*), sum(price), min(text) FROM sales GROUP BY store ORDER BY store",
    "SELECT item, count(*) AS n, stddev(price) FROM sales GROUP BY item HAVING count(*) > 119 ORDER BY n DESC, item LIMIT 20",
    "SELECT kind, count(*), sum(price) FROM sales JOIN items USING (item) GROUP BY kind ORDER BY kind",
    "SELECT i.kind, count(DISTINCT s.store) FROM sales s JOIN items i ON s.item = i.item WHERE i.name LIKE '%7' "
    "GROUP BY i.kind ORDER BY 1",
    "SELECT id, text, list, at FROM sales ORDER BY price DESC NULLS LAST, id LIMIT 50",
    "SELECT a.store, count(*) FROM sales a JOIN sales b ON a.id = b.id + 1 AND a.item > b.item GROUP BY a.store ORDER BY 1",
    "SELECT store, id, sum(price) OVER (PARTITION BY store ORDER BY id) AS running FROM sales WHERE id % 5000 = 7 ORDER BY id",
    "SELECT row_number() OVER (ORDER BY id) AS n, id FROM sales WHERE item = 17 ORDER BY n",
    "SELECT name FROM items WHERE item NOT IN (SELECT item FROM sales WHERE price > 100) ORDER BY name LIMIT 10",
    "SELECT count(*) FROM items i WHERE EXISTS (SELECT 1 FROM sales s WHERE s.item = i.item AND s.price > 124.7)",
    "SELECT s.item, i.name FROM items i LEFT JOIN sales s ON s.item = i.item AND s.id < 40 ORDER BY i.item, s.id LIMIT 60",
    "SELECT count(*) FROM (SELECT item FROM sales EXCEPT SELECT item FROM items WHERE kind = 3) AS t",
    "WITH best AS (SELECT item, max(price) AS p FROM sales GROUP BY item) "
    "SELECT count(*), sum(p) FROM best WHERE p > (SELECT avg(p) FROM best)",
    "SELECT kind, approx_distinct(text) > 0, array_agg(DISTINCT store ORDER BY store) FROM sales JOIN items USING (item) "
    "WHERE kind < 3 GROUP BY kind ORDER BY kind",
    "SELECT unnest(list) AS u, count(*) FROM sales GROUP BY 1 ORDER BY 1",
    "SELECT date_trunc('month', at) AS month, count(*) FROM sales GROUP BY 1 ORDER BY 1",
    "SELECT count(*), sum(value % 7) FROM range(0, 30000000)",
    "SELECT n, count(*) FROM lines GROUP BY n ORDER BY n",
    "SELECT count(*), count(DISTINCT note) FROM notes",
    "SELECT * FROM sales WHERE id < 0",
]


@pytest.fixture(scope="module")
def tables(two_executors, tmp_path_factory):
    """Two cursors on a cluster with Parquet and text files: one in streamed mode, one in local mode."""
    place = tmp_path_factory.mktemp("streamed")
    (place / "notes").mkdir()
    for number in range(5):
        lines = "".join(f'{number * 1000 + line},"one\nand {line % 9}"\n' for line in range(400))
        (place / "notes" / f"{number}.csv").write_text("id,note\n" + lines)
    with flightsql.connect(two_executors, autocommit=True) as one, flightsql.connect(two_executors, autocommit=True) as two:
        with one.cursor() as streamed, two.cursor() as local:
            rows(local, "CREATE SCHEMA IF NOT EXISTS streamed")
            for cursor, mode in [(local, "local"), (streamed, "streamed")]:
                rows(cursor, "SET datafusion.catalog.default_schema = 'streamed'")
                rows(cursor, f"SET grappe.execution_mode = '{mode}'")
            for name, query, parts in [("sales", SALES, 3), ("items", ITEMS, 1)]:
                for part in range(parts):
                    rows(local, f"COPY (SELECT * FROM ({query}) AS t WHERE item % {parts} = {part}) "
                                f"TO '{place}/{name}/{part}.parquet'")
                rows(local, f"CREATE EXTERNAL TABLE {name} STORED AS PARQUET LOCATION '{place}/{name}/'")
            rows(local, f"COPY (SELECT value % 10 AS n, repeat('x', 40) AS pad FROM range(0, 400000)) TO '{place}/lines.csv'")
            rows(local, f"CREATE EXTERNAL TABLE lines STORED AS CSV LOCATION '{place}/lines.csv' OPTIONS ('has_header' 'true')")
            rows(local, f"CREATE EXTERNAL TABLE notes STORED AS CSV LOCATION '{place}/notes/' "
                        "OPTIONS ('has_header' 'true', 'newlines_in_values' 'true')")
            yield streamed, local
            rows(local, "DROP SCHEMA streamed CASCADE")


@pytest.mark.parametrize("question", QUESTIONS)
def test_answers_are_those_of_local_mode(tables, question):
    streamed, local = tables
    assert rows(streamed, question) == rows(local, question)
    assert streamed.description == local.description


def test_stages_are_shown_and_run_on_executors(tables):
    streamed, local = tables
    question = QUESTIONS[3] + " -- shown"
    plan = dict(rows(streamed, f"EXPLAIN {question}"))
    assert plan["execution_mode"].startswith("streamed")
    assert "Stage" in plan["distributed_plan"] and "NetworkShuffle" in plan["distributed_plan"]
    rows(streamed, question)
    [(mode, tasks, setbacks)] = rows(
        local, "SELECT mode, tasks, setbacks FROM system.queries WHERE statement LIKE '%GROUP BY kind%-- shown' "
        "AND statement NOT LIKE 'EXPLAIN%' AND statement NOT LIKE '%LIKE%'")
    assert mode == "streamed" and tasks >= 2 and not setbacks
    analyzed = rows(streamed, f"EXPLAIN ANALYZE {question}")
    assert "output_rows" in str(analyzed)


@pytest.mark.parametrize(("sql", "says"), [
    ("SELECT sum(1 / (item - 17)) FROM sales", "division by zero"),
    ("SELECT sum(CAST(text AS INT)) FROM sales", "(?i)cast"),
    ("SELECT nothing FROM sales", "nothing"),
])
def test_a_users_mistake_is_told_as_in_local_mode(tables, sql, says):
    told = []
    for cursor in tables:
        with pytest.raises(adbc_driver_manager.dbapi.Error, match=says) as raised:
            rows(cursor, sql)
        told.append(type(raised.value))
    assert told[0] is told[1]


def test_settings_of_the_session_hold_on_executors(tables):
    for cursor in tables:
        rows(cursor, "SET datafusion.execution.time_zone = 'Asia/Kathmandu'")
        rows(cursor, "SET grappe.query_memory_bytes_max = 3000000")
    streamed, local = tables
    question = "SELECT DISTINCT date_part('minute', CAST(at AS TIMESTAMP WITH TIME ZONE)) AS m FROM sales WHERE id < 9 ORDER BY m"
    assert rows(streamed, question) == rows(local, question)
    for cursor in tables:
        with pytest.raises(adbc_driver_manager.dbapi.Error, match="query_memory_bytes_max"):
            rows(cursor, "SELECT count(n) FROM (SELECT sum(id) OVER (PARTITION BY item % 2, text) AS n FROM sales) AS t")
        rows(cursor, "RESET grappe.query_memory_bytes_max")
        rows(cursor, "RESET datafusion.execution.time_zone")


def test_writes_run_in_stages(tables):
    streamed, local = tables
    rows(streamed, "CREATE TABLE kept AS SELECT item, count(*) AS n FROM sales GROUP BY item")
    rows(streamed, "INSERT INTO kept SELECT item, 0 FROM items WHERE item < 10")
    assert rows(streamed, "SELECT count(*), sum(n) FROM kept") == rows(local, "SELECT count(*), sum(n) FROM kept") == [(5010, 600_000)]
    modes = rows(local, "SELECT DISTINCT mode FROM system.queries WHERE statement LIKE 'INSERT INTO kept%'")
    assert modes == [("staged",)]


def test_parameters_and_small_questions(tables):
    streamed, local = tables
    question = "SELECT count(*), min(name) FROM items WHERE kind = ? AND item > ?"
    answers = []
    for cursor in tables:
        cursor.execute(question, (7, 100))
        answers.append(cursor.fetchall())
    assert answers[0] == answers[1]
    assert rows(streamed, "SELECT 1 + 1") == rows(local, "SELECT 1 + 1")
    assert rows(streamed, "SELECT name FROM items ORDER BY item LIMIT 1") == [("item 0",)]


@pytest.fixture
def nodes(tmp_path):
    nodes = Nodes(tmp_path)
    yield nodes
    nodes.stop()


def cluster(nodes):
    """A coordinator with two executors; its Flight address."""
    flight, port = nodes.server("server")
    nodes.ready("server")
    for name in ["one", "two"]:
        nodes.executor(name, port)
    for name in ["one", "two"]:
        nodes.ready(name)
    return f"grpc://127.0.0.1:{flight}"


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


LONG = "SELECT value % 1000 AS k, count(*), sum(value % 7) FROM range(0, 900000000) GROUP BY 1 ORDER BY 1 LIMIT 3"


def asked(flight, question, outcome):
    """A thread that asks in streamed mode."""
    def ask():
        with flightsql.connect(flight, autocommit=True) as connection, connection.cursor() as cursor:
            rows(cursor, "SET grappe.execution_mode = 'streamed'")
            try:
                outcome.append(rows(cursor, question))
            except (adbc_driver_manager.Error, RuntimeError) as error:
                outcome.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_a_dead_executor_costs_time_and_no_row(nodes):
    flight = cluster(nodes)
    outcome = []
    thread = asked(flight, LONG, outcome)
    victim = nodes.processes["two"]
    assert_soon(lambda: cpu_seconds(victim) > 1.5, lambda: outcome)
    nodes.kill("two")
    thread.join(120)
    assert outcome == [[(k, 900_000, outcome[0][k][2]) for k in range(3)]]
    with flightsql.connect(flight, autocommit=True) as connection, connection.cursor() as cursor:
        [(state, setbacks)] = rows(cursor, "SELECT state, setbacks FROM system.queries WHERE statement LIKE '%value % 1000%' "
                                           "AND statement NOT LIKE '%system%'")
        assert state == "finished" and "runs again in stages" in str(setbacks)
        rows(cursor, "SET grappe.execution_mode = 'local'")
        assert rows(cursor, LONG) == outcome[0]


def test_a_cancel_stops_executors(nodes):
    flight = cluster(nodes)
    outcome = []
    endless = LONG.replace("900000000", "900000000000")
    thread = asked(flight, endless, outcome)
    executors = [nodes.processes[name] for name in ["one", "two"]]
    assert_soon(lambda: min(map(cpu_seconds, executors)) > 1, lambda: outcome)
    with flightsql.connect(flight, autocommit=True) as connection, connection.cursor() as cursor:
        [(query,)] = rows(cursor, "SELECT id FROM system.queries WHERE state = 'running' AND statement LIKE '%value % 1000%' "
                                  "AND statement NOT LIKE '%system%'")
        rows(cursor, f"CANCEL QUERY '{query}'")
    thread.join(30)
    assert isinstance(outcome[0], Exception)
    time.sleep(2)
    before = [cpu_seconds(process) for process in executors]
    time.sleep(2)
    assert max(cpu_seconds(process) - was for process, was in zip(executors, before)) < 0.3


def test_an_executor_that_is_told_to_stop_finishes_its_streams(nodes):
    flight = cluster(nodes)
    outcome = []
    thread = asked(flight, LONG, outcome)
    leaving = nodes.processes["two"]
    assert_soon(lambda: cpu_seconds(leaving) > 1, lambda: outcome)
    leaving.send_signal(signal.SIGTERM)
    assert leaving.wait(90) == 0
    thread.join(90)
    assert [row[:2] for row in outcome[0]] == [(k, 900_000) for k in range(3)]
    with flightsql.connect(flight, autocommit=True) as connection, connection.cursor() as cursor:
        assert rows(cursor, "SELECT count(*) FROM system.queries WHERE setbacks IS NOT NULL") == [(0,)]
