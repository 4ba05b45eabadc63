"""What is cancelled stops, whatever it is doing, and what is never ready leaves threads to others."""

import os
import pathlib
import threading
import time

import adbc_driver_manager
import pytest

from lake import assert_soon, rows
from servers import Server

# Each makes billions of pairs, and no row of them.
PAIRS = "count(*) FROM range(0, 3000000) a {} range(0, 3000000) b ON {}sin(a.value * b.value) > 2"
SAME_KEY = "a.value % 2 = b.value % 2 AND "
STATEMENTS = {
    "nested loops": ["SELECT " + PAIRS.format("JOIN", "")],
    "outer nested loops": ["SELECT " + PAIRS.format("LEFT JOIN", "")],
    "hash join": ["SELECT " + PAIRS.format("JOIN", SAME_KEY)],
    "outer hash join": ["SELECT " + PAIRS.format("FULL JOIN", SAME_KEY)],
    "anti join": [
        "SELECT count(*) FROM range(0, 3000000) a WHERE NOT EXISTS "
        f"(SELECT 1 FROM range(0, 3000000) b WHERE {SAME_KEY} sin(a.value * b.value) > 2)"
    ],
    "merge join": ["SET datafusion.optimizer.prefer_hash_join = false", "SELECT " + PAIRS.format("JOIN", SAME_KEY)],
    "unnest": ["SELECT count(*) FROM (SELECT unnest(range(0, 1000000)) AS u FROM range(0, 1000000)) AS t WHERE sin(u) > 2"],
    "recursion": ["WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n % 9 + 1 FROM t) SELECT count(*) FROM t"],
    "window": [
        "SELECT sum(s) FROM (SELECT sum(value) OVER (ORDER BY value ROWS BETWEEN 400000 PRECEDING AND CURRENT ROW) AS s "
        "FROM range(0, 50000000)) AS t"
    ],
}
# More rows than are computed where they are asked for.
OTHER = "SELECT count(*) FROM range(0, 300000) WHERE value % 3 = 0"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("stopping"), "--memory", "1GB")
    yield server
    assert server.stop() == 0


def cpu_seconds(server):
    fields = pathlib.Path(f"/proc/{server.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("statements", STATEMENTS.values(), ids=STATEMENTS)
def test_others_go_on_and_a_cancel_stops_it(server, statements):
    with server.connect() as connection, server.connect() as other, connection.cursor() as cursor, other.cursor() as beside:
        *settings, statement = statements
        for setting in settings:
            rows(cursor, setting)
        outcome = []

        def ask():
            try:
                outcome.append(rows(cursor, statement))
            except adbc_driver_manager.Error as error:
                outcome.append(str(error))

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        state = "SELECT state FROM system.queries WHERE state IN ('running', 'reading') AND statement NOT LIKE '%system%'"
        assert_soon(lambda: rows(beside, state), lambda: outcome)
        begun = cpu_seconds(server)
        assert_soon(lambda: cpu_seconds(server) - begun > 0.5, lambda: outcome)
        asked = time.monotonic()
        assert rows(beside, OTHER) == [(100_000,)]
        assert time.monotonic() - asked < 10
        assert not outcome, outcome
        cursor.adbc_cancel()
        asking.join(5)
        assert "CANCEL" in outcome[0].upper(), outcome
        # Within two seconds, and from then on for a second.
        time.sleep(2)
        stopped = cpu_seconds(server)
        time.sleep(1)
        assert cpu_seconds(server) - stopped < 0.2
        assert server.process.poll() is None


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT count(*) FROM (SELECT repeat('x', 200000000) AS x FROM range(0, 50)) AS t WHERE length(x) > 0",
        "SELECT max(repeat('x', 200000000)) IS NOT NULL, count(DISTINCT value) FROM range(0, 4)",
        "SELECT sum(cardinality(l)) FROM (SELECT range(0, 10000000) AS l FROM range(0, 60)) AS t",
        "SELECT count(u) FROM (SELECT unnest(range(0, 10000000)) AS u FROM range(0, 10)) AS t",
    ],
    ids=["text", "aggregate", "list", "unnest"],
)
def test_a_large_constant_is_not_repeated_for_a_whole_batch(server, statement):
    before = peak_bytes(server)
    with server.connect() as connection, connection.cursor() as cursor:
        try:
            assert len(rows(cursor, statement)) == 1
        except adbc_driver_manager.Error as error:
            assert "ResourceExhausted" in str(error), error
    assert peak_bytes(server) - before < 3e9


def peak_bytes(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
