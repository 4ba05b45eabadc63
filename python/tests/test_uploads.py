"""Dataframes on their way to the server: all rows or none, whatever they come from."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import pytest

import grappe
from servers import Server, clean_environment

ROWS = pa.table({"Id": [1, 2, 3], "text": ["a", None, "c"]})


def batches(count, size=1000):
    return (pa.record_batch({"n": pa.array(range(at * size, (at + 1) * size))}) for at in range(count))


def reader(source, schema=pa.schema({"n": pa.int64()})):
    return pa.RecordBatchReader.from_batches(schema, source)


KINDS = {
    "pandas": ROWS.to_pandas,
    "polars": lambda: pl.DataFrame(pl.from_arrow(ROWS)),
    "lazy polars": lambda: pl.DataFrame(pl.from_arrow(ROWS)).lazy(),
    "table": lambda: ROWS,
    "batch": lambda: ROWS.to_batches()[0],
    "reader": ROWS.to_reader,
    "dataset": lambda: pyarrow.dataset.dataset(ROWS),
    "scanner": lambda: pyarrow.dataset.dataset(ROWS).scanner(),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_frame_becomes_a_table(client, name, kind):
    table = client.upload(KINDS[kind](), name)
    got = table.to_arrow()
    assert got.to_pydict() == ROWS.to_pydict()
    assert got.schema.types == ROWS.schema.types
    assert list(client.sql(f'SELECT sum("Id") FROM "{name}"')) == [(6,)]


def test_parquet_files_are_sent_piece_by_piece(client, name, tmp_path):
    for part in range(3):
        pa.parquet.write_table(pa.table({"n": range(part * 1000, part * 1000 + 1000)}), tmp_path / f"{part}.parquet")
    client.upload(str(tmp_path / "1.parquet"), name)
    client.upload(tmp_path, name, "append")
    assert list(client.sql(f'SELECT count(*), sum(n) FROM "{name}"')) == [(4000, 2999 * 1500 + 1499500)]


def test_a_directory_of_files_with_other_columns_is_refused_as_a_whole(client, name, tmp_path):
    pa.parquet.write_table(pa.table({"n": [1]}), tmp_path / "0.parquet")
    pa.parquet.write_table(pa.table({"m": [1]}), tmp_path / "1.parquet")
    with pytest.raises(grappe.InvalidError, match="1.parquet.*are not those of.*0.parquet"):
        client.upload(tmp_path, name)
    assert name not in client.tables()


def test_paths_that_are_no_parquet_are_named(client, name, tmp_path):
    (tmp_path / "text.parquet").write_text("hello")
    (tmp_path / "empty").mkdir()
    with pytest.raises(grappe.NotFoundError, match="no file or directory"):
        client.upload(tmp_path / "nowhere.parquet", name)
    with pytest.raises(grappe.NotFoundError, match="no Parquet file in"):
        client.upload(tmp_path / "empty", name)
    with pytest.raises(grappe.InvalidError, match="text.parquet.*cannot be read as Parquet"):
        client.upload(tmp_path / "text.parquet", name)


def test_modes_do_what_they_say(client, name):
    def rows():
        return sorted(row for (row,) in client.sql(f'SELECT n FROM "{name}"'))

    with pytest.raises(grappe.NotFoundError, match=name):
        client.upload(pa.table({"n": [0]}), name, "append")
    client.upload(pa.table({"n": [1]}), name, "create_append")
    client.upload(pa.table({"n": [2]}), name, "create_append")
    client.upload(pa.table({"n": [3]}), name, "append")
    assert rows() == [1, 2, 3]
    with pytest.raises(grappe.AlreadyExistsError, match=name):
        client.upload(pa.table({"n": [4]}), name)
    assert rows() == [1, 2, 3]
    client.upload(pa.table({"n": [5]}), name, "replace")
    assert rows() == [5]


@pytest.mark.parametrize(
    ("data", "arguments", "says"),
    [
        (ROWS, {"mode": "upsert"}, "use one of create, append, replace, create_append"),
        (ROWS, {"name": ""}, "name of a table"),
        (ROWS, {"name": 5}, "name of a table"),
        (ROWS, {"index": True}, "frames of pandas"),
        (5, {}, "a int cannot be uploaded; give a frame of pandas"),
        (pa.table({}), {}, "no columns"),
        (pd.DataFrame(), {}, "no columns"),
    ],
)
def test_what_cannot_be_uploaded_is_refused(client, data, arguments, says):
    with pytest.raises(grappe.InvalidError, match=says):
        client.upload(data, **{"name": "refused", **arguments})
    assert "refused" not in client.tables()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), '"a" is there twice'),
        (pa.table([[1], [2]], names=["a", "a"]), '"a" is there twice'),
        (pd.DataFrame([[1, 2]], columns=["0", 0]), '"0" is there twice'),
        (pl.DataFrame({"id": [1], "ID": [2]}), '"id" and "ID" differ in capitals only'),
        (pd.DataFrame({"a": [1], "b": [2]}).pivot_table(columns="a", aggfunc=["sum", "mean"]), "plain names"),
    ],
)
def test_columns_that_share_a_name_are_named(client, data, says):
    with pytest.raises(grappe.InvalidError, match=says):
        client.upload(data, "refused")
    assert "refused" not in client.tables()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (pd.Series(pd.period_range("2024-01", periods=2, freq="M")), "to_timestamp"),
        (pd.Series(pd.interval_range(0, 2)), "two columns"),
        (pd.Series([1 + 2j, 0]), "complex128"),
        (pd.Series(pd.arrays.SparseArray([0, 1])), "to_dense"),
        (pd.Series([1, "a"], dtype=object), "object"),
        (pd.Series([object(), None], dtype=object), "object"),
        (pd.Series(pd.to_datetime([1, 2], unit="ns")).astype("datetime64[ns]"), "finer than a microsecond"),
        (pa.array([pa.MonthDayNano([1, 2, 3])]), "month_day_nano"),
        (pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])]), "union"),
        (pl.Series("x", [object()], dtype=pl.Object), "Object"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str(getattr(value, "dtype", getattr(value, "type", ""))),
)
def test_a_type_that_tables_do_not_have_is_refused_with_the_column(client, values, says):
    frames = {pd.Series: lambda v: pd.DataFrame({"ok": range(len(v)), "Bad one": v}), pl.Series: lambda v: pl.DataFrame({"Bad one": v})}
    data = frames.get(type(values), lambda v: pa.table({"Bad one": v}))(values)
    with pytest.raises(grappe.UnsupportedTypeError, match=says) as raised:
        client.upload(data, "refused")
    assert raised.value.column == "Bad one" and 'column "Bad one"' in str(raised.value)
    assert "refused" not in client.tables()


def test_a_source_that_breaks_leaves_nothing_and_is_heard(client, name):
    def broken():
        yield from batches(20)
        raise RuntimeError("the disk is on fire")

    with pytest.raises(RuntimeError, match="the disk is on fire"):
        client.upload(reader(broken()), name)
    assert name not in client.tables()
    client.upload(reader(batches(1)), name)
    with pytest.raises(RuntimeError, match="the disk is on fire"):
        client.upload(reader(broken()), name, "append")
    assert list(client.sql(f'SELECT count(*) FROM "{name}"')) == [(1000,)]


@pytest.mark.parametrize("end", ["SIGINT", "SIGKILL"])
def test_an_upload_that_is_interrupted_leaves_nothing(server, end):
    code = f"""
        import grappe, itertools, pyarrow as pa, sys
        batch = pa.record_batch({{"n": pa.array(range(100_000))}})

        def endless():
            for at in itertools.count():
                if at == 20:
                    print("under way", flush=True)
                yield batch

        with grappe.connect({server.url!r}) as client:
            try:
                client.upload(pa.RecordBatchReader.from_batches(batch.schema, endless()), "half")
            except KeyboardInterrupt:
                print("half" in client.tables(), flush=True)
    """
    program = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True, env=clean_environment()
    )
    assert program.stdout.readline() == "under way\n"
    program.send_signal(getattr(signal, end))
    assert program.communicate(timeout=30)[0] == ("False\n" if end == "SIGINT" else "")
    with grappe.connect(server.url) as client:
        assert "half" not in client.tables()


@pytest.mark.parametrize(("mode", "winners", "rows"), [("create", 1, 50_000), ("append", 2, 100_000), ("replace", 2, 50_000)])
def test_two_uploads_to_one_name_do_not_mix(client, name, mode, winners, rows):
    outcomes, start = [], threading.Barrier(2)

    def upload(who):
        def source():
            start.wait(20)
            for _ in range(50):
                yield pa.record_batch({"who": pa.array([who] * 1000)})

        try:
            client.upload(reader(source(), pa.schema({"who": pa.int64()})), name, mode)
            outcomes.append(who)
        except grappe.Error as error:
            outcomes.append(error)

    if mode != "create":
        client.upload(pa.table({"who": pa.array([], pa.int64())}), name)
    threads = [threading.Thread(target=upload, args=(who,)) for who in (1, 2)]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    won = [who for who in outcomes if isinstance(who, int)]
    lost = [error for error in outcomes if not isinstance(error, int)]
    assert len(won) == winners and all(type(error) is grappe.AlreadyExistsError for error in lost)
    found = dict(client.sql(f'SELECT who, count(*) FROM "{name}" GROUP BY 1'))
    assert sum(found.values()) == rows and set(found.values()) == {50_000}
    assert set(found) <= set(won)


def test_an_upload_larger_than_the_memory_of_both_goes_through(tmp_path):
    """1 GB of rows, through a server that may hold 64 MB and a client that holds some batches."""
    server = Server(tmp_path / "data", "--memory", "64MB")
    code = f"""
        import grappe, numpy as np, pyarrow as pa, resource
        values = np.random.default_rng(1).integers(0, 1 << 62, 1_000_000)
        batch = pa.record_batch({{"a": pa.array(values)}})
        with grappe.connect({server.url!r}) as client:
            client.upload(pa.table({{"a": [1]}}), "warm")
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            client.upload(pa.RecordBatchReader.from_batches(batch.schema, (batch for _ in range(125))), "large")
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            print(list(client.sql("SELECT count(*) FROM large"))[0][0], grown // 1024)
    """
    with open(f"/proc/{server.process.pid}/status") as status:
        assert "VmHWM" in status.read()
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, env=clean_environment(), timeout=120)
    rows, grown_mb = map(int, ran.stdout.split())
    peak = next(int(line.split()[1]) // 1024 for line in open(f"/proc/{server.process.pid}/status") if line.startswith("VmHWM"))
    assert server.stop() == 0
    assert rows == 125_000_000
    assert grown_mb < 300, "megabytes that the client held"
    assert peak < 700, "megabytes that the server held"


def test_a_pandas_frame_is_sent_in_slices(client, name):
    frame = pd.DataFrame({"n": np.arange(500_000), "t": ["text"] * 500_000})
    with grappe.connect(client.url, options=grappe.Options(batch_bytes_max=100_000)) as other:
        other.upload(frame, name)
    assert list(client.sql(f'SELECT count(*), sum(n), count(t) FROM "{name}"')) == [(500_000, 500_000 * 499_999 // 2, 500_000)]


def test_a_single_large_batch_is_cut(client, name):
    client.upload(pa.record_batch({"t": pa.array(["x" * 1000] * 300_000)}), name)
    assert list(client.sql(f'SELECT sum(length(t)) FROM "{name}"')) == [(300_000_000,)]


def test_a_temporary_table_is_the_sessions_own(server):
    with grappe.connect(server.url) as one, grappe.connect(server.url) as other:
        assert one.upload(ROWS, "own", temporary=True).to_arrow().num_rows == 3
        assert "own" in one.tables() and "own" not in other.tables()


def test_a_schema_may_be_given(client):
    client.sql('CREATE SCHEMA "Sales"')
    table = client.upload(ROWS, "t", schema="Sales")
    assert client.tables(schema="Sales") == ["t"] and table.to_arrow().num_rows == 3
    assert client.table("t", schema="Sales").schema.names == ["Id", "text"]
    client.sql('DROP TABLE "Sales".t')
    client.sql('DROP SCHEMA "Sales"')
    with pytest.raises(grappe.NotFoundError, match="Sales"):
        client.upload(ROWS, "t", schema="Sales")


def test_an_append_of_other_columns_is_refused(client, name):
    client.upload(pa.table({"n": [1]}), name)
    with pytest.raises(grappe.InvalidError, match="m"):
        client.upload(pa.table({"m": ["x"]}), name, "append")
    assert list(client.sql(f'SELECT * FROM "{name}"')) == [(1,)]
