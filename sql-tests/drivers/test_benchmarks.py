"""`grappe bench` beside an engine that shares no code with it: every answer is the same."""

import sys

import pytest


@pytest.mark.parametrize("mode", ["auto", "local"])
def test_groups_and_joins_have_the_answers_of_duckdb(grappe, mode):
    arguments = ["--scale", "0.01", "--peers", "duckdb", "--peer-python", sys.executable, "--verify", "--mode", mode]
    done = grappe("bench", "h2o", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" ok ") == 15 and "15 of 15 queries" in done.stdout, done.stdout


def test_tpch_is_verified_where_no_answers_are_stored(grappe):
    arguments = ["--scale", "0.02", "--peers", "duckdb", "--peer-python", sys.executable, "--verify"]
    done = grappe("bench", "tpch", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" ok ") == 22, done.stdout
