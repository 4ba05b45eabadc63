"""pandas over an ADBC connection."""

import datetime
import decimal

import adbc_driver_flightsql.dbapi as flightsql
import pandas
import pyarrow as pa
import pytest

# There are no transactions, and tools that open connections themselves do not know it.
pytestmark = pytest.mark.filterwarnings("ignore:Cannot disable autocommit")


FRAME = pandas.DataFrame(
    {
        "id": [1, 2, 3],
        "ratio": [1.5, float("nan"), -2.0],
        "name": ["a", None, ""],
        "is_open": [True, False, True],
        "at": pandas.to_datetime(["2024-01-01 12:30", "2024-02-29 00:00", None]),
        "Two words": [10, 20, 30],
    }
)


def read_all(connection, **options):
    return pandas.read_sql('SELECT * FROM "Trips" ORDER BY id', connection, **options)


def test_pandas_writes_a_frame_and_reads_it_back_equal(connection, target):
    assert FRAME.to_sql(target, connection, index=False) == 3
    pandas.testing.assert_frame_equal(read_all(connection), FRAME)
    pandas.testing.assert_frame_equal(pandas.read_sql_table(target, connection), FRAME)


def test_pandas_writes_to_a_table_that_is_there_or_not(connection, target):
    FRAME.to_sql(target, connection, index=False, if_exists="append")
    with pytest.raises(ValueError, match="already exists"):
        FRAME.to_sql(target, connection, index=False, if_exists="fail")
    FRAME.to_sql(target, connection, index=False, if_exists="append")
    assert len(read_all(connection)) == 6
    FRAME[["id"]].to_sql(target, connection, index=False, if_exists="replace")
    pandas.testing.assert_frame_equal(read_all(connection), FRAME[["id"]])


def test_pandas_empties_a_table_and_fills_it_again(connection, target):
    FRAME.to_sql(target, connection, index=False)
    FRAME.head(1).to_sql(target, connection, index=False, if_exists="delete_rows")
    pandas.testing.assert_frame_equal(read_all(connection), FRAME.head(1))


def test_pandas_writes_into_a_schema(connection, orchard):
    for mode in ("fail", "append", "replace"):
        FRAME.to_sql("Plums", connection, schema="orchard", index=False, if_exists=mode)
    # read_sql_table would forget the schema.
    back = pandas.read_sql('SELECT * FROM orchard."Plums" ORDER BY id', connection)
    pandas.testing.assert_frame_equal(back, FRAME)


@pytest.mark.parametrize(
    "index",
    [
        pandas.Index([7, 8, 9], name="id"),
        pandas.Index(["x", "y", "z"], name="id"),
        pandas.date_range("2024-01-01", periods=3, name="id", unit="us"),
    ],
    ids=["numbers", "text", "dates"],
)
def test_pandas_writes_an_index_as_a_column(connection, target, index):
    sent = FRAME[["ratio"]].set_index(index)
    sent.to_sql(target, connection)
    back = read_all(connection, index_col="id")
    pandas.testing.assert_frame_equal(back, sent, check_freq=False)


def test_pandas_writes_an_index_of_two_levels_and_one_without_a_name(connection, target):
    index = pandas.MultiIndex.from_tuples([(1, "a"), (1, "b"), (2, "a")], names=["id", "part"])
    sent = FRAME[["ratio"]].set_index(index)
    sent.to_sql(target, connection)
    pandas.testing.assert_frame_equal(read_all(connection, index_col=["id", "part"]).sort_index(), sent)
    FRAME.iloc[[0, 2]].to_sql(target, connection, if_exists="replace")
    assert read_all(connection)["__index_level_0__"].to_list() == [0, 2]


BERLIN = pandas.to_datetime(["2024-07-01", None]).tz_localize("Europe/Berlin")
COLUMNS = {
    "time zone": pandas.Series(BERLIN),
    "nanoseconds": pandas.Series(["2024-01-01T00:00:00.123456", None], dtype="datetime64[ns]"),
    "categories": pandas.Series(["x", None], dtype="category"),
    "whole numbers with nothing": pandas.Series([2**62 + 1, None], dtype="Int64"),
    "small numbers": pandas.Series([255, None], dtype="UInt8"),
    "truth with nothing": pandas.Series([True, None], dtype="boolean"),
    "text": pandas.Series(["ä\n'\"", None], dtype="string"),
    "dates": pandas.Series([datetime.date(2024, 2, 29), None]),
    "times": pandas.Series([datetime.time(23, 59, 59, 999_999), None]),
    "decimals": pandas.Series([decimal.Decimal("12345.67"), None]),
    "durations": pandas.Series(pandas.to_timedelta([1, None], unit="s")),
    "bytes": pandas.Series([b"\x00\xff", None]),
    "lists": pandas.Series([[1, 2], None]),
    "structs": pandas.Series([{"a": 1, "b": "x"}, None]),
    "nothing": pandas.Series([None, None]),
}


@pytest.mark.parametrize("series", COLUMNS.values(), ids=COLUMNS)
def test_pandas_gets_every_kind_of_column_back(connection, target, series):
    sent = pandas.DataFrame({"id": [1, 2], "v": series})
    sent.to_sql(target, connection, index=False)
    back = read_all(connection, dtype_backend="pyarrow")["v"]
    expected = pa.Array.from_pandas(series)
    assert pa.array(back).to_pylist() == expected.to_pylist()
    if pa.types.is_timestamp(expected.type):
        assert back.dtype.pyarrow_dtype == expected.type


def test_pandas_learns_why_an_empty_frame_cannot_be_sent(connection, target):
    # pandas gives the driver a table without batches, of which it sends nothing at all, not even the name.
    with pytest.raises(pandas.errors.DatabaseError) as raised:
        FRAME.head(0).to_sql(target, connection, index=False)
    assert "one empty batch" in str(raised.value.__cause__)
    assert pandas.read_sql("SELECT 1 AS n WHERE false", connection).shape == (0, 1)


def test_pandas_writes_and_reads_over_a_connection_that_wanted_transactions(two_executors, target):
    with flightsql.connect(two_executors) as connection:
        FRAME.to_sql(target, connection, index=False)
        pandas.testing.assert_frame_equal(read_all(connection), FRAME)


def test_a_table_with_capitals_is_suggested_to_who_forgets_the_quotes(connection, target):
    FRAME.to_sql(target, connection, index=False)
    with pytest.raises(pandas.errors.DatabaseError, match="did you mean Trips"):
        pandas.read_sql("SELECT * FROM Trips", connection)
