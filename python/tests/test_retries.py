"""The coordinator is lost: reads are run again when one answers, and nothing else is."""

import threading
import time

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import flight

import grappe
from grappe import statements
from grappe.address import target
from grappe.shared import Shared
from servers import BINARY, PASSWORD, Coordinator, free_ports, until

REFUSED_SECONDS_MAX = 5
# Long enough to be killed in.
SLOW = "SELECT kept.a, n FROM kept, (SELECT count(sin(value)) AS n FROM range(0, 60000000)) ORDER BY a -- slow"
SLOW_ROWS = {"a": [1, 2, 3], "n": [60_000_000] * 3}
KEPT = pa.table({"a": [1, 2, 3]})


@pytest.fixture
def coordinator(tmp_path):
    coordinator = Coordinator(tmp_path / "data")
    with grappe.connect(coordinator.url) as client:
        client.upload(KEPT, "kept")
    yield coordinator
    coordinator.kill()


class Call(threading.Thread):
    """A call on a thread of its own, and what came of it."""

    def __init__(self, function):
        super().__init__(daemon=True)
        self._function = function
        self.value, self.error = None, None
        self.start()

    def run(self):
        try:
            self.value = self._function()
        except BaseException as error:
            self.error = error

    def outcome(self):
        self.join(90)
        assert not self.is_alive(), "the call never returned"
        if self.error is not None:
            raise self.error
        return self.value


def statements_like(url, mark):
    """How often a coordinator has run a statement since it was started."""
    with grappe.connect(url) as other:
        sql = "SELECT count(*) FROM system.queries WHERE statement LIKE $1"
        return list(other.sql(sql, [f"%-- {mark}"]))[0][0]


@pytest.mark.parametrize("method", ["to_arrow", "to_pandas", "to_polars", "__iter__", "to_reader"])
@pytest.mark.parametrize("end", ["kill", "stop"])
def test_a_read_survives_its_coordinator(coordinator, method, end):
    with grappe.connect(coordinator.url) as client:
        result = client.sql(SLOW)
        call = Call(lambda: pd.DataFrame(getattr(result, method)()) if method == "__iter__" else getattr(result, method)())
        until(lambda: result.query_id)
        getattr(coordinator, end)()
        coordinator.start()
        rows = call.outcome()
        if method == "__iter__":
            assert rows.values.tolist() == [[1, 60_000_000], [2, 60_000_000], [3, 60_000_000]]
        else:
            assert pa.table(rows.read_all() if method == "to_reader" else rows).to_pydict() == SLOW_ROWS
        # One that is told to stop may finish first what it has.
        assert statements_like(coordinator.url, "slow") in ([1] if end == "kill" else [0, 1])


def test_a_coordinator_is_waited_for(coordinator, monkeypatch):
    asked = []
    monkeypatch.setattr("grappe.session.first_to_answer", counted(asked))
    with grappe.connect(coordinator.url) as client:
        coordinator.kill()
        call = Call(lambda: list(client.sql("SELECT sum(a) + $1 FROM kept", [10])))
        until(lambda: len(asked) >= 4)
        coordinator.start()
        assert call.outcome() == [(16,)]
        assert client.url == coordinator.url


def counted(asked):
    """`first_to_answer`, and a note of each call."""
    from grappe.coordinators import first_to_answer

    def counting(*arguments):
        asked.append(time.monotonic())
        return first_to_answer(*arguments)

    return counting


@pytest.mark.parametrize("how", ["argument", "url", "options"])
def test_without_retries_the_error_comes_at_once(coordinator, how):
    arguments = {"argument": {"retry_seconds_max": 0}, "options": {"options": grappe.Options(retry_seconds_max=0)}}
    url = f"{coordinator.url}?retry_seconds_max=0" if how == "url" else coordinator.url
    with grappe.connect(url, **arguments.get(how, {})) as client:
        result = client.sql(SLOW)
        call = Call(result.to_arrow)
        until(lambda: result.query_id)
        coordinator.kill()
        start = time.monotonic()
        with pytest.raises(grappe.UnavailableError) as raised:
            call.outcome()
        assert time.monotonic() - start < REFUSED_SECONDS_MAX
        assert "again" not in str(raised.value)
        with pytest.raises(grappe.UnavailableError, match=f"cannot connect to {coordinator.url}"):
            client.sql("SELECT 1").to_arrow()


def test_the_limit_is_kept_and_named(coordinator):
    with grappe.connect(coordinator.url, retry_seconds_max=1.5) as client:
        coordinator.kill()
        start = time.monotonic()
        with pytest.raises(grappe.UnavailableError) as raised:
            client.sql("SELECT a FROM kept").to_arrow()
        assert 1.5 <= time.monotonic() - start < 1.5 + REFUSED_SECONDS_MAX
        # After 0.1, 0.2, 0.4 and 0.8 s.
        expected = rf"cannot connect to {coordinator.url}: .*; it was tried again 4 times in 1\.\d s \(retry_seconds_max\): SELECT a FROM kept"
        assert raised.match(expected)


def test_a_call_that_is_cancelled_waits_no_longer(coordinator, monkeypatch):
    asked = []
    monkeypatch.setattr("grappe.session.first_to_answer", counted(asked))
    with grappe.connect(coordinator.url) as client:
        result = client.sql("SELECT a FROM kept")
        coordinator.kill()
        call = Call(result.to_arrow)
        until(lambda: len(asked) >= 2)
        result.cancel()
        with pytest.raises(grappe.CancelledError):
            call.outcome()


def test_what_writes_is_run_once(coordinator):
    with grappe.connect(coordinator.url) as client:
        insert = "INSERT INTO kept SELECT count(sin(value)) FROM range(0, 60000000) -- once"
        call = Call(lambda: client.sql(insert))
        until(lambda: statements_like(coordinator.url, "once"))
        coordinator.kill()
        start = time.monotonic()
        with pytest.raises(grappe.UnavailableError):
            call.outcome()
        with pytest.raises(grappe.UnavailableError):
            client.sql("INSERT INTO kept VALUES (8)")
        assert time.monotonic() - start < REFUSED_SECONDS_MAX
        coordinator.start()
        assert sorted(client.sql("SELECT a FROM kept")) == [(1,), (2,), (3,)]
        assert statements_like(coordinator.url, "once") == 0
        # The client is as good as new.
        assert client.sql("INSERT INTO kept VALUES (9)").rows_affected == 1
        client.upload(KEPT, "kept", mode="append")
        assert list(client.sql("SELECT count(*), sum(a) FROM kept")) == [(7, 21)]


def test_a_stream_is_begun_again_before_its_first_rows_only(coordinator):
    with grappe.connect(coordinator.url) as client:
        result = client.sql(SLOW)
        call = Call(lambda: next(result.to_batches()).to_pydict())
        until(lambda: result.query_id)
        coordinator.kill()
        coordinator.start()
        assert call.outcome() == SLOW_ROWS
        assert statements_like(coordinator.url, "slow") == 1

        for rows in (client.sql("SELECT value FROM range(0, 1000000000000)").to_batches(),
                     client.sql("SELECT value FROM range(0, 1000000000000)").to_reader()):
            next(rows)
            coordinator.kill()
            coordinator.start()
            with pytest.raises((grappe.UnavailableError, OSError), match="given away before, so the query was not run again"):
                sum(batch.num_rows for batch in rows)
        assert list(client.sql("SELECT count(*) FROM kept")) == [(3,)]


def test_of_several_coordinators_the_first_that_answers_is_taken(coordinator, tmp_path):
    dead, other = free_ports(1)[0], Coordinator(tmp_path / "other")
    with grappe.connect(f"grpc://127.0.0.1:{dead},{coordinator.address},{other.address}") as client:
        assert client.url == coordinator.url
        assert list(client.sql("SELECT sum(a) FROM kept")) == [(6,)]
        with grappe.connect(other.url) as made:
            made.upload(KEPT, "kept")
        result = client.sql(SLOW)
        call = Call(result.to_arrow)
        until(lambda: result.query_id)
        coordinator.kill()
        assert call.outcome().to_pydict() == SLOW_ROWS
        assert client.url == other.url and other.url in repr(client)
        assert statements_like(other.url, "slow") == 1
        with client.another() as another:
            assert another.url == other.url
        # And back.
        coordinator.start()
        other.kill()
        assert list(client.sql("SELECT sum(a) FROM kept")) == [(6,)]
        assert client.url == coordinator.url


def test_that_none_of_them_answers_is_said_of_each():
    one, two = free_ports(2)
    with pytest.raises(grappe.UnavailableError, match=f"none of the coordinators answers: .*:{one}: .*:{two}: "):
        grappe.connect(f"grpc://127.0.0.1:{one},127.0.0.1:{two}")


class Standby(flight.FlightServerBase):
    """A coordinator that only stands by."""

    def __init__(self):
        super().__init__("grpc://127.0.0.1:0")
        self.address = f"127.0.0.1:{self.port}"

    def _refuse(self, *_):
        raise flight.FlightUnavailableError("this coordinator is a standby: 127.0.0.1:1 is active")

    get_flight_info = get_schema = do_get = do_put = do_action = list_flights = _refuse


def test_a_standby_is_left_for_the_next(coordinator):
    with Standby() as standby:
        with grappe.connect(f"grpc://{standby.address},{coordinator.address}") as client:
            assert client.url == coordinator.url
            coordinator.kill()
            call = Call(lambda: list(client.sql("SELECT sum(a) FROM kept")))
            coordinator.start()
            assert call.outcome() == [(6,)]
        with pytest.raises(grappe.UnavailableError, match="is a standby: 127.0.0.1:1 is active") as raised:
            grappe.connect(f"grpc://{standby.address}")
        assert "listening" not in str(raised.value)


def test_a_standby_takes_over(tmp_path):
    serving = Coordinator(tmp_path / "data", "--standby")
    standby = Coordinator(tmp_path / "data", "--standby", stands_by=True)
    with grappe.connect(f"grpc://{standby.address},{serving.address}") as client:
        assert client.url == serving.url
        client.upload(KEPT, "kept")
        client.sql("SET grappe.file_bytes_target = 1048576")
        result = client.sql(SLOW)
        call = Call(result.to_arrow)
        until(lambda: result.query_id)
        serving.kill()
        assert call.outcome().to_pydict() == SLOW_ROWS
        assert client.url == standby.url
        assert list(client.sql("SHOW grappe.file_bytes_target"))[0][1] == "1048576"
        assert client.sql("INSERT INTO kept VALUES (4)").rows_affected == 1
    standby.kill()


@pytest.mark.parametrize("when", ["between statements", "in a query"])
def test_settings_hold_in_the_next_session(coordinator, when):
    with grappe.connect(coordinator.url) as client:
        client.sql("CREATE SCHEMA s")
        client.sql("CREATE TABLE s.there AS SELECT 7 AS v")
        client.sql("/* where */ SET search_path = 'public';")
        client.sql("SET grappe.execution_mode = 'local'")
        client.sql("RESET grappe.execution_mode")
        client.sql("SET grappe.file_bytes_target TO 1048576 -- small")
        client.sql("SET datafusion.catalog.default_schema = 's'")
        if when == "between statements":
            coordinator.kill()
            coordinator.start()
        else:
            result = client.sql(SLOW.replace("kept", "public.kept").replace("public.kept.a", "kept.a"))
            call = Call(result.to_arrow)
            until(lambda: result.query_id)
            coordinator.kill()
            coordinator.start()
            assert call.outcome().to_pydict() == SLOW_ROWS
        assert list(client.sql("SELECT v FROM there")) == [(7,)]
        assert list(client.sql("SHOW grappe.file_bytes_target"))[0][1] == "1048576"
        assert list(client.sql("SHOW grappe.execution_mode"))[0][1] == "auto"


@pytest.mark.parametrize("when", ["before the check", "after the check"])
def test_nothing_runs_in_another_session_unseen(coordinator, monkeypatch, when):
    with grappe.connect(coordinator.url) as client:
        client.sql("SET grappe.file_bytes_target = 1048576")
        client.sql("CREATE TEMPORARY TABLE kept AS SELECT 5 AS a")
        submit = client.driver.submit

        def restart():
            coordinator.kill()
            coordinator.start()

        def submitting(sql, params, tick, check):
            if check is None or when == "before the check":
                restart()
                return submit(sql, params, tick, check)
            return submit(sql, params, tick, lambda: (check(), restart()))

        monkeypatch.setattr(client.driver, "submit", submitting)
        with pytest.raises(grappe.UnavailableError):
            client.sql("INSERT INTO kept VALUES (8) -- unseen")
        assert list(client.sql("SHOW grappe.file_bytes_target"))[0][1] == "1048576"
        with grappe.connect(coordinator.url) as other:
            assert sorted(other.sql("SELECT a FROM kept")) == [(1,), (2,), (3,)]
        assert statements_like(coordinator.url, "unseen") == 0

        submit = client.driver.submit
        monkeypatch.setattr(client.driver, "submit", lambda *given: (restart(), submit(*given))[1])
        assert list(client.sql("SHOW grappe.file_bytes_target"))[0][1] == "1048576"


def test_mistakes_are_placed_in_a_session_with_settings_too(coordinator):
    with grappe.connect(coordinator.url) as client:
        client.sql("SET grappe.file_bytes_target = 1048576")
        for sql in ("SELECT\n nam FROM kept", "INSERT INTO kept\n SELECT nam FROM kept"):
            with pytest.raises(grappe.InvalidError) as raised:
                client.sql(sql).to_arrow()
            assert raised.value.position and raised.value.position[0] == 2
        assert client.sql("INSERT INTO kept SELECT $1", [4]).rows_affected == 1


def test_a_setting_that_cannot_be_made_again_is_said_once(coordinator):
    with grappe.connect(coordinator.url) as client:
        # As if the next coordinator were of another version.
        client.session.note("SET grappe.no_more = 1")
        coordinator.kill()
        coordinator.start()
        with pytest.raises(grappe.InvalidError, match='the session was lost, and "SET grappe.no_more = 1" fails in a new one'):
            client.sql("SELECT 1").to_arrow()
        assert list(client.sql("SELECT sum(a) FROM kept")) == [(6,)]


@pytest.mark.parametrize("made_by", ["upload", "table", "view"])
def test_a_temporary_table_goes_with_its_session_and_no_other_is_taken_for_it(coordinator, made_by):
    with grappe.connect(coordinator.url) as client:
        for name in ("Mine", "kept"):
            if made_by == "upload":
                client.upload(pa.table({"a": [5]}), name, temporary=True)
            else:
                client.sql(f'CREATE TEMPORARY {made_by} "{name}" AS SELECT 5 AS a')
        assert list(client.sql('SELECT sum(a) FROM kept, (SELECT a AS b FROM "Mine")')) == [(5,)]
        coordinator.kill()
        coordinator.start()
        with pytest.raises(grappe.NotFoundError, match='table "Mine" not found'):
            client.sql('SELECT a FROM "Mine"').to_arrow()
        for call in (
            lambda: client.sql("SELECT sum(a) FROM kept").to_arrow(), lambda: client.sql("INSERT INTO kept VALUES (1)"),
            lambda: client.sql("DROP TABLE kept"), lambda: client.table("kept"), lambda: client.sql("SELECT * FROM Kept").schema,
            lambda: client.upload(KEPT, "kept", mode="append"),
            lambda: client.sql("CREATE OR REPLACE TEMPORARY TABLE kept AS SELECT a + 1 AS a FROM kept"),
        ):
            with pytest.raises(grappe.NotFoundError, match='temporary table "kept" went with a session that was lost'):
                call()
        assert list(client.sql("SELECT 1")) == [(1,)]
        client.sql("CREATE TEMPORARY TABLE kept AS SELECT 6 AS a")
        assert list(client.sql("SELECT sum(a) FROM kept")) == [(6,)]
        client.sql("DROP TABLE kept")
        assert sorted(client.sql("SELECT a FROM kept")) == [(1,), (2,), (3,)]


def test_users_are_known_to_the_next_coordinator(tmp_path, settings):
    coordinator = Coordinator(tmp_path / "data", "--config", str(settings))
    with grappe.connect(coordinator.url, user="ada", password=PASSWORD) as client:
        client.upload(KEPT, "kept")
        for _ in range(2):
            coordinator.kill()
            coordinator.start()
            assert list(client.sql("SELECT sum(a) FROM kept WHERE a < $1", [9])) == [(6,)]
        coordinator.kill()
        coordinator.start()
        with pytest.raises(grappe.UnavailableError):
            client.sql("INSERT INTO kept VALUES (1)")
        assert client.sql("INSERT INTO kept VALUES (4)").rows_affected == 1
    coordinator.kill()


def test_many_inputs_survive_as_well(coordinator):
    with grappe.connect(coordinator.url) as client:
        query = "SELECT count(sin(value)) AS n FROM range(0, 20000000) WHERE value >= $1 -- many"
        call = Call(lambda: client.map(query, pa.table({"low": [0, 1, 2, 3]})))
        until(lambda: statements_like(coordinator.url, "many"))
        coordinator.kill()
        coordinator.start()
        assert call.outcome()["n"].to_pylist() == [20_000_000, 19_999_999, 19_999_998, 19_999_997]


def test_threads_that_share_a_client_lose_nothing(coordinator):
    with grappe.connect(coordinator.url) as client:
        client.sql("SET grappe.file_bytes_target = 1048576")
        done = threading.Event()

        def work():
            while not done.is_set():
                assert list(client.sql("SELECT count(sin(value)), min(a) FROM range(0, 1000000), kept -- shared")) == [(3_000_000, 1)]
                assert client.sql("SHOW grappe.file_bytes_target").to_pandas()["value"].tolist() == ["1048576"]

        calls = [Call(work) for _ in range(4)]
        for at in range(6):
            (coordinator.stop if at % 2 else coordinator.kill)()
            coordinator.start()
            until(lambda: statements_like(coordinator.url, "shared") > 4)
        done.set()
        [call.outcome() for call in calls]


def test_a_connection_is_closed_when_nobody_uses_it():
    closed = threading.Event()
    shared = Shared("it", closed.set)
    with shared.used() as value:
        assert value == "it"
        shared.close()
        shared.abandon()
        with pytest.raises(grappe.UnavailableError), shared.used():
            pass
        assert not closed.is_set()
    assert closed.wait(20)


def test_nobody_waits_for_an_embedded_server():
    with grappe.connect(binary=BINARY) as client:
        client._server._process.kill()
        start = time.monotonic()
        with pytest.raises(grappe.UnavailableError):
            client.sql("SELECT 1").to_arrow()
        assert time.monotonic() - start < REFUSED_SECONDS_MAX


@pytest.mark.parametrize(
    ("sql", "reads"),
    [
        ("SELECT 1", True),
        ("/* it's /* in */ it */ -- x\n ((select 1))", True),
        ("WITH a AS (SELECT 'insert into') SELECT \"update\" FROM a -- delete", True),
        ("EXPLAIN SELECT 1", True),
        ("EXPLAIN ANALYZE INSERT INTO t VALUES (1)", False),
        ("VALUES (1)", True),
        ("TABLE t", True),
        ("SHOW ALL", True),
        ("DESCRIBE t", True),
        ("WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a", False),
        ("SELECT 1 AS a INTO t", False),
        (r"SELECT E'\'' AS a INTO t -- '", False),
        ("SELECT $$ ' $$ AS a INTO t -- '", False),
        ("/* ' */ SELECT 1 AS a INTO t -- '", False),
        ("INSERT INTO t VALUES (1)", False),
        ("UPDATE t SET a = 1", False),
        ("EXECUTE p", False),
        ("", False),
    ],
)
def test_what_only_reads_is_told_by_its_text(sql, reads):
    assert statements.only_reads(sql) is reads


def test_select_into_writes_at_once(client):
    assert client.sql("SELECT 5 AS a INTO made_by_select").rows_affected == 1
    assert list(client.sql("SELECT a FROM made_by_select")) == [(5,)]
    client.sql("DROP TABLE made_by_select")


@pytest.mark.parametrize(
    ("url", "expected", "seconds"),
    [
        ("grpc://a", ["grpc://a:7470"], None),
        ("grappe+tls://ada:p%40%2F@a:1, b,[::1]:3/?retry_seconds_max=2.5", ["grpc+tls://a:1", "grpc+tls://b:7470", "grpc+tls://[::1]:3"], 2.5),
    ],
)
def test_a_url_names_one_coordinator_or_several(url, expected, seconds):
    found = target(url, None, None, None, None, False)
    assert [address.url for address in found.addresses] == expected and found.retry_seconds_max == seconds
    if "@" in url:
        assert {(address.user, address.password) for address in found.addresses} == {("ada", "p@/")}


@pytest.mark.parametrize("url", ["grpc://a,,b", "grpc://a,b:port", "grpc://a?retry_seconds_max=soon", "grpc://a?retry_seconds_max=-1", "grpc://a?x=1"])
def test_a_url_with_a_mistake_is_refused(url):
    with pytest.raises(grappe.InvalidError, match="is not the URL of a server.*more HOST:PORT may follow after commas"):
        grappe.connect(url)
