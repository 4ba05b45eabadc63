"""What goes on when processes die, leave or stand by for each other: real processes, real kills."""

import os
import signal
import socket
import subprocess
import threading
import time

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import pytest

from lake import assert_soon, rows
from postgresql import Postgres
from servers import BINARY
from surroundings import clean_environment, free_ports

LONG = "SELECT count(*), sum(value % 7) FROM range(0, 400000000)"
LONG_ANSWER = [(400_000_000, sum(range(7)) * (400_000_000 // 7) + sum(range(400_000_000 % 7)))]


class Nodes:
    """Processes of a cluster, each of which can be killed and started again by itself."""

    def __init__(self, folder):
        self.folder, self.processes = folder, {}

    def server(self, name, *arguments, **environment):
        flight, cluster = free_ports(2)
        command = ["server", "--flight-port", str(flight), "--cluster-port", str(cluster), "--http-port", "0"]
        command += ["--data-dir", str(self.folder / "data"), *arguments]
        self.start(name, command, environment)
        return flight, cluster

    def executor(self, name, *cluster_ports, vcores=1, **environment):
        coordinator = ",".join(f"127.0.0.1:{port}" for port in cluster_ports)
        command = ["executor", "--coordinator", coordinator, "--name", name, "--vcores", str(vcores)]
        self.start(name, [*command, "--work-dir", str(self.folder / name), "--memory", "1GB"], environment)

    def start(self, name, command, environment):
        errors = (self.folder / f"{name}.log").open("a")
        self.processes[name] = subprocess.Popen(
            [BINARY, *command], stdout=subprocess.PIPE, stderr=errors, text=True,
            env=clean_environment(**environment),
        )

    def ready(self, name):
        assert self.processes[name].stdout.readline(), (self.folder / f"{name}.log").read_text()[-2000:]

    def kill(self, name, how=signal.SIGKILL):
        self.processes[name].send_signal(how)

    def stop(self):
        for process in self.processes.values():
            process.kill()
            process.wait(30)


@pytest.fixture
def nodes(tmp_path):
    nodes = Nodes(tmp_path)
    yield nodes
    nodes.stop()


@pytest.fixture
def three(nodes):
    """A coordinator and three executors: the nodes, and its Flight port."""
    flight, cluster = nodes.server("server", GRAPPE_SERVER__EXECUTOR_WAIT_SECONDS_MAX="3")
    nodes.ready("server")
    for name in ["one", "two", "three"]:
        nodes.executor(name, cluster)
    for name in ["one", "two", "three"]:
        nodes.ready(name)
    return nodes, flight


class Client:
    """A connection of its own thread: a statement, and then its outcome."""

    def __init__(self, flight, statement, mode="staged"):
        self.outcome, self.ended = None, None
        self.thread = threading.Thread(target=self.run, args=(flight, statement, mode))
        self.thread.start()

    def run(self, flight, statement, mode):
        try:
            with flightsql.connect(f"grpc://127.0.0.1:{flight}", autocommit=True) as connection:
                with connection.cursor() as cursor:
                    rows(cursor, f"SET grappe.execution_mode = '{mode}'")
                    self.outcome = rows(cursor, statement)
        except adbc_driver_manager.Error as error:
            # A server that has ended is not there to be told that the connection is closed.
            self.outcome = self.outcome or error
        self.ended = time.monotonic()

    def result(self, seconds_max=90):
        self.thread.join(seconds_max)
        assert not self.thread.is_alive(), f"no answer within {seconds_max} s"
        return self.outcome


def ask(flight, sql):
    with flightsql.connect(f"grpc://127.0.0.1:{flight}", autocommit=True) as connection, connection.cursor() as cursor:
        return rows(cursor, sql)


def executors(flight):
    return dict(ask(flight, "SELECT id, running_tasks FROM system.executors WHERE state = 'active'"))


def wait_until_busy(flight, count=3):
    assert_soon(
        lambda: sum(tasks > 0 for tasks in executors(flight).values()) >= count, lambda: executors(flight), 30
    )


def running(flight, statement=LONG, count=3):
    """A client whose statement all executors work at."""
    client = Client(flight, statement)
    wait_until_busy(flight, count)
    return client


def test_a_dead_executor_is_noticed_at_once_and_only_its_tasks_run_again(three):
    nodes, flight = three
    client = running(flight)
    nodes.kill("two")
    killed = time.monotonic()
    assert_soon(lambda: "two" not in executors(flight), lambda: executors(flight), 5)
    assert time.monotonic() - killed < 2
    assert client.result() == LONG_ANSWER
    [(setbacks, tasks)] = ask(flight, "SELECT setbacks, tasks_done FROM system.queries WHERE statement LIKE '%400000000%' AND state = 'finished' AND statement NOT LIKE '%system%'")
    assert "two" in setbacks and "its tasks run again" in setbacks, setbacks
    assert tasks > 0


def test_every_executor_gets_tasks_after_many_losses(three):
    nodes, flight = three
    cluster = nodes.processes["one"].args[nodes.processes["one"].args.index("--coordinator") + 1].split(":")[1]
    for _ in range(4):
        client = running(flight, "SELECT value % 1000 AS k, count(*) FROM range(0, 300000000) GROUP BY 1 ORDER BY 1 LIMIT 1")
        nodes.kill("one")
        assert client.result() == [(0, 300_000)]
        nodes.executor("one", cluster)
        nodes.ready("one")
    client = running(flight)
    assert client.result() == LONG_ANSWER


def test_without_any_executor_the_error_says_so_and_comes_in_time(three):
    nodes, flight = three
    client = running(flight)
    for name in ["one", "two", "three"]:
        nodes.kill(name)
    killed = time.monotonic()
    error = client.result(30)
    assert isinstance(error, adbc_driver_manager.Error) and "Unavailable" in str(error), error
    assert "no" in str(error) and "executor" in str(error), error
    assert client.ended - killed < 12


def test_an_executor_that_was_stopped_and_wakes_up_is_refused_and_joins_again(three):
    nodes, flight = three
    client = running(flight, "SELECT value % 100 AS k, count(*) FROM range(0, 200000000) GROUP BY 1 ORDER BY 1 LIMIT 2")
    nodes.kill("three", signal.SIGSTOP)
    assert_soon(lambda: "three" not in executors(flight), lambda: executors(flight), 20)
    nodes.kill("three", signal.SIGCONT)
    assert client.result() == [(0, 2_000_000), (1, 2_000_000)]
    assert_soon(lambda: "three" in executors(flight), lambda: executors(flight), 20)


def test_a_result_outlives_the_executors_that_made_it(three):
    nodes, flight = three
    with flightsql.connect(f"grpc://127.0.0.1:{flight}", autocommit=True) as connection, connection.cursor() as cursor:
        rows(cursor, "SET grappe.execution_mode = 'staged'")
        cursor.execute("SELECT value, md5(CAST(value AS VARCHAR)) AS text FROM range(0, 3000000)")
        reader = cursor.fetch_record_batch()
        values = list(reader.read_next_batch().column(0).to_pylist())
        for name in ["one", "two", "three"]:
            nodes.kill(name)
        for batch in reader:
            values.extend(batch.column(0).to_pylist())
    assert sorted(values) == list(range(3_000_000))


@pytest.mark.parametrize("by", ["sql", "command"])
def test_an_executor_that_is_drained_ends_when_nobody_needs_it(three, by):
    nodes, flight = three
    client = running(flight)
    if by == "sql":
        assert ask(flight, "DRAIN EXECUTOR 'two'") == []
    else:
        command = [BINARY, "executor", "drain", "two", "--connect", f"grpc://127.0.0.1:{flight}"]
        subprocess.run(command, check=True, env=clean_environment(), timeout=30, capture_output=True)
    assert ("two",) not in ask(flight, "SELECT id FROM system.executors WHERE state = 'active'")
    assert client.result() == LONG_ANSWER
    assert nodes.processes["two"].wait(60) == 0
    assert ask(flight, "SELECT setbacks FROM system.queries WHERE state = 'finished' AND tasks > 0 AND setbacks IS NOT NULL") == []
    with pytest.raises(adbc_driver_manager.Error, match="no executor is named 'nobody'"):
        ask(flight, "DRAIN EXECUTOR 'nobody'")


def test_an_executor_with_its_share_of_shuffle_files_gets_no_more_tasks(nodes):
    flight, cluster = nodes.server("server")
    nodes.ready("server")
    nodes.executor("small", cluster, GRAPPE_EXECUTOR_SHUFFLE_BYTES_MAX="1MB")
    nodes.ready("small")
    groups = "SELECT count(*) FROM (SELECT value, count(*) FROM range(2000000) GROUP BY value)"
    refused = Client(flight, groups).result()
    assert "the shuffle files have all of executor_shuffle_bytes_max" in str(refused), refused
    nodes.executor("large", cluster)
    nodes.ready("large")
    assert Client(flight, groups).result() == [(2_000_000,)]


def test_an_executor_that_joins_in_the_middle_is_used(nodes):
    flight, cluster = nodes.server("server")
    nodes.ready("server")
    nodes.executor("one", cluster, vcores=2)
    nodes.ready("one")
    client = running(flight, count=1)
    nodes.executor("two", cluster)
    nodes.ready("two")
    assert_soon(lambda: executors(flight).get("two", 0) > 0, lambda: executors(flight), 30)
    assert client.result() == LONG_ANSWER


def test_a_coordinator_that_is_told_to_stop_finishes_what_runs(three):
    nodes, flight = three
    client = running(flight)
    with flightsql.connect(f"grpc://127.0.0.1:{flight}", autocommit=True) as connection, connection.cursor() as cursor:
        rows(cursor, "SELECT 1")
        nodes.kill("server", signal.SIGTERM)

        def is_refused():
            try:
                rows(cursor, "SELECT 1")
            except adbc_driver_manager.Error as error:
                assert "stopping" in str(error) and "navailable" in str(error), error
                return True

        assert_soon(is_refused, lambda: "statements are still taken", 5)
    assert client.result() == LONG_ANSWER
    assert nodes.processes["server"].wait(60) == 0


def test_a_client_of_a_killed_coordinator_gets_a_typed_error_at_once(three):
    nodes, flight = three
    client = running(flight)
    nodes.kill("server")
    killed = time.monotonic()
    error = client.result(10)
    assert isinstance(error, adbc_driver_manager.OperationalError), error
    assert client.ended - killed < 5


def shell(flights, *statements, **options):
    urls = ",".join(f"127.0.0.1:{port}" for port in flights)
    commands = [part for statement in statements for part in ("-c", statement)]
    extra = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return subprocess.Popen(
        [BINARY, "--connect", f"grpc://{urls}", "-A", "-t", "-q", *extra, *commands],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment(),
    )


STAGED = "SET grappe.execution_mode = 'staged'"


@pytest.mark.parametrize("catalog", ["file", "postgres"])
def test_the_coordinator_that_stands_by_takes_over(nodes, catalog):
    postgres = Postgres() if catalog == "postgres" else None
    try:
        take_over(nodes, ["--catalog-url", postgres.url] if postgres else [])
    finally:
        if postgres:
            postgres.remove()


def take_over(nodes, arguments):
    first, cluster = nodes.server("first", "--standby", *arguments)
    nodes.ready("first")
    second, other = nodes.server("second", "--standby", *arguments)
    for name in ["one", "two"]:
        nodes.executor(name, cluster, other)
        nodes.ready(name)
    ask(first, "CREATE TABLE kept AS SELECT value FROM range(0, 1000)")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", second)) != 0, "the one that stands by serves"
    reading = shell([first, second], STAGED, LONG, "SELECT count(*) FROM kept")
    wait_until_busy(first, 2)
    nodes.kill("first")
    killed = time.monotonic()
    nodes.ready("second")
    assert_soon(lambda: len(executors(second)) == 2, lambda: executors(second), 20)
    assert time.monotonic() - killed < 12
    out, errors = reading.communicate(timeout=90)
    (count, total), = LONG_ANSWER
    assert (reading.returncode, out) == (0, f"{count}|{total}\n1000\n"), errors
    # What has been stopped for longer than its lease must not go on.
    nodes.kill("second", signal.SIGSTOP)
    third, _ = nodes.server("third", "--standby", *arguments)
    nodes.ready("third")
    assert ask(third, "SELECT count(*) FROM kept") == [(1000,)]
    nodes.kill("second", signal.SIGCONT)
    assert nodes.processes["second"].wait(30) == 1
    nodes.kill("third", signal.SIGTERM)
    assert nodes.processes["third"].wait(60) == 0


def test_the_shell_repeats_reads_and_nothing_else(nodes):
    flight, cluster = nodes.server("server")
    nodes.ready("server")
    ask(flight, "CREATE TABLE t AS SELECT value AS x FROM range(0, 10)")
    slow = "SELECT count(*) FROM range(0, 3000000000) a WHERE sin(value) > 2"
    running = "SELECT count(*) FROM system.queries WHERE state = 'running' AND statement LIKE '%3000000000%' AND statement NOT LIKE '%system%'"
    for statement, repeated in [(slow, True), (f"INSERT INTO t {slow}", False)]:
        client = shell([flight], statement, retry_seconds_max=60)
        assert_soon(lambda: ask(flight, running) == [(1,)], lambda: ask(flight, running), 20)
        nodes.kill("server")
        nodes.processes["server"].wait(30)
        if repeated:
            command = nodes.processes["server"].args[1:]
            nodes.start("server", command, {})
            nodes.ready("server")
            assert_soon(lambda: ask(flight, running) == [(1,)], lambda: "it was not run again", 30)
            client.send_signal(signal.SIGINT)
            assert "cancel" in client.communicate(timeout=30)[1].lower()
        else:
            out, errors = client.communicate(timeout=10)
            assert client.returncode != 0 and "connection" in errors, errors


def test_settings_outlive_the_coordinator_that_was_told_them(nodes):
    flight, cluster = nodes.server("server")
    nodes.ready("server")
    command = [BINARY, "--connect", f"grpc://127.0.0.1:{flight}", "-q", "-t", "-A", "--retry-seconds-max", "60"]
    shell = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=clean_environment(),
    )

    def answer(statements):
        # A row is shown before its statement has ended; the next word only afterwards.
        shell.stdin.write(f"{statements}\\echo ended\n")
        shell.stdin.flush()
        told = shell.stdout.readline()
        assert shell.stdout.readline() == "ended\n"
        return told

    show = "SHOW grappe.result_rows_max;\n"
    assert answer(f"SET grappe.result_rows_max = 77;\n{show}") == "grappe.result_rows_max|77\n"
    for _ in range(2):
        # Nothing is under way when it dies.
        nodes.kill("server")
        nodes.processes["server"].wait(30)
        nodes.start("server", nodes.processes["server"].args[1:], {})
        nodes.ready("server")
        assert answer(show) == "grappe.result_rows_max|77\n"
    # A statement that writes is not sent before the new session has been told.
    nodes.kill("server")
    nodes.processes["server"].wait(30)
    nodes.start("server", nodes.processes["server"].args[1:], {})
    nodes.ready("server")
    assert answer(f"CREATE TABLE kept AS SELECT 1 AS x;\n{show}") == "grappe.result_rows_max|77\n"
    assert ask(flight, "SELECT x FROM kept") == [(1,)]
    assert shell.communicate(timeout=30) == ("", "")


def test_cpu_stands_still_two_seconds_after_a_cancel(three):
    nodes, flight = three
    client = running(flight, "SELECT count(*) FROM range(0, 100000000000) WHERE sin(value) > 2")
    [(query,)] = ask(flight, "SELECT id FROM system.queries WHERE state = 'running' AND statement LIKE '%100000000000%' AND statement NOT LIKE '%system%'")
    ask(flight, f"CANCEL QUERY '{query}'")
    cancelled = time.monotonic()
    assert_soon(lambda: set(executors(flight).values()) == {0}, lambda: executors(flight), 5)
    assert time.monotonic() - cancelled < 2
    assert isinstance(client.result(10), adbc_driver_manager.Error)
    assert_soon(lambda: not list(nodes.folder.glob("*/shuffle/*")), lambda: list(nodes.folder.glob("*/shuffle/*")), 60)


def test_a_changed_shuffle_file_is_never_read(three):
    nodes, flight = three
    query = "SELECT k, count(*), sum(v) FROM (SELECT value % 50000 AS k, value AS v FROM range(0, 60000000)) GROUP BY k ORDER BY k LIMIT 1"
    client = Client(flight, query)
    done = set()

    def flip():
        for path in nodes.folder.glob("*/shuffle/*/*/*/data*.arrow"):
            if path not in done and path.stat().st_size > 400:
                done.add(path)
                with path.open("r+b") as file:
                    file.seek(path.stat().st_size // 2)
                    byte = file.read(1)
                    file.seek(-1, os.SEEK_CUR)
                    file.write(bytes([byte[0] ^ 4]))
                return True
        return not client.thread.is_alive()

    assert_soon(flip, lambda: "no shuffle file was seen", 30)
    assert done, "the query was too fast"
    assert client.result() == [(0, 1200, sum(range(0, 60_000_000, 50_000)))]
