"""Queries and their rows: lazy, streamed, stopped, run again."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import grappe
from servers import BINARY, Wire, clean_environment

ENDLESS = "SELECT sum(sin(value)) FROM range(0, 1000000000000) -- {}"
ENDLESS_ROWS = "SELECT value FROM range(0, 1000000000000) -- {}"


def test_a_query_runs_when_its_rows_are_asked_for(client):
    result = client.sql("SELECT nonsense -- lazy")
    assert result.query_id is None
    with pytest.raises(grappe.InvalidError, match="nonsense"):
        result.to_arrow()


def test_any_other_statement_runs_at_once(client, name):
    quoted = grappe.statements.quoted(name)
    assert client.sql(f"CREATE TABLE {quoted} (a BIGINT)").rows_affected is None
    written = client.sql(f"/* not\n lazy */ INSERT INTO {quoted} VALUES (1), (2)")
    assert written.rows_affected == 2
    assert written.to_arrow().to_pylist() == written.to_arrow().to_pylist() == [{"count": 2}]
    assert list(client.sql(f"SELECT count(*) FROM {quoted}")) == [(2,)]


def test_rows_come_in_every_form(client):
    result = client.sql("SELECT value AS n, 'é' AS t FROM range(0, 3) ORDER BY n")
    expected = {"n": [0, 1, 2], "t": ["é"] * 3}
    assert result.to_arrow().to_pydict() == expected
    assert result.to_pandas().to_dict("list") == expected
    assert result.to_polars().to_dict(as_series=False) == expected
    assert pa.Table.from_batches(result.to_batches()).to_pydict() == expected
    assert result.to_reader().read_all().to_pydict() == expected
    assert pl.DataFrame(result).to_dict(as_series=False) == expected
    assert list(result) == [(0, "é"), (1, "é"), (2, "é")]
    assert result.schema.names == ["n", "t"]
    assert result.count() == 3


def test_an_empty_result_keeps_its_columns(client):
    result = client.sql("SELECT 1 AS a, 'x' AS b WHERE false")
    assert result.to_arrow().schema.types == [pa.int64(), pa.string()]
    assert list(result.to_pandas().columns) == ["a", "b"]
    assert result.to_polars().shape == (0, 2)
    assert "0 rows × 2 columns" in result._repr_html_()


def test_parameters_go_by_place(client):
    rows = client.sql("SELECT $2 AS b, $1 AS a, $3 AS c", [1, "it's", None])
    assert rows.to_arrow().to_pylist() == [{"b": "it's", "a": 1, "c": None}]
    assert list(client.sql("SELECT value FROM range(0, 9) WHERE value > ? AND value < ?", (6, 8))) == [(7,)]


@pytest.mark.parametrize("params", [{"a": 1}, "text", 5])
def test_parameters_that_are_no_list_are_refused(client, params):
    with pytest.raises(grappe.InvalidError, match=r"give a list: its values are \$1"):
        client.sql("SELECT $1", params)


def test_too_few_parameters_are_said(client):
    with pytest.raises(grappe.InvalidError):
        client.sql("SELECT $1, $2", [1]).to_arrow()


@pytest.mark.parametrize(
    ("sql", "kind", "says", "position"),
    [
        ("SELEC 1", grappe.InvalidError, "syntax error", (1, 1)),
        ("SELECT\n nam FROM (VALUES (1)) t(name)", grappe.InvalidError, "did you mean t.name", (2, 2)),
        ("SELECT * FROM nowhere", grappe.NotFoundError, 'table "nowhere" not found', None),
        ("SELECT 1/0", grappe.InvalidError, "^division by zero$", None),
        ("SELECT * FROM 'missing.parquet'", grappe.NotFoundError, "missing.parquet", None),
    ],
)
def test_an_error_is_of_the_kind_that_says_what_to_do(client, sql, kind, says, position):
    with pytest.raises(kind, match=says) as raised:
        client.sql(sql).to_arrow()
    assert "[FlightSQL]" not in str(raised.value) and "rpc error" not in str(raised.value)
    if position:
        assert raised.value.position == position


def test_columns_of_one_name_are_named(client):
    same = client.sql("SELECT t.a, u.a FROM (SELECT 1 AS a) t, (SELECT 2 AS a) u")
    assert same.to_arrow().column_names == ["a", "a"]
    assert list(same.to_pandas().columns) == ["a", "a"]
    assert "<td>1</td><td>2</td>" in same._repr_html_()
    with pytest.raises(grappe.InvalidError, match='column name "a" is there twice'):
        same.to_polars()


def test_explain_tells_where_and_how(client):
    plan = client.sql("SELECT sum(value) FROM range(0, $1::bigint * 0 + 9)".replace("$1::bigint * 0 + 9", "9")).explain()
    assert "execution_mode" in plan and "AggregateExec" in plan
    assert "output_rows" in client.sql("SELECT 1").explain(analyze=True)


def test_a_preview_has_rows_count_schema_and_the_query(client):
    result = client.sql("SELECT value AS n, '<b>' AS t FROM range(0, 1000) -- shown")
    html = result._repr_html_()
    assert "1,000 rows × 2 columns" in html and "int64" in html and "&lt;b&gt;" in html and "<b>" not in html
    assert html.count("<tr>") == 1 + client.options.preview_rows_max
    ids = client.sql("SELECT id FROM system.queries WHERE statement LIKE '%-- shown'").to_arrow()["id"].to_pylist()
    assert any(id in html for id in ids)
    assert "1 row × 1 column" in client.sql("SELECT 1")._repr_html_()
    assert "rows × 2 columns" in client.sql("SHOW ALL")._repr_html_()


def test_a_preview_links_to_the_dashboard(server):
    with grappe.connect(server.url, dashboard_url="https://db.example.org/ui/") as client:
        result = client.sql("SELECT 1")
        html = result._repr_html_()
        assert f'<a href="https://db.example.org/ui/queries/{result.query_id}">' in html


def test_a_result_larger_than_a_batch_is_streamed(client):
    stream = client.sql("SELECT value, repeat('x', 100) AS t FROM range(0, 3000000)").to_batches()
    assert sum(batch.num_rows for batch in stream) == 3_000_000


def test_a_result_that_is_forgotten_stops_its_query(client, state_of):
    stream = client.sql(ENDLESS_ROWS.format("forgotten")).to_batches()
    next(stream)
    del stream
    gc.collect()
    assert state_of("forgotten") == "cancelled"


def test_a_reader_that_is_forgotten_stops_its_query(client, state_of):
    reader = client.sql(ENDLESS_ROWS.format("reader")).to_reader()
    reader.read_next_batch()
    del reader
    gc.collect()
    assert state_of("reader") == "cancelled"


def test_a_loop_that_is_left_stops_its_query(client, state_of):
    for _ in client.sql(ENDLESS_ROWS.format("left")):
        break
    gc.collect()
    assert state_of("left") == "cancelled"


def test_cancel_stops_a_query_from_another_thread(client, state_of):
    result = client.sql(ENDLESS.format("other thread"))
    raised = []

    def read():
        try:
            result.to_arrow()
        except grappe.Error as error:
            raised.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    while result.query_id is None:
        time.sleep(0.01)
    result.cancel()
    thread.join(20)
    assert [type(error) for error in raised] == [grappe.CancelledError]
    assert state_of("other thread") == "cancelled"
    result.cancel()


INTERRUPTED = {
    "while it computes": f"client.sql({ENDLESS.format('interrupted')!r}).to_pandas()",
    "while rows come": f"sum(1 for _ in client.sql({ENDLESS_ROWS.format('interrupted')!r}))",
    "while it writes": "client.sql('CREATE TABLE never AS SELECT sum(sin(value)) AS s FROM range(0, 1000000000000) -- interrupted')",
}


@pytest.mark.parametrize("when", INTERRUPTED)
def test_an_interrupt_stops_the_query_on_the_server(server, state_of, when):
    code = f"""
        import grappe, os
        client = grappe.connect({server.url!r})
        print("ready", flush=True)
        try:
            {INTERRUPTED[when]}
        except KeyboardInterrupt:
            print("interrupted", client.sql("SELECT 1").to_arrow().num_rows, flush=True)
    """
    with grappe.connect(server.url) as observer:
        started = list(observer.sql("SELECT count(*) FROM system.queries WHERE statement LIKE '%-- interrupted'"))
        program = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, env=clean_environment()
        )
        assert program.stdout.readline() == "ready\n"
        while list(observer.sql("SELECT count(*) FROM system.queries WHERE statement LIKE '%-- interrupted'")) == started:
            time.sleep(0.02)
        program.send_signal(signal.SIGINT)
        assert program.communicate(timeout=30)[0] == "interrupted 1\n"
        assert state_of("interrupted", observer) == "cancelled"
        assert "never" not in observer.tables()


def test_a_read_is_run_again_when_the_connection_breaks(server, monkeypatch):
    wire = Wire(server.url)
    with grappe.connect(wire.url) as client:
        count = "SELECT count(*) FROM system.queries WHERE statement LIKE '%-- again'"
        result = client.sql("SELECT sum(sin(value)) AS s, count(*) AS n FROM range(0, 60000000) -- again")
        is_read, read = threading.Event(), client.driver.read

        def reading(part):
            rows = read(part)
            is_read.set()
            return rows

        monkeypatch.setattr(client.driver, "read", reading)
        rows = []
        thread = threading.Thread(target=lambda: rows.append(result.to_arrow()))
        thread.start()
        assert is_read.wait(20)
        wire.cut()
        thread.join(60)
        assert rows[0]["n"].to_pylist() == [60_000_000]
        with grappe.connect(server.url) as other:
            assert list(other.sql(count)) == [(2,)]
    wire.close()


def test_a_write_is_not_run_again(server):
    wire = Wire(server.url)
    with grappe.connect(wire.url) as client, grappe.connect(server.url) as other:
        raised = []

        def write():
            try:
                client.sql("CREATE TABLE once AS SELECT sum(sin(value)) AS s FROM range(0, 60000000) -- once")
            except grappe.Error as error:
                raised.append(error)

        count = "SELECT count(*) FROM system.queries WHERE statement LIKE '%-- once'"
        thread = threading.Thread(target=write)
        thread.start()
        while list(other.sql(count)) == [(0,)]:
            time.sleep(0.005)
        wire.cut()
        thread.join(60)
        assert [type(error) for error in raised] == [grappe.UnavailableError]
        assert list(other.sql(count)) == [(1,)]
        other.sql("DROP TABLE IF EXISTS once")
    wire.close()


def test_cancel_reaches_a_query_whose_start_takes_long(cluster, state_of):
    with grappe.connect(cluster.url) as client:
        client.sql("SET grappe.execution_mode = 'staged'")
        result = client.sql(ENDLESS.format("staged"))
        threading.Timer(0.3, result.cancel).start()
        with pytest.raises(grappe.CancelledError):
            result.to_arrow()
        client.sql("SET grappe.execution_mode = 'auto'")
        assert state_of("staged", client) == "cancelled"


def test_several_threads_share_a_client(client):
    sums = []

    def work(at):
        sums.append(list(client.sql("SELECT sum(value) * $1 FROM range(0, 1000)", [at]))[0][0])

    threads = [threading.Thread(target=work, args=(at,)) for at in range(8)]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    assert sorted(sums) == [499_500 * at for at in range(8)]


def test_the_session_is_there_as_dbapi(client):
    client.sql("CREATE TEMPORARY VIEW seen AS SELECT 7 AS v")
    assert pd.read_sql("SELECT v FROM seen", client.adbc)["v"].tolist() == [7]
    with client.adbc.cursor() as cursor:
        cursor.execute("SELECT v + ? FROM seen", (1,))
        assert cursor.fetchall() == [(8,)]


def test_tables_are_listed_and_found_by_their_exact_name(client, name):
    with pytest.raises(grappe.NotFoundError, match="T test_tables"):
        client.table(name)
    client.upload(pa.table({"Ünï code": [1]}), name)
    assert name in client.tables() and name in client.tables(schema="public")
    assert client.tables(schema="nowhere") == []
    assert client.table(name).to_arrow().column_names == ["Ünï code"]


def test_binary_is_the_one_under_test(client):
    assert os.path.samefile(os.readlink(f"/proc/{client._server.pid}/exe"), BINARY)
