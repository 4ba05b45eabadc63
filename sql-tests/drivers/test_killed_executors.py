"""An executor that is killed while it writes: the rows are there once, and so are the files."""

import json
import os
import signal
import subprocess
import threading

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import pytest
from deltalake import DeltaTable

from lake import assert_soon, data_files, directory, rows
from servers import BINARY, clean_environment

ROWS = 6_000_000
RECOVERY_SECONDS_MAX = 60


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The Flight address of a cluster with three executors, one core each, and its data directory."""
    data = tmp_path_factory.mktemp("cluster")
    command = [BINARY, "cluster", "run", "--executors", "3", "--vcores", "1", "--data-dir", str(data)]
    command += ["--flight-port", "0", "--cluster-port", "0", "--http-port", "0", "--memory", "2GB"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=clean_environment(GRAPPE_SERVER__SWEEP_AFTER_SECONDS="5"),
    )
    line = process.stdout.readline()
    assert line, "the cluster ended before it was ready"
    yield json.loads(line)["flight"], data
    process.terminate()
    assert process.wait(90) == 0


@pytest.fixture
def cursor(cluster):
    """In staged mode."""
    with flightsql.connect(cluster[0], autocommit=True) as connection, connection.cursor() as cursor:
        rows(cursor, "SET grappe.execution_mode = 'staged'")
        yield cursor


@pytest.fixture
def watcher(cluster):
    """Another connection, in no mode of its own."""
    with flightsql.connect(cluster[0], autocommit=True) as connection, connection.cursor() as watcher:
        yield watcher
        rows(watcher, "DROP TABLE IF EXISTS spread")


def assert_files_are_named(place):
    """The newest version names every file, and every file is there."""
    def named():
        return {uri.removeprefix(f"file://{place}/").removeprefix(f"{place}/") for uri in DeltaTable(place).file_uris()}

    assert_soon(lambda: data_files(place) == named(), lambda: data_files(place) ^ named())


def kill_one_that_writes(watcher, warehouse, files_before, thread):
    """Kills an executor that runs a task, when the first new file is being written; nobody if the thread ends before."""
    def new_files():
        return {path for path in warehouse.rglob("*.parquet*") if path.is_file()} - files_before

    def busy():
        return rows(watcher, "SELECT pid FROM system.executors WHERE state = 'active' AND running_tasks > 0 ORDER BY pid")

    def is_time():
        return not thread.is_alive() or (new_files() and len(busy()) == 3)

    assert_soon(is_time, lambda: f"{busy()} write {new_files()}")
    if thread.is_alive():
        [(pid,), *_] = busy()
        os.kill(pid, signal.SIGKILL)
        return pid


@pytest.mark.parametrize("statement", ["INSERT INTO spread", "CREATE TABLE spread AS", "CREATE OR REPLACE TABLE spread AS"])
def test_rows_are_exact_and_no_file_is_left_over(cluster, cursor, watcher, statement):
    active = "SELECT count(*) FROM system.executors WHERE state = 'active'"
    assert_soon(lambda: rows(watcher, active) == [(3,)], lambda: "executors are missing", RECOVERY_SECONDS_MAX)
    if not statement.startswith("CREATE TABLE"):
        rows(watcher, "CREATE TABLE spread (n BIGINT, text VARCHAR)")
    warehouse = cluster[1] / "warehouse"
    before, errors = set(warehouse.rglob("*.parquet*")), []

    def write():
        try:
            rows(cursor, f"{statement} SELECT value AS n, md5(CAST(value AS VARCHAR)) AS text FROM range(0, {ROWS})")
        except adbc_driver_manager.Error as error:
            errors.append(str(error))

    thread = threading.Thread(target=write)
    thread.start()
    killed = kill_one_that_writes(watcher, warehouse, before, thread)
    thread.join()
    assert killed and not errors, errors
    ran = "SELECT mode, tasks > 1, rows FROM system.queries WHERE statement LIKE '%md5%' AND state = 'finished' " \
          "ORDER BY started DESC LIMIT 1"
    assert rows(watcher, ran) == [("staged", True, ROWS)]
    exact = [(ROWS, ROWS * (ROWS - 1) // 2, ROWS)]
    assert rows(watcher, "SELECT count(*), sum(n), count(DISTINCT n) FROM spread") == exact
    place = directory(watcher, "spread")
    assert_files_are_named(place)
    assert DeltaTable(place).to_pyarrow_dataset().count_rows() == ROWS


def test_a_distributed_query_that_fails_half_way_leaves_nothing(cluster, cursor, watcher):
    public = cluster[1] / "warehouse" / "public"
    assert_soon(lambda: not data_files(cluster[1] / "warehouse"), lambda: data_files(cluster[1] / "warehouse"))
    with pytest.raises(adbc_driver_manager.Error, match="division by zero"):
        rows(cursor, "CREATE TABLE spread AS SELECT value, 1 / (2999999 - value) AS x FROM range(0, 3000000)")
    with pytest.raises(adbc_driver_manager.Error, match='"spread" not found'):
        rows(watcher, "SELECT * FROM spread")
    assert_soon(lambda: not data_files(public), lambda: data_files(public))
