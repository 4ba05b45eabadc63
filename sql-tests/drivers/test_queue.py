"""The queue: who runs, who waits and for what, and who goes first."""

import contextlib
import subprocess
import sys
import threading
import time
import uuid

import adbc_driver_manager
import pytest

from lake import assert_soon, rows
from servers import BINARY
from surroundings import clean_environment
from users import EXHAUSTED, PASSWORD, altered, as_user, refusal, server_with_users

LARGE = "SELECT count(*) FROM range(0, 900000000000) WHERE sin(value) > 2"
SMALL_AND_LONG = "SELECT count(*) FROM range(0, 3000000) a, range(0, 3000000) b WHERE sin(a.value * b.value) > 2"
QUICK = "SELECT sum(value) FROM range(0, 1000)"
QUICK_ANSWER = [(499_500,)]

SECONDS_MAX = 30


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    yield from server_with_users(tmp_path_factory.mktemp("shared"))


def seen(cursor, mark):
    """What the system says of the statement that ends with this comment."""
    columns = "state, queue_place, queue_reason, queued"
    return rows(cursor, f"SELECT {columns} FROM system.queries WHERE statement LIKE '%-- {mark}'")


def wait_until(cursor, mark, state):
    assert_soon(lambda: [found[0] for found in seen(cursor, mark)] == [state], lambda: seen(cursor, mark))


class Asked(threading.Thread):
    """A statement that a user asks on a connection and a thread of its own."""

    def __init__(self, server, user, statement, **settings):
        super().__init__(daemon=True)
        self.mark = uuid.uuid4().hex
        self.server, self.user, self.statement, self.settings = server, user, f"{statement} -- {self.mark}", settings
        self.cursor, self.outcome = None, None
        self.start()

    def run(self):
        with as_user(self.server, self.user) as self.cursor:
            for setting, value in self.settings.items():
                rows(self.cursor, f"SET grappe.{setting} = '{value}'")
            try:
                self.outcome = rows(self.cursor, self.statement)
            except adbc_driver_manager.Error as error:
                self.outcome = error

    def result(self):
        self.join(SECONDS_MAX)
        assert not self.is_alive(), f"{self.statement} does not end"
        return self.outcome

    def cancel(self):
        with as_user(self.server, self.user) as cursor:
            for (query,) in rows(cursor, f"SELECT id FROM system.queries WHERE statement LIKE '%-- {self.mark}'"):
                rows(cursor, f"CANCEL QUERY '{query}'")
        return self.result()

    def leave(self):
        """As a client that goes away."""
        self.cursor.adbc_cancel()
        return self.result()


class Queue:
    """The statements of one test."""

    def __init__(self, server, root):
        self.server, self.root, self.asked = server, root, []

    def ask(self, state, user, statement=LARGE, **settings):
        """Asks, and waits until the statement runs, or is in the queue."""
        self.asked.append(Asked(self.server, user, statement, **settings))
        self.wait(self.asked[-1], state)
        return self.asked[-1]

    def wait(self, asked, state):
        wait_until(self.root, asked.mark, state)

    def states(self, *asked):
        return [seen(self.root, one.mark)[0][0] for one in asked]

    def places(self, *asked):
        return [seen(self.root, one.mark)[0][1] for one in asked]

    def reason(self, asked):
        return seen(self.root, asked.mark)[0][2]


@contextlib.contextmanager
def queue(server, scope="SYSTEM", **limits):
    """A queue with these limits, empty in the end."""
    with altered(server, scope, **limits) as root:
        queue = Queue(server, root)
        try:
            yield queue
        finally:
            rows(root, f"ALTER {scope} RESET ALL")
            for asked in queue.asked:
                asked.cancel()


def test_who_waits_is_told_why_and_gets_in_when_there_is_room(shared):
    with queue(shared, queries_running_max=1) as waiting:
        first = waiting.ask("running", "ana")
        second = waiting.ask("queued", "ana", QUICK, query_queue_seconds_max="1min")
        third = waiting.ask("queued", "eve")
        assert waiting.reason(second) == "1 statements run (grappe.queries_running_max = 1)"
        assert sorted(waiting.places(second, third)) == [1, 2]
        with as_user(shared, "bob") as bob:
            # What reads no tables, or those of the system, waits for nobody.
            assert rows(bob, "SELECT 1") == [(1,)]
            assert rows(bob, "SELECT count(*) FROM information_schema.tables")
            assert rows(bob, "SELECT count(*) FROM system.queries WHERE state = 'queued'") == [(2,)]
        first.cancel()
        assert second.result() == QUICK_ANSWER
        waiting.wait(third, "running")
        [(state, place, reason, queued)] = seen(waiting.root, second.mark)
        assert (state, place, reason) == ("finished", None, None) and queued > 0


def test_who_writes_waits_too_and_writes_nothing_before(shared):
    with queue(shared, queries_running_max=1) as waiting, as_user(shared, "ana") as ana:
        first = waiting.ask("running", "ana")
        writer = waiting.ask("queued", "ana", "CREATE TABLE written AS SELECT value FROM range(0, 2)")
        assert "written" in refusal(ana, "SELECT * FROM written")
        first.cancel()
        writer.result()
        assert rows(ana, "SELECT count(*) FROM written") == [(2,)]
        rows(ana, "DROP TABLE written")


def test_a_full_queue_refuses_at_once(shared):
    with queue(shared, queries_running_max=1, queries_queued_max=1) as waiting, as_user(shared, "eve") as eve:
        waiting.ask("running", "ana")
        second = waiting.ask("queued", "ana")
        says = refusal(eve, QUICK)
        assert EXHAUSTED in says and "grappe.queries_queued_max" in says, says
        assert rows(eve, "SELECT 1") == [(1,)]
        assert waiting.states(second) == ["queued"]


def test_waiting_has_an_end(shared):
    with queue(shared, queries_running_max=1) as waiting, as_user(shared, "eve") as eve:
        waiting.ask("running", "ana")
        rows(eve, "SET grappe.query_queue_seconds_max = 1")
        says = refusal(eve, QUICK)
        assert EXHAUSTED in says and "grappe.query_queue_seconds_max = 1: 1 statements run" in says, says


def test_a_limit_that_is_raised_lets_in_who_waits(shared):
    with queue(shared, queries_running_max=1) as waiting:
        waiting.ask("running", "ana")
        late = waiting.ask("queued", "ana", QUICK)
        rows(waiting.root, "ALTER SYSTEM SET grappe.queries_running_max = 2")
        assert late.result() == QUICK_ANSWER


def test_small_statements_pass_large_ones_that_wait(shared):
    with queue(shared, large_queries_running_max=1) as waiting, as_user(shared, "ana") as ana:
        waiting.ask("running", "ana")
        large = waiting.ask("queued", "ana"), waiting.ask("queued", "bob")
        assert "grappe.large_queries_running_max = 1" in waiting.reason(large[0])
        assert rows(ana, QUICK) == QUICK_ANSWER
        assert waiting.states(*large) == ["queued", "queued"]


def test_small_statements_are_before_large_ones_in_the_queue(shared):
    with queue(shared, queries_running_max=1) as waiting:
        waiting.ask("running", "eve")
        large, small = waiting.ask("queued", "ana"), waiting.ask("queued", "ana", QUICK)
        assert waiting.places(small, large) == [1, 2]


def test_what_runs_for_long_is_large(shared):
    with queue(shared, large_queries_running_max=1) as waiting:
        waiting.ask("running", "ana", SMALL_AND_LONG)
        # Time is what is tested: nothing announces that five seconds have passed.
        time.sleep(6)
        large = waiting.ask("queued", "ana")
        assert "1 large statements run" in waiting.reason(large)


@pytest.mark.parametrize(
    "scope, limit, says, other, stranger",
    [
        ("USER ana", "user_queries_running_max", "1 statements of user ana run", "ana", "bob"),
        ("GROUP etl", "group_queries_running_max", "1 statements of group etl run", "bob", "eve"),
    ],
)
def test_users_and_groups_wait_for_themselves(shared, scope, limit, says, other, stranger):
    with queue(shared, scope, **{limit: 1}) as waiting:
        first = waiting.ask("running", "ana")
        second = waiting.ask("queued", other, QUICK)
        assert waiting.reason(second) == f"{says} (grappe.{limit} = 1)"
        waiting.ask("running", stranger)
        first.cancel()
        assert second.result() == QUICK_ANSWER


def test_who_has_less_goes_first(shared):
    with queue(shared, queries_running_max=2) as waiting:
        first, _ = waiting.ask("running", "ana"), waiting.ask("running", "ana")
        normal = waiting.ask("queued", "ana")
        high = waiting.ask("queued", "ana", priority="high")
        other = waiting.ask("queued", "bob")
        assert waiting.places(other, high, normal) == [1, 2, 3]
        first.cancel()
        waiting.wait(other, "running")
        assert waiting.states(high, normal) == ["queued", "queued"]


@pytest.mark.parametrize("how", [Asked.cancel, Asked.leave])
def test_who_is_cancelled_or_goes_away_leaves_the_queue(shared, how):
    with queue(shared, queries_running_max=1, queries_queued_max=1) as waiting:
        first, second = waiting.ask("running", "ana"), waiting.ask("queued", "ana")
        assert isinstance(how(second), adbc_driver_manager.Error)
        waiting.wait(second, "cancelled")
        third = waiting.ask("queued", "ana", QUICK)
        first.cancel()
        assert third.result() == QUICK_ANSWER


# Who polls has 15 seconds between two polls.
@pytest.mark.parametrize("client", ["adbc", "shell", "psycopg"])
def test_clients_that_are_killed_leave_the_queue(shared, client):
    query = f"SELECT sum(value) AS {client} FROM range(0, 1000)"
    state = f"SELECT state FROM system.queries WHERE statement = '{query}'"
    adbc = "import sys, adbc_driver_flightsql.dbapi as f; c = f.connect(*sys.argv[1:2], db_kwargs={'username': 'ana', "
    adbc += f"'password': '{PASSWORD}'}}, autocommit=True).cursor(); c.execute(sys.argv[2])"
    postgres = f"import psycopg; psycopg.connect('{shared.postgres}', user='ana', password='{PASSWORD}')"
    command = {
        "adbc": [sys.executable, "-c", adbc, shared.flight, query],
        "shell": [BINARY, "--connect", shared.flight, "--user", "ana", "-c", query],
        "psycopg": [sys.executable, "-c", f"{postgres}.execute('{query}')"],
    }[client]
    with queue(shared, queries_running_max=1) as waiting:
        waiting.ask("running", "ana")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, env=clean_environment(GRAPPE_PASSWORD=PASSWORD))
        assert_soon(lambda: rows(waiting.root, state) == [("queued",)], lambda: rows(waiting.root, state))
        process.kill()
        process.communicate()
        assert_soon(lambda: rows(waiting.root, state) == [("cancelled",)], lambda: rows(waiting.root, state), 25)


def test_a_result_that_nobody_reads_keeps_nobody_waiting(shared):
    with queue(shared, queries_running_max=1), as_user(shared, "ana") as slow, as_user(shared, "bob") as bob:
        slow.execute("SELECT value, repeat('x', 1000) FROM range(0, 300000)")
        reader = slow.fetch_record_batch()
        read = reader.read_next_batch().num_rows
        rows(bob, f"SET grappe.query_queue_seconds_max = {SECONDS_MAX}")
        assert rows(bob, QUICK) == QUICK_ANSWER
        assert read < 300_000 == read + sum(batch.num_rows for batch in reader)
