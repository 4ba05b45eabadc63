"""Writers that are killed: every statement is done or not done, and the next process goes on from there."""

import os
import random
import threading
import time

import adbc_driver_manager
import pytest

from lake import ask, assert_soon, data_files, directory, files_below, is_retryable, named_files, rows
from servers import Server

# Python complains about connections that cannot say goodbye.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

KILLS = int(os.environ.get("GRAPPE_KILLS", "12"))
ROWS = 20_000
SECONDS_UNTIL_KILLED_MAX = 0.8


class Writer(threading.Thread):
    """Writes until the server is gone: what was done, and what was being done when it went."""

    def __init__(self, server, seed):
        super().__init__(daemon=True)
        self.server, self.random, self.begun = server, random.Random(seed), threading.Event()
        self.done, self.doing = [], None

    def run(self):
        try:
            with self.server.connect() as connection, connection.cursor() as cursor:
                self.begun.set()
                for number in range(1_000_000):
                    self.doing = (self.random.choice(["insert", "create", "update"]), number)
                    rows(cursor, self.sql(*self.doing))
                    self.done.append(self.doing)
        except (adbc_driver_manager.Error, RuntimeError):
            # Even closing fails when nobody is there.
            self.begun.set()

    def sql(self, kind, number):
        if kind == "insert":
            return f"INSERT INTO grown SELECT value, {number}, value % 3 FROM range(0, {ROWS})"
        if kind == "create":
            return f"CREATE TABLE made_{number} AS SELECT value AS n FROM range(0, {ROWS})"
        return "UPDATE counted SET n = n + 1"

    def allowed(self, kind):
        """What may be there: with, and without, what was being done."""
        done = {number for k, number in self.done if k == kind}
        return [done, done | {self.doing[1]}] if self.doing and self.doing[0] == kind else [done]


def prepare(server):
    ask(server, "CREATE TABLE grown (n BIGINT, batch BIGINT, part BIGINT) PARTITIONED BY (part)")
    ask(server, f"CREATE TABLE counted AS SELECT value AS id, 0 AS n FROM range(0, {ROWS})")


@pytest.mark.parametrize("seed", range(KILLS))
def test_after_a_kill_every_statement_is_whole_or_not_at_all(tmp_path, seed):
    server = Server(tmp_path)
    prepare(server)
    writer = Writer(server, seed)
    writer.start()
    writer.begun.wait()
    # The moment is what is tested.
    time.sleep(random.Random(seed).uniform(0, SECONDS_UNTIL_KILLED_MAX))
    server.process.kill()
    server.process.wait(30)
    writer.join()

    again = Server(tmp_path, GRAPPE_SERVER__SWEEP_AFTER_SECONDS="1")
    with again.connect() as connection, connection.cursor() as cursor:
        batches = rows(cursor, "SELECT batch, count(*), count(DISTINCT n) FROM grown GROUP BY batch")
        assert {batch for batch, *_ in batches} in writer.allowed("insert")
        assert all(counts == [ROWS, ROWS] for _, *counts in batches)
        listed = {name for (name,) in rows(cursor, "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")}
        made = {int(name.removeprefix("made_")) for name in listed - {"grown", "counted"}}
        assert made in writer.allowed("create")
        for number in made:
            assert rows(cursor, f"SELECT count(*), sum(n) FROM made_{number}") == [(ROWS, ROWS * (ROWS - 1) // 2)]
        [(n, least, count)] = rows(cursor, "SELECT max(n), min(n), count(DISTINCT id) FROM counted")
        assert n == least and n in map(len, writer.allowed("update")) and count == ROWS
        later_writes(cursor, n)
        # What the killed process had begun goes away, and nothing else does.
        for table in ("grown", "counted"):
            place = directory(cursor, table)
            assert_soon(lambda: data_files(place) == named_files(place), lambda: data_files(place) ^ named_files(place))
        tables = {directory(cursor, table).name for table in listed}
        public = tmp_path / "warehouse" / "public"
        assert_soon(lambda: places_with_files(public) == tables, lambda: places_with_files(public) ^ tables)
    assert again.stop() == 0


def later_writes(cursor, n):
    assert rows(cursor, "UPDATE counted SET n = n + 1 WHERE id = 0") == [(1,)]
    assert rows(cursor, "SELECT max(n) FROM counted") == [(n + 1,)]
    assert rows(cursor, "INSERT INTO grown VALUES (0, -1, 0)") == [(1,)]
    rows(cursor, "CREATE TABLE later AS SELECT 1 AS n")
    rows(cursor, "DROP TABLE later")


def places_with_files(folder):
    return {path.parts[0] for path in files_below(folder)}


def test_a_file_that_was_being_written_goes_away(tmp_path):
    server = Server(tmp_path)
    with server.connect() as connection, connection.cursor() as cursor:
        rows(cursor, "CREATE TABLE long AS SELECT 1 AS n, 'x' AS text")
        place = directory(cursor, "long")
    insert = "INSERT INTO long SELECT value, md5(CAST(value AS VARCHAR)) FROM range(0, 100000000)"
    writer = threading.Thread(target=lambda: pytest.raises((adbc_driver_manager.Error, RuntimeError), ask, server, insert))
    writer.start()
    assert_soon(lambda: len(data_files(place)) > 1, lambda: "nothing is being written")
    server.process.kill()
    server.process.wait(30)
    writer.join()
    assert len(data_files(place)) > 1
    again = Server(tmp_path, GRAPPE_SERVER__SWEEP_AFTER_SECONDS="1")
    assert ask(again, "SELECT * FROM long") == [(1, "x")]
    assert_soon(lambda: data_files(place) == named_files(place), lambda: data_files(place) ^ named_files(place))
    assert again.stop() == 0


LONG = "SELECT value AS n, md5(CAST(value AS VARCHAR)) AS text FROM range(0, 15000000)"


@pytest.mark.parametrize("statement", ["INSERT INTO long", "CREATE OR REPLACE TABLE long AS"])
def test_who_writes_for_longer_than_files_stay_keeps_them(tmp_path, statement):
    server = Server(tmp_path, GRAPPE_SERVER__SWEEP_AFTER_SECONDS="1")
    with server.connect() as connection, connection.cursor() as cursor:
        rows(cursor, "CREATE TABLE long (n BIGINT, text VARCHAR)")
        rows(cursor, f"{statement} {LONG}")
        assert rows(cursor, "SELECT count(*), count(DISTINCT n) FROM long") == [(15_000_000, 15_000_000)]
    assert server.stop() == 0


@pytest.mark.parametrize("statement", ["INSERT INTO long", "CREATE OR REPLACE TABLE long AS"])
def test_who_was_taken_for_dead_does_not_commit(tmp_path, statement):
    # One renews what it writes every few hours, and the other waits for a second only.
    patient, hasty = Server(tmp_path), Server(tmp_path, GRAPPE_SERVER__SWEEP_AFTER_SECONDS="1")
    ask(patient, "CREATE TABLE long AS SELECT 1 AS n, 'x' AS text")
    with pytest.raises(adbc_driver_manager.Error, match="was swept") as raised:
        ask(patient, f"{statement} {LONG}")
    assert is_retryable(raised.value)
    for server in (patient, hasty):
        assert ask(server, "SELECT * FROM long") == [(1, "x")]
    ask(hasty, f"{statement} SELECT 2 AS n, 'y' AS text")
    assert (2, "y") in ask(patient, "SELECT * FROM long")
    assert (patient.stop(), hasty.stop()) == (0, 0)


@pytest.mark.parametrize("rows_before", [0, ROWS])
def test_a_query_that_fails_half_way_leaves_nothing(tmp_path, rows_before):
    server = Server(tmp_path)
    failing = "SELECT value, 1 / (1999999 - value) AS x FROM range(0, 2000000)"
    with server.connect() as connection, connection.cursor() as cursor:
        in_parts = f"PARTITIONED BY (part) AS SELECT *, value % 3 AS part FROM ({failing})"
        for sql in (f"CREATE TABLE half AS {failing}", f"CREATE TABLE half {in_parts}"):
            with pytest.raises(adbc_driver_manager.Error, match="division by zero"):
                rows(cursor, sql)
            with pytest.raises(adbc_driver_manager.Error, match='"half" not found'):
                rows(cursor, "SELECT * FROM half")
        rows(cursor, f"CREATE TABLE whole AS SELECT value, value AS x FROM range(0, {rows_before})")
        place = directory(cursor, "whole")
        for sql in (f"INSERT INTO whole {failing}", f"INSERT OVERWRITE whole {failing}", f"CREATE OR REPLACE TABLE whole AS {failing}"):
            with pytest.raises(adbc_driver_manager.Error, match="division by zero"):
                rows(cursor, sql)
        assert rows(cursor, "SELECT count(*) FROM whole") == [(rows_before,)]
        assert_soon(lambda: data_files(place) == named_files(place), lambda: data_files(place) ^ named_files(place))
        assert_soon(lambda: places_with_files(place.parent) == {place.name}, lambda: places_with_files(place.parent))
    assert server.stop() == 0


def test_a_full_disk_ends_the_write_and_nothing_else(tmp_path):
    # What a file may hold stands for what the disk may hold: the write fails in the middle either way.
    server = Server(tmp_path, file_bytes_max=4 << 20)
    many = "SELECT value AS n, md5(CAST(value AS VARCHAR)) AS text FROM range(0, 2000000)"
    with server.connect() as connection, connection.cursor() as cursor:
        rows(cursor, "CREATE TABLE kept AS SELECT 1 AS n, 'x' AS text")
        place = directory(cursor, "kept")
        for sql in (f"INSERT INTO kept {many}", f"CREATE TABLE more AS {many}", f"COPY ({many}) TO '{tmp_path}/out' STORED AS CSV"):
            with pytest.raises(adbc_driver_manager.Error, match="(?i)too large|no space|disk is full") as raised:
                rows(cursor, sql)
            assert "(ResourceExhausted;" in str(raised.value), str(raised.value)
        assert rows(cursor, "SELECT * FROM kept") == [(1, "x")]
        assert_soon(lambda: data_files(place) == named_files(place), lambda: data_files(place) ^ named_files(place))
        rows(cursor, "INSERT INTO kept VALUES (2, 'y')")
        assert rows(cursor, "SELECT count(*) FROM kept") == [(2,)]
        assert not list(tmp_path.glob("*out*"))
    assert server.stop() == 0
