"""Data larger than memory, statements that want too much of it, and many of both at once: real processes."""

import contextlib
import json
import os
import pathlib
import re
import statistics
import subprocess
import threading
import time

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import numpy
import pytest

from lake import assert_soon, files_below, rows
from processes import MB, caged, forget_peak, peak_bytes, resident_bytes
from servers import BINARY, Server
from surroundings import clean_environment

MEMORY = 256 * MB
# What a process needs besides what it counts.
ROOM = 512 * MB
SMALL = 20
HOGS = SMALL_CLIENTS = 8
SLOW_CLIENTS = 50
# All of the same numbers: how many, and their sum.
SMALL_STATEMENTS = [
    "SELECT count(*), sum(value) FROM range({start}, {end})",
    "SELECT count(*), sum(a.value) FROM range({start}, {end}) a JOIN range({start}, {end}) b ON a.value = b.value",
    "SELECT sum(c), sum(s) FROM (SELECT count(*) AS c, sum(value) AS s FROM range({start}, {end}) GROUP BY value % 10)",
]
MERGED = "its hash joins did not fit in memory: it runs again with merge joins"


def wide(start, end):
    """Rows of 160 bytes: k from `start` on, and p, which sorts as k does."""
    return f"(SELECT value AS k, lpad(CAST(value AS VARCHAR), 150, '.') AS p FROM range({start}, {end}))"


def total(start, end):
    return (start + end - 1) * (end - start) // 2


def larger_than_memory(n):
    """Statements over n rows and their right answers. The half of a join's rows have a partner."""
    half, both = n // 2, n + n // 2
    left, right = wide(0, n), wide(n // 2, both)
    return {
        "aggregation": (
            f"SELECT count(*), sum(c), sum(s) FROM (SELECT p, count(*) AS c, sum(k) AS s FROM {left} GROUP BY p)",
            (n, n, total(0, n)),
        ),
        "distinct": (f"SELECT count(*), max(p) FROM (SELECT DISTINCT p FROM {left})", (n, str(n - 1).rjust(150, "."))),
        "count distinct": (f"SELECT count(DISTINCT p) FROM {left}", (n,)),
        "window": (
            "SELECT count(*), sum(number * (k % 7)), max(p) FROM"
            f" (SELECT k, p, row_number() OVER (PARTITION BY k % 1000 ORDER BY p) AS number FROM {left})",
            (n, sum((k // 1000 + 1) * (k % 7) for k in range(n)), str(n - 1).rjust(150, ".")),
        ),
        "hash join": (
            f"SELECT count(*), sum(l.k), sum(length(l.p || r.p)) FROM {left} l JOIN {right} r ON l.k = r.k",
            (n - half, total(half, n), (n - half) * 300),
        ),
        "full join": (
            "SELECT count(*), sum(l.k), sum(r.k), count(l.p), count(r.p)"
            f" FROM {left} l FULL JOIN {right} r ON l.p = r.p",
            (both, total(0, n), total(half, both), n, n),
        ),
        "anti join": (
            f"SELECT count(*), sum(l.k) FROM {left} l WHERE NOT EXISTS (SELECT 1 FROM {right} r WHERE r.p = l.p)",
            (half, total(0, half)),
        ),
    }


LARGE = larger_than_memory(3_000_000)
SORTED = 4_000_000
SORT = f"SELECT k * 7919 % {SORTED} AS key, p FROM {wide(0, SORTED)} ORDER BY key"

# What can neither spill nor do without memory: the statement, and the operator that says so.
IMPOSSIBLE = {
    "array_agg": ("SELECT array_length(array_agg(value)) FROM range(0, 50000000)", "AggregateStream"),
    "cross join": (
        f"SELECT count(*), max(l.p || r.p) FROM {wide(0, 3_000_000)} l CROSS JOIN {wide(0, 3_000_000)} r",
        "CrossJoinExec",
    ),
    "top": (f"SELECT max(p) FROM (SELECT p FROM {wide(0, 4_000_000)} ORDER BY p LIMIT 3000000)", "TopK"),
}


class Place:
    """Where statements run: a server, or a cluster of two executors; each process with little memory."""

    def __init__(self, flight, pids, folder, mode):
        self.flight, self.pids, self.folder, self.mode = flight, pids, folder, mode

    @contextlib.contextmanager
    def cursor(self, **settings):
        with flightsql.connect(self.flight, autocommit=True) as connection, connection.cursor() as cursor:
            for name, value in {"execution_mode": self.mode, **settings}.items():
                rows(cursor, f"SET grappe.{name} = '{value}'")
            yield cursor

    def ask(self, sql, **settings):
        with self.cursor(**settings) as cursor:
            return rows(cursor, sql)

    def setbacks(self, sql):
        with self.cursor(execution_mode="local") as cursor:
            text = sql.replace("'", "''")
            sql = f"SELECT setbacks FROM system.queries WHERE statement = '{text}' ORDER BY started DESC"
            return rows(cursor, sql)[0][0] or ""

    def spilled(self):
        """Paths of files that operators have on disk."""
        return [path for path in files_below(self.folder) if path.parent.name.startswith("datafusion-")]

    @contextlib.contextmanager
    def within_memory(self):
        """Fails if a process takes more than it may; afterwards nothing that was spilled is left."""
        for pid in self.pids:
            forget_peak(pid)
        yield
        peaks = [peak_bytes(pid) // MB for pid in self.pids]
        assert max(peaks) <= (MEMORY + ROOM) // MB, f"peaks of {peaks} MB"
        assert_soon(lambda: not self.spilled(), self.spilled)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory")
    server = Server(folder, "--memory", str(MEMORY))
    with caged(server.process.pid, MEMORY + ROOM):
        try:
            yield Place(server.flight, [server.process.pid], folder, "local")
            resident = resident_bytes(server.process.pid)
            assert server.stop() == 0
        finally:
            server.process.kill()
            server.process.wait(10)
    assert resident < MEMORY + ROOM
    assert not list((folder / "spill").iterdir())


@pytest.fixture(scope="module")
def staged(tmp_path_factory):
    folder = tmp_path_factory.mktemp("staged")
    command = [BINARY, "cluster", "run", "--executors", "2", "--vcores", "1", "--memory", str(3 * MEMORY)]
    command += ["--flight-port", "0", "--cluster-port", "0", "--http-port", "0"]
    command += ["--data-dir", str(folder / "data"), "--no-restart"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=clean_environment(TMPDIR=str(folder)),
    )
    found = json.loads(process.stdout.readline())
    pids = [found["coordinator"]["pid"], *(executor["pid"] for executor in found["executors"])]
    yield Place(found["flight"], pids, folder, "staged")
    process.terminate()
    assert process.wait(90) == 0


@pytest.fixture(params=["local", "staged"])
def place(request):
    return request.getfixturevalue(request.param)


class Spill(threading.Thread):
    """Looks for spilled files until one is there."""

    def __init__(self, place):
        super().__init__(daemon=True)
        self.place, self.seen, self.over = place, False, False

    def run(self):
        while not self.seen and not self.over:
            self.seen = bool(self.place.spilled())
            time.sleep(0.02)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over = True
        self.join()


@pytest.mark.parametrize("kind", LARGE)
def test_what_is_larger_than_memory_is_right(place, kind):
    sql, answer = LARGE[kind]
    with place.within_memory(), Spill(place) as spill:
        assert place.ask(sql) == [answer]
    # Between stages everything goes to disk; what is left for one task may fit.
    if place.mode == "local":
        assert spill.seen
        assert ("join" in kind) == (place.setbacks(sql) == MERGED)


def test_parts_that_spill_at_the_same_time_do_not_wait_for_each_other(local):
    files = local.folder / "texts"
    texts = (
        "SELECT value AS id, repeat('é', CAST(value % 30 AS INT)) AS text, 'store ' || (value % 37) AS store,"
        " to_timestamp_seconds(1704067200 + value % 100000 * 60) AS at"
    )
    distinct = "SELECT count(*) FROM (SELECT DISTINCT id, text, at, store FROM texts)"
    with local.within_memory(), local.cursor(query_memory_bytes_max="12MB", query_runtime_seconds_max="30") as cursor:
        for part in range(3):
            rows(cursor, f"COPY ({texts} FROM range(0, 600000) WHERE value % 3 = {part}) TO '{files}/{part}.parquet'")
        rows(cursor, f"CREATE EXTERNAL TABLE texts STORED AS PARQUET LOCATION '{files}/'")
        assert rows(cursor, distinct) == [(600_000,)]
        rows(cursor, "SET grappe.query_memory_bytes_max = '3MB'")
        for _ in range(10):
            with pytest.raises(adbc_driver_manager.Error, match="query_memory_bytes_max.*ResourceExhausted"):
                rows(cursor, distinct)


def test_a_sort_of_more_than_memory_is_in_order(place):
    at = 0
    with place.within_memory(), Spill(place) as spill, place.cursor() as cursor:
        cursor.execute(SORT)
        for batch in cursor.fetch_record_batch():
            keys = batch.column(0).to_numpy()
            assert numpy.array_equal(keys, numpy.arange(at, at + len(keys)))
            at += len(keys)
    assert at == SORTED and spill.seen


@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_what_cannot_spill_says_what_took_the_memory_and_others_do_not_notice(place, kind):
    sql, operator = IMPOSSIBLE[kind]
    with place.within_memory(), SmallClient(place, 0, 6) as other:
        with pytest.raises(adbc_driver_manager.Error) as refused:
            place.ask(sql)
    assert other.wrong == []
    message = str(refused.value)
    stage = r"stage \d: " if place.mode == "staged" else ""
    needs = rf"{stage}{operator}\S* needs [\d.]+ [KM]iB more memory, .* --memory 244.1 MiB .*; raise --memory, "
    assert re.search(needs, message, re.IGNORECASE) and "(ResourceExhausted;" in message, message


class SmallClient(threading.Thread):
    """A connection that runs small statements, each with an answer of its own; what was wrong, and times."""

    def __init__(self, place, first, count=SMALL):
        super().__init__(daemon=True)
        self.place, self.numbers, self.wrong, self.seconds = place, range(first, first + count), [], []

    def run(self):
        try:
            with self.place.cursor() as cursor:
                for number in self.numbers:
                    started = time.monotonic()
                    found = rows(cursor, SMALL_STATEMENTS[number % 3].format(start=number, end=number + 1000))
                    self.seconds.append(time.monotonic() - started)
                    if found != [(1000, total(number, number + 1000))]:
                        self.wrong.append(f"{number}: {found}")
        except adbc_driver_manager.Error as error:
            self.wrong.append(str(error))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.join(60)
        if self.is_alive():
            self.wrong.append("it hangs")


class Hog(threading.Thread):
    """A connection that runs one large statement."""

    def __init__(self, place, statement):
        super().__init__(daemon=True)
        self.place, self.statement, self.wrong = place, statement, "it hangs"

    def run(self):
        sql, answer = self.statement
        try:
            found = self.place.ask(sql)
            self.wrong = None if found == [answer] else str(found)
        except adbc_driver_manager.Error as error:
            self.wrong = None if "(ResourceExhausted;" in str(error) else str(error)


def test_small_statements_end_beside_hogs(local):
    statements = list(larger_than_memory(2_000_000).values())
    hogs = [Hog(local, statements[number % len(statements)]) for number in range(HOGS)]
    with local.within_memory():
        for hog in hogs:
            hog.start()
        clients = [SmallClient(local, 100 * number) for number in range(SMALL_CLIENTS)]
        with contextlib.ExitStack() as stack:
            for client in clients:
                stack.enter_context(client)
        assert any(hog.is_alive() for hog in hogs), "the hogs ended too soon to be in the way"
        for hog in hogs:
            hog.join(120)
    assert [client.wrong for client in clients] == [[]] * SMALL_CLIENTS
    assert [hog.wrong for hog in hogs] == [None] * HOGS


def test_a_limit_of_memory_holds_for_its_session_alone(place):
    statement = "SELECT array_length(array_agg(value)) FROM range(0, {})".format
    with place.within_memory(), place.cursor(query_memory_bytes_max="50MB") as cursor:
        assert rows(cursor, statement(1_500_000)) == [(1_500_000,)]
        # What can spill does.
        assert rows(cursor, LARGE["distinct"][0]) == [LARGE["distinct"][1]]
        with pytest.raises(adbc_driver_manager.Error, match=r"query_memory_bytes_max = 47.7 MiB.*ResourceExhausted"):
            rows(cursor, statement(8_000_000))
        assert place.ask(statement(8_000_000)) == [(8_000_000,)]


def test_a_limit_of_disk_is_named(place):
    sql, answer = LARGE["window"]
    assert place.ask(sql, query_spill_bytes_max="2GB") == [answer]
    with pytest.raises(adbc_driver_manager.Error, match="query_spill_bytes_max.*ResourceExhausted"):
        place.ask(sql, query_spill_bytes_max="50MB")
    assert_soon(lambda: not place.spilled(), place.spilled)


class SlowClient(threading.Thread):
    """A connection that reads a batch of a large result now and then."""

    def __init__(self, place, stop, pause_seconds=1):
        super().__init__(daemon=True)
        self.place, self.stop, self.pause_seconds, self.batches, self.error = place, stop, pause_seconds, 0, None

    def run(self):
        try:
            with self.place.cursor() as cursor:
                cursor.execute("SELECT value, lpad(CAST(value AS VARCHAR), 100, '.') FROM range(0, 100000000)")
                for _ in cursor.fetch_record_batch():
                    self.batches += 1
                    if self.stop.wait(self.pause_seconds):
                        return
        except adbc_driver_manager.Error as error:
            self.error = str(error)


def median_seconds(place, first):
    with SmallClient(place, first, 50) as client:
        pass
    assert client.wrong == []
    return statistics.median(client.seconds)


@contextlib.contextmanager
def reading(place, count, pause_seconds):
    """So many slow clients, all of which have begun to read; they must not fail."""
    stop = threading.Event()
    clients = [SlowClient(place, stop, pause_seconds) for _ in range(count)]
    for client in clients:
        client.start()
    try:
        assert_soon(lambda: all(client.batches for client in clients), lambda: [client.error for client in clients])
        yield
    finally:
        stop.set()
        for client in clients:
            client.join(30)
    assert [client.error for client in clients if client.error or client.is_alive()] == []


def test_slow_clients_cost_others_little(local):
    alone = median_seconds(local, 0)
    local.ask(f"ALTER SYSTEM SET grappe.large_queries_running_max = {SLOW_CLIENTS}")
    with local.within_memory(), reading(local, SLOW_CLIENTS, 1):
        beside = median_seconds(local, 1000)
    local.ask("ALTER SYSTEM RESET grappe.large_queries_running_max")
    assert beside <= 5 * alone, f"{beside * 1000:.1f} ms, alone {alone * 1000:.1f} ms"


def test_slow_clients_do_not_keep_large_statements_waiting(local):
    sql = "SELECT count(*), sum(value % 10) FROM range(0, 20000000)"
    with reading(local, 8, 0.5):
        assert local.ask(sql, query_queue_seconds_max=5) == [(20_000_000, 90_000_000)]


def test_a_window_over_everything_does_not_take_more_than_there_is(tmp_path):
    server = Server(tmp_path, "--memory", str(MEMORY))
    place = Place(server.flight, [server.process.pid], tmp_path, "local")
    try:
        with place.within_memory(), contextlib.suppress(adbc_driver_manager.Error):
            place.ask(f"SELECT max(p), max(s) FROM (SELECT p, sum(k) OVER () AS s FROM {wide(0, 4_000_000)})")
    finally:
        server.stop()


def test_a_process_keeps_memory_as_its_environment_says(server, tmp_path):
    """It says so itself if nobody has, and is the same process under the same name."""
    started = pathlib.Path("/proc") / str(server.process.pid)
    assert (started / "comm").read_text().strip() == pathlib.Path(BINARY).name[:15]
    assert (started / "cmdline").read_bytes().split(b"\0")[:2] == [os.fsencode(BINARY), b"server"]
    assert tunables(started)["glibc.malloc.hugetlb"] == "1"
    asked = clean_environment(GLIBC_TUNABLES="glibc.malloc.arena_max=3", HOME=str(tmp_path))
    command = [BINARY, "server", "--flight-port", "0", "--http-port", "0", "--data-dir", ":memory:"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=asked) as process:
        assert process.stdout.readline()
        assert tunables(pathlib.Path("/proc") / str(process.pid)) == {"glibc.malloc.arena_max": "3"}
        process.terminate()


def tunables(process):
    """What the environment of a process says to glibc."""
    environment = dict(line.split(b"=", 1) for line in (process / "environ").read_bytes().split(b"\0") if line)
    return dict(word.split("=") for word in environment[b"GLIBC_TUNABLES"].decode().split(":"))
