"""Every kind of column on its way into a table and back. docs/python.md has the same table for readers."""

import datetime
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal

import grappe

DAY = datetime.date(2024, 2, 29)
NOON = datetime.time(12, 30, 1, 5)
CENTS = decimal.Decimal("12.30")
STAMPS = pd.to_datetime(["2024-02-29 12:30:01.000005", None, "1969-12-31 00:00:00.000001"])

PANDAS = {
    **{dtype: pd.Series([1, 0, 100], dtype=dtype) for dtype in ("int8", "int16", "int32", "int64")},
    **{dtype: pd.Series([1, 0, 200], dtype=dtype) for dtype in ("uint8", "uint16", "uint32", "uint64")},
    **{dtype: pd.Series([1.5, None, -0.0], dtype=dtype) for dtype in ("float32", "float64")},
    **{dtype: pd.Series([1, None, 3], dtype=dtype) for dtype in ("Int8", "Int64", "UInt32", "Float64", "Float32")},
    **{dtype: pd.Series([1, None, 3], dtype=dtype) for dtype in ("int64[pyarrow]", "double[pyarrow]")},
    "bool": pd.Series([True, False, True]),
    "boolean": pd.Series([True, None, False], dtype="boolean"),
    "bool object": pd.Series([True, None, False], dtype=object),
    "str": pd.Series(["", None, "ünï"]),
    "string": pd.Series(["", None, "ünï"], dtype="string"),
    "string object": pd.Series(["", None, "ünï"], dtype=object),
    "bytes": pd.Series([b"", None, b"\x00\xff"], dtype=object),
    "category": pd.Series(["b", None, "a"], dtype="category"),
    "ordered category": pd.Series(pd.Categorical(["low", None, "high"], ["low", "mid", "high"], ordered=True)),
    "category of numbers": pd.Series(pd.Categorical([3, 1, 3], [3, 2, 1])),
    "category of numbers and nulls": pd.Series(pd.Categorical([3, None, 3], [3, 2, 1])),
    "category of days": pd.Series(pd.Categorical(pd.to_datetime(["2024-01-02", "2024-01-01"]))),
    "datetime64[us]": pd.Series(STAMPS.astype("datetime64[us]")),
    "datetime64[ns]": pd.Series(STAMPS.astype("datetime64[ns]")),
    "datetime64[s]": pd.Series(pd.to_datetime(["2024-01-01", None]).astype("datetime64[s]")),
    "datetime64[us, UTC]": pd.Series(STAMPS.astype("datetime64[us]").tz_localize("UTC")),
    "datetime64[ns, Europe/Paris]": pd.Series(STAMPS.astype("datetime64[ns]").tz_localize("Europe/Paris")),
    "timedelta64[us]": pd.Series(pd.to_timedelta([1, None, -3], unit="s").astype("timedelta64[us]")),
    "timedelta64[ns]": pd.Series(pd.to_timedelta([1, None, -3], unit="ms").astype("timedelta64[ns]")),
    "date": pd.Series([DAY, None], dtype=object),
    "time": pd.Series([NOON, None], dtype=object),
    "decimal": pd.Series([CENTS, None, decimal.Decimal("-0.01")], dtype=object),
    "list": pd.Series([[1, 2], [], None], dtype=object),
    "list of structs": pd.Series([[{"a": 1, "b": ["x"]}], None], dtype=object),
    "struct": pd.Series([{"a": 1, "b": {"c": [1.5]}}, None], dtype=object),
    "nothing but nulls": pd.Series([None, None], dtype=object),
}

POLARS = {
    **{str(kind): pl.Series([1, None, 100], dtype=kind) for kind in (pl.Int8, pl.Int64, pl.UInt8, pl.UInt64)},
    **{str(kind): pl.Series([1.5, None, float("nan")], dtype=kind) for kind in (pl.Float32, pl.Float64)},
    "Boolean": pl.Series([True, None]),
    "String": pl.Series(["", None, "ünï"]),
    "Binary": pl.Series([b"", None, b"\x00\xff"]),
    "Categorical": pl.Series(["b", None, "a"], dtype=pl.Categorical()),
    "Enum": pl.Series(["b", None, "a"], dtype=pl.Enum(["c", "b", "a"])),
    "Date": pl.Series([DAY, None]),
    "Time": pl.Series([NOON, None]),
    **{
        f"Datetime({unit}, {zone})": pl.Series([datetime.datetime(2024, 2, 29, 12), None], dtype=pl.Datetime(unit)).dt.replace_time_zone(zone)
        for unit in ("ms", "us", "ns") for zone in (None, "Europe/Paris")
    },
    **{f"Duration({unit})": pl.Series([datetime.timedelta(1, 5), None], dtype=pl.Duration(unit)) for unit in ("ms", "us", "ns")},
    "Decimal": pl.Series([CENTS, None], dtype=pl.Decimal(20, 2)),
    "List": pl.Series([[1, 2], [], None]),
    "Array": pl.Series([[1, 2], None], dtype=pl.Array(pl.Int64, 2)),
    "Struct": pl.Series([{"a": 1, "b": ["x"]}, {"a": None, "b": None}]),
    "Null": pl.Series([None, None]),
}

ARROW = {
    **{
        str(kind): (pa.array(["b", None, "a"]).cast(kind), pa.string())
        for kind in (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()))
    },
    **{
        str(kind): (pa.array([b"b", None], kind), pa.binary()) for kind in (pa.binary(), pa.large_binary(), pa.binary_view())
    },
    "fixed_size_binary[3]": (pa.array([b"abc", None], pa.binary(3)), pa.binary(3)),
    "null": (pa.nulls(2), pa.string()),
    "large_list": (pa.array([[1], None], pa.large_list(pa.int64())), pa.list_(pa.int64())),
    "list_view": (pa.array([[1], None], pa.list_view(pa.int64())), pa.list_view(pa.int64())),
    "list<large_string>": (pa.array([["a"], None], pa.list_(pa.large_string())), pa.list_(pa.string())),
    "run_end_encoded": (pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"]), pa.string()),
    "map": (pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())), pa.map_(pa.string(), pa.int64())),
    "decimal256": (pa.array([CENTS, None], pa.decimal256(60, 2)), pa.decimal256(60, 2)),
    "float16": (pa.array([1.5, None], pa.float16()), pa.float16()),
    "time32[s]": (pa.array([3_723, None], pa.int32()).cast(pa.time32("s")), pa.time32("s")),
    "date64": (pa.array([DAY, None], pa.date64()), pa.date64()),
}


@pytest.mark.parametrize("kind", PANDAS)
def test_a_pandas_column_comes_back_as_it_went(client, name, kind):
    frame = pd.DataFrame({"Vals": PANDAS[kind]})
    table = client.upload(frame, name)
    pd.testing.assert_frame_equal(table.to_pandas(), frame)
    selected = client.sql(f'SELECT "Vals" FROM "{name}"').to_pandas()
    pd.testing.assert_frame_equal(selected, frame)


# Categories of other kinds than text and numbers are those that the values have.
@pytest.mark.parametrize("kind", [kind for kind in PANDAS if kind != "category of days"])
def test_an_empty_pandas_frame_comes_back_as_it_went(client, name, kind):
    frame = pd.DataFrame({"Vals": PANDAS[kind].iloc[:0]})
    got = client.upload(frame, name).to_pandas()
    pd.testing.assert_frame_equal(got, frame)


@pytest.mark.parametrize("kind", POLARS)
def test_a_polars_column_comes_back_as_it_went(client, name, kind):
    for frame in (pl.DataFrame({"Vals": POLARS[kind]}), pl.DataFrame({"Vals": POLARS[kind][:0]})):
        assert_frame_equal(client.upload(frame, name, "replace").to_polars(), frame)
        assert_frame_equal(client.upload(frame.lazy(), name, "replace").to_polars(), frame)


@pytest.mark.parametrize("kind", ARROW)
def test_an_arrow_column_keeps_its_values(client, name, kind):
    values, expected = ARROW[kind]
    for sent in (pa.table({"Vals": values}), pa.table({"Vals": values.slice(0, 0)})):
        got = client.upload(sent, name, "replace").to_arrow()
        assert got["Vals"].to_pylist() == sent["Vals"].to_pylist()
        assert got.schema.field("Vals").type == expected


INDEXES = {
    "counting": pd.RangeIndex(3),
    "counting from one": pd.RangeIndex(1, 4),
    "counting, with a name": pd.RangeIndex(3, name="row"),
    "filtered": pd.Index([0, 2, 5]),
    "days": pd.date_range("2024-01-01", periods=3, name="day"),
    "days in Paris": pd.date_range("2024-03-30", periods=3, tz="Europe/Paris"),
    "texts": pd.Index(["b", "a", "a"], name="Key"),
    "categories": pd.CategoricalIndex(["b", "a", "a"], name="c"),
    "two levels": pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["Letter", None]),
}


@pytest.mark.parametrize("kind", INDEXES)
def test_an_index_comes_back_as_it_went(client, name, kind):
    frame = pd.DataFrame({"v": [1.5, 2.5, 3.5], "w": ["x", "y", "z"]}, index=INDEXES[kind])
    pd.testing.assert_frame_equal(client.upload(frame, name).to_pandas(), frame)
    columns = client.sql(f'SELECT * FROM "{name}"').to_pandas().columns.tolist()
    reset = frame if kind == "counting" else frame.reset_index()
    assert columns == reset.columns.tolist()


def test_an_index_can_be_left_out_sent_and_chosen(client, name):
    frame = pd.DataFrame({"v": [1, 2]}, index=pd.Index(["a", "b"], name="k"))
    assert client.upload(frame, name, index=False).schema.names == ["v"]
    assert client.upload(frame.reset_index(), name, "replace", index=True).schema.names == ["index", "k", "v"]
    chosen = client.sql(f'SELECT k, v FROM "{name}"').to_pandas(index="k")
    pd.testing.assert_frame_equal(chosen, frame)


def test_numbers_as_column_names_come_back(client, name):
    frame = pd.DataFrame([[1, 2.5], [3, 4.5]])
    table = client.upload(frame, name)
    pd.testing.assert_frame_equal(table.to_pandas(), frame)
    assert list(client.sql(f'SELECT "0", "1" FROM "{name}" ORDER BY 1')) == [(1, 2.5), (3, 4.5)]


@pytest.mark.parametrize("column", ["Capital", "two words", 'quo"te', "ünï", "select", "a.b", "semi;colon", "$1"])
def test_any_identifier_can_be_used(client, column):
    table = f"T-{column}"
    client.upload(pd.DataFrame({column: [1, 2]}), table)
    quoted = grappe.statements.quoted
    assert client.table(table).to_pandas()[column].tolist() == [1, 2]
    assert list(client.sql(f"SELECT sum({quoted(column)}) FROM {quoted(table)}")) == [(3,)]
    client.sql(f"DROP TABLE {quoted(table)}")


def test_a_computed_column_is_what_was_computed(client, name):
    """The dtype that a column was uploaded with holds for the column, not for what is made of it."""
    frame = pd.DataFrame({"c": pd.Categorical(["a", "b"]), "n": pd.array([1, None], "Int64"), "o": [1, 2]})
    client.upload(frame, name)
    got = client.sql(f'SELECT upper(c) AS c, CAST(n AS DOUBLE) AS n, -o AS o FROM "{name}" ORDER BY c').to_pandas()
    assert got["c"].tolist() == ["A", "B"] and got["c"].dtype == "str"
    assert got["n"].dtype == "float64" and got["o"].tolist() == [-1, -2]


def test_a_dtype_backend_may_be_asked_for(client):
    result = client.sql("SELECT 1 AS i, CAST(NULL AS BIGINT) AS n, 'x' AS t, true AS b, 1.5e0 AS f")
    assert [str(t) for t in result.to_pandas(dtype_backend="numpy_nullable").dtypes] == ["Int64", "Int64", "string", "boolean", "Float64"]
    assert [str(t) for t in result.to_pandas(dtype_backend="pyarrow").dtypes] == [
        "int64[pyarrow]", "int64[pyarrow]", "string[pyarrow]", "bool[pyarrow]", "double[pyarrow]"
    ]
    with pytest.raises(grappe.InvalidError, match="numpy_nullable"):
        result.to_pandas(dtype_backend="polars")


def test_many_categories_come_back_as_their_values(client, name):
    values = [f"category {at:06}" for at in range(10_000)]
    frame = pd.DataFrame({"c": pd.Categorical(values, values)})
    got = client.upload(frame, name).to_pandas()["c"]
    assert got.dtype == "category" and sorted(got.tolist()) == values


def test_values_that_are_no_categories_any_more_are_kept(client, name):
    client.upload(pd.DataFrame({"c": pd.Categorical(["a", "b"])}), name)
    client.sql(f"INSERT INTO \"{name}\" VALUES ('new')")
    assert sorted(client.table(name).to_pandas()["c"].tolist()) == ["a", "b", "new"]
    assert np.array_equal(sorted(client.table(name).to_polars()["c"].to_list()), ["a", "b", "new"])
