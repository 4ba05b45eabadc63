"""COPY TO: files that others read, written by all executors, and all of them or none to be seen."""

import json
import os
import signal
import subprocess
import threading

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset
import pyarrow.feather
import pyarrow.json
import pyarrow.parquet as pq
import pytest

from lake import ask, assert_soon, rows
from servers import BINARY, Server, clean_environment

ROWS = 100_000
MODES = ["local", "staged"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The Flight address of a cluster with two executors."""
    command = [BINARY, "cluster", "run", "--executors", "2", "--vcores", "1", "--memory", "1GB"]
    command += ["--data-dir", str(tmp_path_factory.mktemp("cluster")), "--flight-port", "0", "--cluster-port", "0", "--http-port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=clean_environment(),
    )
    line = process.stdout.readline()
    assert line, "the cluster ended before it was ready"
    yield json.loads(line)["flight"]
    process.terminate()
    assert process.wait(60) == 0


@pytest.fixture(params=MODES)
def cursor(cluster, request):
    with flightsql.connect(cluster, autocommit=True) as connection, connection.cursor() as cursor:
        rows(cursor, f"SET grappe.execution_mode = '{request.param}'")
        yield cursor


SOURCE = f"SELECT value AS n, CAST(value % 7 AS VARCHAR) || ' ü' AS text, value * 0.5 AS half FROM range({ROWS})"
READ = {
    "parquet": pq.read_table,
    "csv": pyarrow.csv.read_csv,
    "json": pyarrow.json.read_json,
    "arrow": pyarrow.feather.read_table,
}


def assert_whole(table):
    assert table.num_rows == ROWS
    n = table["n"].to_pylist()
    assert sorted(n) == list(range(ROWS))
    assert table["text"].to_pylist() == [f"{value % 7} ü" for value in n]
    assert table["half"].to_pylist() == [value * 0.5 for value in n]


def hidden(path):
    return sorted(entry.name for entry in path.iterdir() if entry.name.startswith("."))


@pytest.mark.parametrize("kind", READ)
def test_a_name_with_an_ending_is_one_file(cursor, tmp_path, kind):
    place = tmp_path / f"rows.{kind}"
    for _ in range(2):
        cursor.execute(f"COPY ({SOURCE}) TO '{place}'")
        assert_whole(READ[kind](place))
        assert [entry.name for entry in tmp_path.iterdir()] == [place.name]


@pytest.mark.parametrize("kind", READ)
def test_any_other_name_is_a_directory(cursor, tmp_path, kind):
    place = tmp_path / "rows"
    cursor.execute(f"COPY ({SOURCE}) TO '{place}' STORED AS {kind.upper()}")
    files = sorted(place.iterdir())
    assert len(files) > 1 and all(file.name.endswith(f".{kind}") for file in files)
    assert_whole(pa.concat_tables(READ[kind](file) for file in files))
    assert hidden(tmp_path) == []
    assert rows(cursor, f"SELECT count(*), sum(n) FROM '{place}/*.{kind}'") == [(ROWS, ROWS * (ROWS - 1) // 2)]


def test_executors_write_side_by_side(cluster, tmp_path):
    with flightsql.connect(cluster, autocommit=True) as connection, connection.cursor() as cursor:
        rows(cursor, "SET grappe.execution_mode = 'staged'")
        cursor.execute(f"COPY ({SOURCE}) TO '{tmp_path / 'staged'}' STORED AS PARQUET")
        assert len(list((tmp_path / "staged").iterdir())) >= 2


@pytest.mark.parametrize("keep", [False, True])
def test_columns_become_directories_as_other_engines_read_them(cursor, tmp_path, keep):
    source = """
        SELECT value AS n, CASE WHEN value % 5 > 0 THEN DATE '2026-01-01' + CAST(value % 5 AS INT) END AS day,
               CASE value % 3 WHEN 0 THEN 'a/b=c' WHEN 1 THEN 'ü' END AS word
        FROM range(600)"""
    place = tmp_path / "parts"
    option = "OPTIONS ('execution.keep_partition_by_columns' 'true')" if keep else ""
    if keep:
        source = f"SELECT * FROM ({source}) WHERE day IS NOT NULL AND word IS NOT NULL"
    cursor.execute(f"COPY ({source}) TO '{place}' STORED AS PARQUET PARTITIONED BY (day, word) {option}")
    for day in place.iterdir():
        for word in day.iterdir():
            files = list(word.iterdir())
            assert len(files) == 1, "the rows of a directory meet in one file"
            assert ("day" in pq.read_schema(files[0]).names) == keep
    if keep:
        return
    hive = pyarrow.dataset.partitioning(pa.schema([("day", pa.date32()), ("word", pa.string())]), flavor="hive")
    read = pyarrow.dataset.dataset(place, partitioning=hive).to_table().sort_by("n").to_pylist()
    cursor.execute(f"{source} ORDER BY n")
    assert read == cursor.fetch_arrow_table().to_pylist()


def test_a_directory_that_holds_files_is_left_alone_unless_one_says_so(cursor, tmp_path):
    place = tmp_path / "rows"
    copy = f"COPY (SELECT value AS n FROM range(10)) TO '{place}' STORED AS CSV"
    cursor.execute(copy)
    before = sorted(place.iterdir())
    with pytest.raises(adbc_driver_manager.Error, match="holds files already") as refused:
        cursor.execute(copy)
    assert refused.value.status_code == adbc_driver_manager.AdbcStatusCode.ALREADY_EXISTS
    assert sorted(place.iterdir()) == before and hidden(tmp_path) == []
    cursor.execute(f"{copy} OPTIONS ('append' 'true')")
    assert rows(cursor, f"SELECT count(*), sum(n) FROM '{place}/*.csv'") == [(20, 90)]
    assert set(before) < set(place.iterdir())
    cursor.execute(f"{copy} OPTIONS ('overwrite' 'true')")
    assert rows(cursor, f"SELECT count(*), sum(n) FROM '{place}/*.csv'") == [(10, 45)]
    assert not set(before) & set(place.iterdir()) and hidden(tmp_path) == []


def test_rows_in_order_are_files_in_order(cursor, tmp_path):
    place = tmp_path / "sorted.parquet"
    cursor.execute(f"COPY (SELECT value AS n FROM range({ROWS}) ORDER BY n % 1000, n) TO '{place}'")
    n = pq.read_table(place)["n"].to_pylist()
    assert n == sorted(n, key=lambda n: (n % 1000, n))


def test_a_query_that_fails_leaves_what_was_there(cursor, tmp_path):
    file, directory = tmp_path / "rows.parquet", tmp_path / "rows"
    cursor.execute(f"COPY (SELECT 1 AS n) TO '{file}'")
    for place in (file, directory):
        with pytest.raises(adbc_driver_manager.Error, match="division by zero"):
            cursor.execute(f"COPY (SELECT 1 / (2999999 - value) AS n FROM range(3000000)) TO '{place}' STORED AS PARQUET")
    assert pq.read_table(file)["n"].to_pylist() == [1]
    assert not directory.exists()
    assert_soon(lambda: hidden(tmp_path) == [], lambda: hidden(tmp_path))


@pytest.mark.parametrize("over_another", [False, True])
def test_nobody_sees_half_of_a_directory(cursor, tmp_path, over_another):
    place, seen, done = tmp_path / "rows", set(), threading.Event()
    copy = f"COPY ({SOURCE}) TO '{place}' STORED AS PARQUET OPTIONS ('overwrite' 'true')"
    if over_another:
        cursor.execute(copy)

    def watch():
        while not done.is_set():
            try:
                if place.exists():
                    seen.add(sum(pq.read_metadata(file).num_rows for file in list(place.iterdir())))
            except FileNotFoundError:
                # What is being read was replaced.
                continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        cursor.execute(copy)
        assert sum(pq.read_metadata(file).num_rows for file in place.iterdir()) == ROWS
    finally:
        done.set()
        watcher.join()
    # Who has opened the old directory may find it empty.
    assert seen <= ({0, ROWS} if over_another else {ROWS})


@pytest.mark.parametrize("copy, says", [
    ("TO '{place}/a.parquet' PARTITIONED BY (nothing)", "nothing"),
    ("TO '{place}/a' STORED AS PARQUET PARTITIONED BY (n, text, half)", "all of their columns"),
    ("TO '{place}/a.xyz'", "xyz"),
    ("TO '{place}/a.parquet' OPTIONS ('colour' 'red')", "colour"),
    ("TO '{place}/a' STORED AS CSV OPTIONS ('append' 'true', 'overwrite' 'true')", "not both"),
    ("TO '{place}/there' STORED AS CSV", "is a file"),
    ("TO '{place}/dir.csv'", "is a directory"),
    ("TO 'https://127.0.0.1/a.csv'", "s3://"),
])
def test_what_cannot_be_copied_says_why_and_leaves_nothing(cursor, tmp_path, copy, says):
    (tmp_path / "there").write_text("n\n1\n")
    (tmp_path / "dir.csv").mkdir()
    with pytest.raises(adbc_driver_manager.Error, match=says):
        cursor.execute(f"COPY ({SOURCE}) {copy.format(place=tmp_path)}")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["dir.csv", "there"]


# Python complains about connections that cannot say goodbye.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_a_killed_server_has_left_is_swept(tmp_path):
    server = Server(tmp_path / "data", GRAPPE_SERVER__SWEEP_AFTER_SECONDS="2")
    place = tmp_path / "out" / "rows"
    place.parent.mkdir()

    copy = f"COPY (SELECT md5(CAST(value AS VARCHAR)) FROM range(100000000)) TO '{place}' STORED AS CSV"
    thread = threading.Thread(target=lambda: pytest.raises((adbc_driver_manager.Error, RuntimeError), ask, server, copy))
    thread.start()
    assert_soon(lambda: list(place.parent.rglob("*.csv*")), lambda: "nothing is written")
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    thread.join()
    assert not place.exists() and hidden(place.parent)
    again = Server(tmp_path / "data", GRAPPE_SERVER__SWEEP_AFTER_SECONDS="2")
    assert_soon(lambda: hidden(place.parent) == [], lambda: hidden(place.parent))
    assert again.stop() == 0


def test_statements_stay_below_the_allowed_roots(tmp_path):
    allowed, other = tmp_path / "allowed", tmp_path / "other"
    for place in (allowed, other):
        place.mkdir()
        pq.write_table(pa.table({"n": [1, 2]}), place / "t.parquet")
    server = Server(tmp_path / "data", GRAPPE_STORAGE__ALLOWED_ROOTS=json.dumps([str(allowed)]))
    refused = [
        f"SELECT * FROM '{other}/t.parquet'",
        f"SELECT * FROM '{other}/*.parquet'",
        f"SELECT * FROM '{allowed}/../other/t.parquet'",
        f"CREATE EXTERNAL TABLE e STORED AS PARQUET LOCATION '{other}/t.parquet'",
        f"CREATE EXTERNAL TABLE e STORED AS DELTA LOCATION '{other}/'",
        f"CREATE TABLE m (n INT) LOCATION '{other}/m'",
        f"COPY (SELECT 1 AS n) TO '{other}/copy.parquet'",
        f"COPY (SELECT 1 AS n) TO '{other}/copies' STORED AS CSV",
        "SELECT * FROM 's3://bucket/t.parquet'",
    ]
    with server.connect() as connection, connection.cursor() as cursor:
        for sql in refused:
            with pytest.raises(adbc_driver_manager.Error, match="storage.allowed_roots") as error:
                rows(cursor, sql)
            assert error.value.status_code == adbc_driver_manager.AdbcStatusCode.UNAUTHORIZED, sql
        assert [entry.name for entry in other.iterdir()] == ["t.parquet"]
        assert rows(cursor, f"SELECT sum(n) FROM '{allowed}/*.parquet'") == [(3,)]
        cursor.execute(f"COPY (SELECT 1 AS n) TO '{allowed}/more' STORED AS CSV")
        cursor.execute("CREATE TABLE managed AS SELECT 1 AS n")
        assert rows(cursor, "SELECT n FROM managed") == [(1,)]
    assert server.stop() == 0
