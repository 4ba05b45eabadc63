"""Two servers on one catalog in PostgreSQL: they see the same names at once, and outlive the database being away."""

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import adbc_driver_manager
import pytest

from lake import ask, is_retryable, rows
from postgresql import PASSWORD, Postgres
from servers import Server

AWAY_SECONDS_MAX = 12


@pytest.fixture(scope="module")
def postgres():
    postgres = Postgres()
    yield postgres
    postgres.remove()


@pytest.fixture(scope="module")
def servers(postgres, tmp_path_factory):
    warehouse = tmp_path_factory.mktemp("warehouse")
    arguments = ["--catalog-url", postgres.url, "--warehouse", str(warehouse)]
    both = [Server(tmp_path_factory.mktemp("data"), *arguments) for _ in range(2)]
    yield both
    assert [server.stop() for server in both] == [0, 0]


def test_what_one_changes_the_other_sees_at_once(servers):
    one, other = servers
    for _ in range(5):
        ask(one, "CREATE TABLE shared AS SELECT 1 AS n")
        ask(other, "INSERT INTO shared VALUES (2)")
        assert ask(one, "SELECT sum(n) FROM shared") == [(3,)]
        ask(one, "ALTER TABLE shared ADD COLUMN more BIGINT DEFAULT 7")
        assert ask(other, "SELECT sum(more) FROM shared WHERE n = 2") == [(7,)]
        ask(other, "ALTER TABLE shared RENAME TO renamed")
        with pytest.raises(adbc_driver_manager.Error, match='"shared" not found'):
            ask(one, "SELECT * FROM shared")
        ask(one, "CREATE VIEW shared AS SELECT count(*) AS n FROM renamed")
        assert ask(other, "SELECT n FROM shared") == [(2,)]
        ask(other, "DROP VIEW shared")
        ask(one, "DROP TABLE renamed")
        assert ask(other, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'") == []


@pytest.mark.parametrize("create", ["CREATE TABLE {} AS SELECT '{}' AS who", "CREATE VIEW {} AS SELECT '{}' AS who"])
def test_of_two_that_make_one_name_one_wins(servers, create):
    for number in range(8):
        name, start, won, lost = f"same_{number}", threading.Barrier(2), [], []

        def make(server, who):
            with server.connect() as connection, connection.cursor() as cursor:
                start.wait()
                try:
                    rows(cursor, create.format(name, who))
                    won.append(who)
                except adbc_driver_manager.Error as error:
                    lost.append(error)

        threads = [threading.Thread(target=make, args=pair) for pair in zip(servers, ("one", "other"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1 and lost[0].status_code == adbc_driver_manager.AdbcStatusCode.ALREADY_EXISTS, lost
        for server in servers:
            assert ask(server, f"SELECT who FROM {name}") == [(won[0],)]
        ask(servers[1], f"DROP {create.split()[1]} {name}")


@pytest.fixture
def lasting(servers):
    ask(servers[0], "CREATE TABLE lasting AS SELECT 1 AS n")
    yield "lasting"
    ask(servers[0], "DROP TABLE lasting")


def failure(cursor, sql):
    """How a statement fails, and after how many seconds."""
    begun = time.monotonic()
    with pytest.raises(adbc_driver_manager.Error) as raised:
        rows(cursor, sql)
    return raised.value, time.monotonic() - begun


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_while_the_catalog_is_away_statements_say_so_and_then_work_again(servers, postgres, lasting, mode):
    statements = [f"SELECT n FROM {lasting}", f"INSERT INTO {lasting} VALUES (2)", f"DROP TABLE {lasting}"]
    statements += ["CREATE TABLE another (n BIGINT)", "SELECT table_name FROM information_schema.tables"]
    with contextlib.ExitStack() as stack:
        connections = [stack.enter_context(servers[0].connect()) for _ in statements]
        cursors = [stack.enter_context(connection.cursor()) for connection in connections]
        postgres.stop(mode)
        try:
            with ThreadPoolExecutor() as pool:
                failures = list(pool.map(failure, cursors, statements))
        finally:
            postgres.start()
        for error, seconds in failures:
            assert seconds < AWAY_SECONDS_MAX and is_retryable(error), str(error)
            assert f"127.0.0.1:{postgres.port}" in str(error) and "catalog" in str(error)
            assert PASSWORD not in str(error)
        # By themselves, in the same sessions, and at once.
        assert [rows(cursor, f"SELECT n FROM {lasting}") for cursor in cursors] == [[(1,)]] * len(cursors)
        rows(cursors[0], f"INSERT INTO {lasting} VALUES (2)")
    assert ask(servers[1], f"SELECT sum(n) FROM {lasting}") == [(3,)]


@pytest.mark.parametrize("sql", ["SELECT 10", "SELECT max(n) FROM (VALUES (10)) AS v (n)", "SELECT count(*) FROM range(0, 10)"])
def test_what_names_no_table_needs_no_catalog(servers, postgres, sql):
    with servers[0].connect() as connection, connection.cursor() as cursor:
        postgres.stop()
        try:
            assert rows(cursor, sql) == [(10,)]
        finally:
            postgres.start()


def test_a_server_whose_catalog_is_away_does_not_start_and_says_why(grappe, postgres, tmp_path):
    away = postgres.url.replace(f":{postgres.port}/", ":1/")
    for url, says in ((away, "127.0.0.1:1"), (postgres.url.replace(PASSWORD, "wrong"), f"127.0.0.1:{postgres.port}")):
        refused = grappe("--catalog-url", url, "--warehouse", str(tmp_path), "-c", "SELECT 1")
        assert refused.returncode != 0 and says in refused.stderr, refused.stderr
        assert PASSWORD not in refused.stderr and ":wrong@" not in refused.stderr
