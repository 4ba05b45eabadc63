"""Tables that we keep: they last, every process sees them at once, and what breaks their rules is refused."""

import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import adbc_driver_manager
import pyarrow as pa
import pytest
from deltalake import DeltaTable

from lake import ask, assert_soon, data_files, detail, directory, rows
from servers import BINARY, Server, clean_environment


@pytest.mark.parametrize("end", ["terminate", "kill"])
def test_a_table_outlives_the_server(tmp_path, end):
    server = Server(tmp_path)
    ask(server, "CREATE TABLE kept (id BIGINT NOT NULL, name VARCHAR DEFAULT 'none', CHECK (id > 0))")
    ask(server, "INSERT INTO kept VALUES (1, 'one'), (2, NULL)")
    ask(server, "UPDATE kept SET name = 'two' WHERE id = 2")
    getattr(server.process, end)()
    server.process.wait(30)
    again = Server(tmp_path)
    ask(again, "INSERT INTO kept (id) VALUES (3)")
    assert ask(again, "SELECT * FROM kept ORDER BY id") == [(1, "one"), (2, "two"), (3, "none")]
    assert ask(again, "SELECT count(*) FROM kept VERSION AS OF 1") == [(2,)]
    with pytest.raises(adbc_driver_manager.Error, match="kept_id_check"):
        ask(again, "INSERT INTO kept VALUES (0, 'zero')")
    assert again.stop() == 0


class Shell:
    """`grappe` as a process that stays open, and answers each statement with one line."""

    def __init__(self, data_dir):
        command = [BINARY, "--data-dir", str(data_dir), "-A", "-t"]
        pipe = subprocess.PIPE
        environment = clean_environment(HOME=str(data_dir))
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True, env=environment)

    def ask(self, sql):
        self.process.stdin.write(f"{sql};\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self):
        self.process.stdin.close()
        return self.process.wait(30)


def test_two_shells_on_one_directory_see_each_others_tables_at_once(tmp_path):
    one, other = Shell(tmp_path), Shell(tmp_path)
    for writer, reader, table in ((one, other, "mine"), (other, one, "yours")):
        assert "not found" in reader.ask(f"SELECT count(*) FROM {table}")
        # The rest of the message: where the name stands.
        reader.process.stdout.readline(), reader.process.stdout.readline()
        assert writer.ask(f"CREATE TABLE {table} (n BIGINT)") == "CREATE TABLE"
        assert reader.ask(f"SELECT count(*) FROM {table}") == "0"
        assert reader.ask(f"INSERT INTO {table} VALUES (1), (2)") == "INSERT 0 2"
        assert writer.ask(f"SELECT sum(n) FROM {table}") == "3"
        assert writer.ask(f"ALTER TABLE {table} ADD COLUMN more VARCHAR DEFAULT 'new'") == "ALTER TABLE"
        assert reader.ask(f"SELECT n, more FROM {table} ORDER BY n LIMIT 1") == "1|new"
        assert writer.ask(f"DROP TABLE {table}") == "DROP TABLE"
        assert "CREATE" in reader.ask(f"CREATE TABLE {table} AS SELECT 5 AS five")
        assert writer.ask(f"SELECT five FROM {table}") == "5"
    # One statement of each has failed.
    assert (one.end(), other.end()) == (3, 3)


def test_a_dropped_table_is_gone_from_its_name_and_then_from_disk(tmp_path):
    server = Server(tmp_path, GRAPPE_SERVER__SWEEP_AFTER_SECONDS="1")
    with server.connect() as connection, connection.cursor() as cursor:
        rows(cursor, "CREATE TABLE gone AS SELECT value AS n FROM range(0, 10)")
        place = directory(cursor, "gone")
        rows(cursor, "DROP TABLE gone")
        with pytest.raises(adbc_driver_manager.Error, match='"gone" not found'):
            rows(cursor, "SELECT * FROM gone")
        assert rows(cursor, "SELECT table_name FROM information_schema.tables WHERE table_name = 'gone'") == []
        rows(cursor, "DROP TABLE IF EXISTS gone")
        rows(cursor, "CREATE TABLE gone AS SELECT 'another' AS other")
        assert directory(cursor, "gone") != place
        assert_soon(lambda: not data_files(place), lambda: data_files(place))
        assert rows(cursor, "SELECT * FROM gone") == [("another",)]
    assert server.stop() == 0


def test_a_statement_that_fails_at_a_place_of_ones_own_leaves_what_is_there(tmp_path):
    server, place, other = Server(tmp_path / "data"), tmp_path / "place", tmp_path / "other"
    other.mkdir()
    (other / "mine.parquet").write_text("not ours")
    with server.connect() as connection, connection.cursor() as cursor:
        rows(cursor, f"CREATE TABLE one LOCATION '{place}' AS SELECT 7 AS n")
        for sql in ("CREATE TABLE two (n BIGINT) LOCATION '{}'", "CREATE TABLE two LOCATION '{}' AS SELECT 8 AS n"):
            with pytest.raises(adbc_driver_manager.Error, match="already exists"):
                rows(cursor, sql.format(place))
        with pytest.raises(adbc_driver_manager.Error, match="division by zero"):
            rows(cursor, f"CREATE TABLE two LOCATION '{other}' AS SELECT 1 / (5 - value) AS n FROM range(10)")
        assert rows(cursor, "SELECT n FROM one") == [(7,)]
        assert_soon(lambda: data_files(other) == {"mine.parquet"}, lambda: data_files(other))
        rows(cursor, "DROP TABLE one")
        rows(cursor, f"CREATE EXTERNAL TABLE one STORED AS DELTA LOCATION '{place}'")
        assert rows(cursor, "SELECT n FROM one") == [(7,)]
    assert server.stop() == 0


def test_a_damaged_log_is_named(tmp_path):
    server = Server(tmp_path)
    with server.connect() as connection, connection.cursor() as cursor:
        rows(cursor, "CREATE TABLE damaged AS SELECT 1 AS n")
        rows(cursor, "INSERT INTO damaged VALUES (2)")
        place = directory(cursor, "damaged")
        (place / "_delta_log" / f"{1:020}.json").write_text('{"add": {"path"')
    assert server.stop() == 0
    server = Server(tmp_path)
    for sql in ("SELECT * FROM damaged", "INSERT INTO damaged VALUES (3)", "DELETE FROM damaged"):
        with pytest.raises(adbc_driver_manager.Error, match=f"{place}.*{1:020}.json") as raised:
            ask(server, sql)
        assert raised.value.status_code == adbc_driver_manager.AdbcStatusCode.INVALID_ARGUMENT
    # Other tables, and the name itself, do not suffer.
    ask(server, "DROP TABLE damaged")
    ask(server, "CREATE TABLE damaged AS SELECT 4 AS n")
    assert ask(server, "SELECT n FROM damaged") == [(4,)]
    assert server.stop() == 0


def test_what_is_ingested_is_a_delta_table(cursor):
    table = pa.table({"id": pa.array([1, 2], pa.int64()), "name": ["Ada", None]})
    assert cursor.adbc_ingest("ingested", table, mode="create") == 2
    place = directory(cursor, "ingested")
    assert cursor.adbc_ingest("ingested", table, mode="append") == 2
    assert directory(cursor, "ingested") == place
    assert sorted(DeltaTable(place).to_pyarrow_table()["id"].to_pylist()) == [1, 1, 2, 2]
    other = pa.table({"when": pa.array([0], pa.timestamp("us", "UTC"))})
    assert cursor.adbc_ingest("ingested", other, mode="replace") == 1
    assert DeltaTable(directory(cursor, "ingested")).to_pyarrow_table().column_names == ["when"]
    rows(cursor, "DROP TABLE ingested")


def test_what_breaks_a_rule_is_a_typed_error_and_writes_nothing(cursor):
    rows(cursor, "CREATE TABLE ruled (id BIGINT NOT NULL, price DOUBLE, CONSTRAINT paid CHECK (price > 0))")
    rows(cursor, "INSERT INTO ruled VALUES (1, 1.5)")
    place = directory(cursor, "ruled")
    version, files = detail(cursor, "ruled")["version"], data_files(place)
    for sql, names in (
        ("INSERT INTO ruled SELECT value, 1000 - value FROM range(2, 1001)", '"paid"'),
        ("UPDATE ruled SET price = -price", '"paid"'),
        ("INSERT INTO ruled (price) VALUES (1)", '"id"'),
        ("MERGE INTO ruled USING (SELECT 7 AS id) AS s ON ruled.id = s.id WHEN NOT MATCHED THEN INSERT VALUES (s.id, 0)", '"paid"'),
    ):
        with pytest.raises(adbc_driver_manager.Error, match=names) as raised:
            rows(cursor, sql)
        assert raised.value.status_code == adbc_driver_manager.AdbcStatusCode.INVALID_ARGUMENT
    broken = pa.table({"id": pa.array([8], pa.int64()), "price": [-1.0]})
    with pytest.raises(adbc_driver_manager.Error, match='"paid"'):
        cursor.adbc_ingest("ruled", broken, mode="append")
    assert rows(cursor, "SELECT * FROM ruled") == [(1, 1.5)]
    assert detail(cursor, "ruled")["version"] == version
    assert_soon(lambda: data_files(place) == files, lambda: data_files(place) - files)
    rows(cursor, "DROP TABLE ruled")


def test_rows_that_are_left_out_break_no_rule(cursor):
    rows(cursor, "CREATE TABLE ruled (id BIGINT NOT NULL, CONSTRAINT small CHECK (id < 50))")
    rows(cursor, "INSERT INTO ruled SELECT value FROM range(0, 100) WHERE value < 50")
    rows(cursor, "INSERT INTO ruled SELECT id FROM (VALUES (1), (NULL)) AS s (id) WHERE id IS NOT NULL")
    rows(
        cursor,
        "MERGE INTO ruled USING (VALUES (60), (-1)) AS s (id) ON ruled.id = s.id"
        " WHEN NOT MATCHED AND s.id < 50 THEN INSERT (id) VALUES (s.id)",
    )
    assert rows(cursor, "SELECT count(*), sum(id) FROM ruled") == [(52, 49 * 50 // 2)]
    rows(cursor, "DROP TABLE ruled")


def test_what_is_sent_is_not_changed_unseen(cursor):
    whole, fraction = pa.array([1_000, None], pa.timestamp("ns")), pa.array([1_001, None], pa.timestamp("ns"))
    cursor.adbc_ingest("sent", pa.table({"t": whole}), mode="replace")
    assert rows(cursor, "SELECT count(t) FROM sent") == [(1,)]
    for mode in ("append", "replace"):
        with pytest.raises(adbc_driver_manager.Error, match='"t" has times with parts of a microsecond'):
            cursor.adbc_ingest("sent", pa.table({"t": fraction}), mode=mode)
    assert rows(cursor, "SELECT count(*) FROM sent") == [(2,)]
    with pytest.raises(adbc_driver_manager.Error, match='"id" and "Id" differ in case only'):
        cursor.adbc_ingest("sent", pa.table({"id": [1], "Id": [2]}), mode="replace")
    rows(cursor, "DROP TABLE sent")


@pytest.mark.parametrize("name", ["a/b", "a.csv", "../up", "ü \"q\" 'x'"])
def test_a_name_that_looks_like_a_path_is_a_name(cursor, name):
    quoted = '"' + name.replace('"', '""') + '"'
    for mode, count in (("create", 1), ("append", 2), ("replace", 1)):
        cursor.adbc_ingest(name, pa.table({"n": [1]}), mode=mode)
        assert rows(cursor, f"SELECT count(*) FROM {quoted}") == [(count,)]
    rows(cursor, f"DROP TABLE {quoted}")


def test_of_two_that_replace_a_table_that_is_not_there_both_do(tmp_path):
    server = Server(tmp_path)

    def replace(number):
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.adbc_ingest("raced", pa.table({"n": [number]}), mode="replace")

    for _ in range(5):
        with ThreadPoolExecutor() as pool:
            list(pool.map(replace, range(4)))
        assert len(ask(server, "SELECT n FROM raced")) == 1
        ask(server, "DROP TABLE raced")
    assert server.stop() == 0


def test_a_view_that_lasts_does_not_stand_on_one_that_does_not(cursor):
    rows(cursor, "CREATE TEMPORARY VIEW passing AS SELECT 1 AS x")
    with pytest.raises(adbc_driver_manager.Error, match="cannot read a temporary view"):
        rows(cursor, "CREATE VIEW lasting AS SELECT * FROM passing")
    rows(cursor, "CREATE TEMPORARY VIEW another AS SELECT * FROM passing")
    assert rows(cursor, "SELECT x FROM another") == [(1,)]
    rows(cursor, "DROP VIEW another")
    rows(cursor, "DROP VIEW passing")


def test_a_long_write_leaves_turns_for_others_and_an_idle_client_does_not_keep_the_server(tmp_path):
    server = Server(tmp_path)
    with server.connect() as idle, server.connect() as writer, server.connect() as other:
        with writer.cursor() as writing, other.cursor() as asking:
            endless = "CREATE TABLE endless AS SELECT value FROM range(0, 1000000000000)"
            thread = threading.Thread(target=lambda: pytest.raises(adbc_driver_manager.Error, rows, writing, endless))
            thread.start()
            running = "SELECT id FROM system.queries WHERE statement LIKE 'CREATE TABLE endless%' AND state = 'running'"
            assert_soon(lambda: rows(asking, running), lambda: "it does not run")
            begun = time.monotonic()
            for _ in range(20):
                assert rows(asking, "SELECT 1") == [(1,)]
            [(query,)] = rows(asking, running)
            rows(asking, f"CANCEL QUERY '{query}'")
            thread.join()
            assert time.monotonic() - begun < 10
        assert rows(idle.cursor(), "SELECT 1") == [(1,)]
        assert server.stop() == 0
