"""polars over an ADBC connection, and by address."""

import datetime
import decimal

import adbc_driver_manager
import polars
import polars.testing
import pytest

# There are no transactions, and tools that open connections themselves do not know it.
pytestmark = pytest.mark.filterwarnings("ignore:Cannot disable autocommit")


@pytest.fixture
def uri(two_executors):
    return two_executors.replace("grpc://", "flightsql://") + "?transport=tcp"


POLARS = {
    "integers": polars.Series([1, None], dtype=polars.Int64),
    "small integers": polars.Series([255, None], dtype=polars.UInt8),
    "floats": polars.Series([1.5, float("nan"), None]),
    "text": polars.Series(["a", "", None]),
    "booleans": polars.Series([True, None]),
    "decimals": polars.Series([decimal.Decimal("-12.34"), None], dtype=polars.Decimal(12, 2)),
    "dates": polars.Series([datetime.date(2024, 2, 29), datetime.date(1, 1, 1), None]),
    "datetimes": polars.Series([datetime.datetime(1960, 1, 1, 0, 0, 0, 1), None]),
    "milliseconds": polars.Series([datetime.datetime(2024, 1, 1), None], dtype=polars.Datetime("ms")),
    "time zone": polars.Series([datetime.datetime(2024, 7, 1), None]).dt.replace_time_zone("Europe/Berlin"),
    "durations": polars.Series([datetime.timedelta(days=-1, seconds=1), None]),
    "times": polars.Series([datetime.time(23, 59, 59, 999_999), None]),
    "binary": polars.Series([b"\x00\xff", b"", None]),
    "arrays": polars.Series([[1, 2], None], dtype=polars.Array(polars.Int64, 2)),
    "structs": polars.Series([{"a": 1, "b": "x"}, {"a": None, "b": None}, None]),
    "lists": polars.Series([[1, 2], [], None]),
    "lists of text": polars.Series([["a", None], [], None]),
    "structs of lists": polars.Series([{"l": [1]}, None]),
}


@pytest.mark.parametrize("series", POLARS.values(), ids=POLARS)
def test_polars_gets_every_kind_of_column_back(connection, target, series):
    sent = polars.DataFrame({"v": series})
    assert sent.write_database(target, connection) == len(series)
    back = polars.read_database('SELECT * FROM "Trips"', connection)
    polars.testing.assert_frame_equal(back, sent)


@pytest.mark.parametrize("dtype", [polars.Categorical, polars.Enum(["x", "y"])], ids=str)
def test_polars_gets_categories_back_as_text(connection, target, dtype):
    sent = polars.DataFrame({"v": polars.Series(["x", "y", None], dtype=dtype)})
    sent.write_database(target, connection)
    back = polars.read_database('SELECT * FROM "Trips"', connection)
    polars.testing.assert_frame_equal(back, sent.cast(polars.String))


NUMBERS = polars.DataFrame({"id": [1, 2, 3], "name": ["a", "b", None]})


def count(connection, name='"Trips"'):
    return polars.read_database(f"SELECT count(*) FROM {name}", connection).item()


def test_polars_writes_to_a_table_that_is_there_or_not(connection, target):
    NUMBERS.write_database(target, connection, if_table_exists="append")
    with pytest.raises(adbc_driver_manager.dbapi.Error, match="already exists"):
        NUMBERS.write_database(target, connection, if_table_exists="fail")
    NUMBERS.write_database(target, connection, if_table_exists="append")
    assert count(connection) == 6
    NUMBERS.write_database(target, connection, if_table_exists="replace")
    assert count(connection) == 3


def test_polars_writes_to_a_name_with_a_schema_and_a_catalog(connection, orchard):
    NUMBERS.write_database("grappe.orchard.plums", connection)
    NUMBERS.write_database("orchard.plums", connection, if_table_exists="append")
    assert count(connection, "orchard.plums") == 6


def test_polars_writes_an_empty_frame(connection, target):
    NUMBERS.clear().write_database(target, connection)
    back = polars.read_database('SELECT * FROM "Trips"', connection)
    polars.testing.assert_frame_equal(back, NUMBERS.clear())


def test_polars_writes_many_rows(connection, target):
    sent = polars.DataFrame({"id": range(300_000), "pad": ["x" * 20] * 300_000})
    assert sent.write_database(target, connection) == 300_000
    back = polars.read_database('SELECT count(*) AS n, sum(id) AS s, max(pad) AS m FROM "Trips"', connection)
    assert back.row(0) == (300_000, 44_999_850_000, "x" * 20)


def test_polars_reads_and_writes_by_address(uri, target):
    NUMBERS.write_database(target, uri, engine="adbc")
    back = polars.read_database_uri('SELECT * FROM "Trips" ORDER BY id', uri, engine="adbc")
    polars.testing.assert_frame_equal(back, NUMBERS)


def test_polars_reads_with_parameters_in_batches_and_as_other_types(connection, uri):
    sql, parameters = "SELECT value AS n FROM range(0, 20000) WHERE value < ?", {"parameters": [15_000]}
    assert polars.read_database_uri(sql, uri, engine="adbc", execute_options=parameters).height == 15_000
    batches = polars.read_database(sql, connection, execute_options=parameters, iter_batches=True, batch_size=1_000)
    assert sum(batch.height for batch in batches) == 15_000
    assert polars.read_database("SELECT 1 AS n", connection, schema_overrides={"n": polars.Int8}).schema["n"] == polars.Int8
