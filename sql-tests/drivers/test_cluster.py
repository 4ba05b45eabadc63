"""`grappe cluster run`: real processes, real drivers, a process killed."""

import json
import os
import signal
import subprocess
import time

import adbc_driver_flightsql.dbapi as flightsql
import pytest

from servers import BINARY, clean_environment

RECOVERY_SECONDS_MAX = 60


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    command = [BINARY, "cluster", "run", "--executors", "3", "--data-dir", str(tmp_path_factory.mktemp("cluster"))]
    command += ["--flight-port", "0", "--cluster-port", "0", "--http-port", "0", "--memory", "2GB"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=clean_environment()
    )
    summary = json.loads(process.stdout.readline())
    yield summary
    process.send_signal(signal.SIGTERM)
    assert process.wait(90) == 0
    for pid in [summary["coordinator"]["pid"], *(executor["pid"] for executor in summary["executors"])]:
        assert not os.path.exists(f"/proc/{pid}"), "a child outlived its cluster"


@pytest.fixture
def cursor(cluster):
    with flightsql.connect(cluster["flight"], autocommit=True) as connection, connection.cursor() as cursor:
        yield cursor


def rows(cursor, sql):
    cursor.execute(sql)
    return cursor.fetchall()


def test_the_one_line_tells_what_runs(cluster):
    assert set(cluster) == {"flight", "cluster", "http", "coordinator", "executors"}
    assert cluster["flight"].startswith("grpc://127.0.0.1:") and cluster["http"].startswith("http://127.0.0.1:")
    assert [executor["vcores"] for executor in cluster["executors"]] == [1, 1, 1]


def test_executors_are_a_table(cluster, cursor):
    shown = rows(cursor, "SELECT pid, vcores, state FROM system.executors ORDER BY pid")
    assert shown == sorted((executor["pid"], 1, "active") for executor in cluster["executors"])


def test_a_series_is_split_over_the_executors(cursor):
    rows(cursor, "SET grappe.execution_mode = 'staged'")
    sql = "SELECT count(*), sum(value) FROM range(0, 3000000)"
    assert rows(cursor, sql) == [(3_000_000, 4_499_998_500_000)]
    rows(cursor, "SET grappe.execution_mode = 'auto'")
    [(tasks, done)] = rows(
        cursor,
        "SELECT tasks, tasks_done FROM system.queries WHERE statement LIKE '%range(0, 3000000)' AND mode = 'staged' LIMIT 1",
    )
    assert tasks >= 3 and done == tasks


def test_what_only_the_coordinator_sees_runs_there_and_is_refused_by_force(cursor):
    rows(cursor, "SET grappe.execution_mode = 'auto'")
    [(plan,)] = rows(cursor, "SELECT count(*) FROM system.executors")
    assert plan == 3
    rows(cursor, "SET grappe.execution_mode = 'staged'")
    with pytest.raises(Exception, match="cannot run in staged mode"):
        rows(cursor, "SELECT count(*) FROM system.executors")


def test_explain_shows_stages(cursor):
    rows(cursor, "SET grappe.execution_mode = 'staged'")
    plans = dict(rows(cursor, "EXPLAIN SELECT value % 7 AS k, count(*) FROM range(0, 1000) GROUP BY 1"))
    assert plans["execution_mode"].startswith("staged") and "Shuffle" in plans["distributed_plan"]


def test_a_killed_executor_is_started_again_and_queries_go_on(cluster, cursor):
    victim = cluster["executors"][0]["pid"]
    os.kill(victim, signal.SIGKILL)
    rows(cursor, "SET grappe.execution_mode = 'staged'")
    assert rows(cursor, "SELECT count(*) FROM range(0, 100000) WHERE value % 2 = 0") == [(50_000,)]
    rows(cursor, "SET grappe.execution_mode = 'auto'")
    end = time.monotonic() + RECOVERY_SECONDS_MAX
    while True:
        active = rows(cursor, "SELECT count(*) FROM system.executors WHERE state = 'active' AND pid <> %d" % victim)
        if active == [(3,)]:
            break
        assert time.monotonic() < end, f"{active} executors after {RECOVERY_SECONDS_MAX} s"
        time.sleep(0.2)


def test_an_executor_of_another_address_says_so(grappe):
    refused = grappe("executor", "--coordinator", "no-port", "--work-dir", "work")
    assert refused.returncode == 1 and "no-port" in refused.stderr


def test_two_executors_cannot_share_a_work_directory(cluster, grappe, tmp_path):
    command = [BINARY, "executor", "--coordinator", cluster["cluster"], "--work-dir", str(tmp_path / "work")]
    first = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=clean_environment()
    )
    assert json.loads(first.stdout.readline())["pid"] == first.pid
    refused = grappe("executor", "--coordinator", cluster["cluster"], "--work-dir", str(tmp_path / "work"))
    assert refused.returncode == 1 and "another executor works in" in refused.stderr
    first.terminate()
    assert first.wait(90) == 0
