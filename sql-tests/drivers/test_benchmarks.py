"""`grappe bench` beside an engine that shares no code with it: every answer is the same."""

import sys

import pytest


@pytest.mark.parametrize("mode", ["auto", "local"])
def test_groups_and_joins_have_the_answers_of_duckdb(grappe, mode):
    assert_verified(grappe, 15, "h2o", "--scale", "0.01", "--mode", mode)


@pytest.mark.parametrize("mode", ["auto", "local"])
def test_questions_of_page_views_have_the_answers_of_duckdb(grappe, mode):
    assert_verified(grappe, 43, "clickbench", "--scale", "0.05", "--mode", mode)


def test_tpch_is_verified_where_no_answers_are_stored(grappe):
    assert_verified(grappe, 22, "tpch", "--scale", "0.02")


def test_tpcds_has_the_answers_of_duckdb(grappe):
    assert_verified(grappe, 99, "tpcds", "--scale", "0.01")


def assert_verified(grappe, queries, suite, *arguments):
    """Runs a suite beside duckdb: each answer is compared, and none differs."""
    done = grappe("bench", suite, *arguments, "--peers", "duckdb", "--peer-python", sys.executable, "--verify")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" ok ") == queries, done.stdout
    assert f"{queries} of {queries} queries" in done.stdout, done.stdout
