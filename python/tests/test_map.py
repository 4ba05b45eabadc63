"""One SQL function over many inputs, in one process and on a cluster."""

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import grappe


@pytest.fixture(scope="module", params=["embedded", "cluster"])
def anywhere(request):
    """The same calls with and without executors."""
    if request.param == "embedded":
        yield request.getfixturevalue("client")
    else:
        with grappe.connect(request.getfixturevalue("cluster").url) as client:
            yield client


def test_an_expression_is_applied_to_each_value(anywhere):
    got = anywhere.map("input * 2 + 1 -- twice", [3, 1, 2])
    pd.testing.assert_frame_equal(got, pd.DataFrame({"input": [3, 1, 2], "result": [7, 3, 5]}))


def test_a_function_gets_the_columns_as_arguments(anywhere):
    frame = pl.DataFrame({"base": [2.0, 3.0], "Exponent": [3, 2]})
    got = anywhere.map("power", frame)
    assert isinstance(got, pl.DataFrame) and got["result"].to_list() == [8.0, 9.0]
    assert got.columns == ["base", "Exponent", "result"]


def test_a_query_runs_for_each_input(anywhere):
    inputs = pa.table({"low": [0, 5], "high": [3, 7]})
    got = anywhere.map("SELECT value, value * $2 AS v FROM range(0, 10) WHERE value >= $1 AND value < $2 ORDER BY 1", inputs)
    assert got.to_pydict() == {"low": [0, 0, 0, 5, 5], "high": [3, 3, 3, 7, 7], "value": [0, 1, 2, 5, 6], "v": [0, 3, 6, 35, 42]}


def test_a_table_function_runs_for_each_input(anywhere):
    got = anywhere.map("generate_series", pd.DataFrame({"a": [1, 7], "b": [2, 8]}))
    assert got["value"].tolist() == [1, 2, 7, 8] and got["a"].tolist() == [1, 1, 7, 7]


def test_the_work_is_split_over_the_executors(cluster):
    with grappe.connect(cluster.url) as client:
        got = client.map("input + 1 -- split", list(range(10_000)))
        assert got["result"].tolist() == list(range(1, 10_001))
        sql = "SELECT mode, tasks FROM system.queries WHERE statement LIKE '%-- split%' AND statement NOT LIKE '%system%'"
        [(mode, tasks)] = list(client.sql(sql))
        assert mode == "staged" and tasks >= 2
        # What it set and made is gone.
        assert list(client.sql("SHOW grappe.execution_mode"))[0][1] == "auto"
        assert not [name for name in client.tables() if name.startswith("grappe_map")]


def test_an_input_that_fails_is_named(client):
    with pytest.raises(grappe.InvalidError, match=r"input 2 \(0\): division by zero"):
        client.map("SELECT 10 / $1 AS q", [1, 2, 0, 4])
    with pytest.raises(grappe.InvalidError, match="division by zero"):
        client.map("10 / input", [1, 2, 0, 4])


@pytest.mark.parametrize(
    ("function", "inputs", "says"),
    [
        (len, ["a"], "Python comes later"),
        ("", ["a"], "function is SQL"),
        ("nonsense_function", ["a"], "no function"),
        ("sum", [1], "AGGREGATE"),
        ("upper(input)", [], "no inputs"),
        ("upper(input)", "text", "give a list"),
        ("upper(input)", ["a", 1], "not of one type"),
        ("upper(x)", {"result": ["a"]}, '"result"'),
        ("SELECT 1 AS input, $1", ["a"], 'both have a column "input"'),
        ("missing + 1", [1], "missing"),
    ],
)
def test_what_cannot_be_mapped_is_refused(client, function, inputs, says):
    with pytest.raises(grappe.Error, match=says):
        client.map(function, inputs)
    assert not [name for name in client.tables() if name.startswith("grappe_map")]
