"""Every Arrow type on its way into a table and back, and as a parameter and back.

`docs/clients.md` has the same table for readers: a type that is not in `ARRIVES_AS` arrives as itself.
"""

import datetime
import decimal

import adbc_driver_manager
import pyarrow as pa
import pytest

MOMENT = datetime.datetime(2024, 2, 29, 12, 30, 1)
YEAR = pa.array([pa.MonthDayNano([1, 15, 123])])
KINDS = pa.array([0, 1], pa.int8())

VALUES = [
    pa.nulls(2),
    pa.array([True, None]),
    *(pa.array([1, None, 100], kind) for kind in (pa.int8(), pa.int16(), pa.int32(), pa.int64())),
    *(pa.array([1, None, 200], kind) for kind in (pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64())),
    *(pa.array([1.5, None, -0.0], kind) for kind in (pa.float16(), pa.float32(), pa.float64())),
    *(pa.array(["", None, "ünïcode"], kind) for kind in (pa.string(), pa.large_string(), pa.string_view())),
    *(pa.array([b"", None, b"\x00\xff"], kind) for kind in (pa.binary(), pa.large_binary(), pa.binary_view())),
    pa.array([b"abc", None], pa.binary(3)),
    *(pa.array([datetime.date(2024, 2, 29), None], kind) for kind in (pa.date32(), pa.date64())),
    *(pa.array([3_723, None], pa.int32()).cast(kind) for kind in (pa.time32("s"), pa.time32("ms"))),
    *(pa.array([3_723, None], pa.int64()).cast(kind) for kind in (pa.time64("us"), pa.time64("ns"))),
    *(pa.array([MOMENT, None], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")),
    *(pa.array([MOMENT, None], pa.timestamp(unit, zone)) for unit, zone in (("us", "UTC"), ("ms", "+02:00"), ("ns", "Europe/Paris"))),
    *(pa.array([1, None], pa.duration(unit)) for unit in ("s", "ms", "us", "ns")),
    YEAR,
    *(
        pa.array([decimal.Decimal("1.25"), None], kind)
        for kind in (pa.decimal32(5, 2), pa.decimal64(12, 2), pa.decimal128(20, 2), pa.decimal256(60, 2))
    ),
    pa.array([[1, 2], [], None], pa.list_(pa.int64())),
    pa.array([[1, 2], [], None], pa.large_list(pa.int64())),
    pa.array([["a", None]], pa.list_(pa.string())),
    pa.array([[1, 2], None], pa.list_(pa.int64(), 2)),
    pa.array([{"x": 1, "y": [{"z": "a"}]}, None]),
    pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
    pa.array(["a", "b", "a", None]).dictionary_encode(),
    pa.array([[1, 2], [], None], pa.list_view(pa.int64())),
    pa.array([[1, 2], [], None], pa.large_list_view(pa.int64())),
    pa.RunEndEncodedArray.from_arrays([2, 3], ["a", "b"]),
    pa.UnionArray.from_sparse(KINDS, [pa.array([1, 2]), pa.array(["a", "b"])]),
    pa.UnionArray.from_dense(KINDS, pa.array([0, 0], pa.int32()), [pa.array([1]), pa.array(["b"])]),
]

# Ways to hold values, which arrive as the values; and lists, whose offsets are 32 bits.
ARRIVES_AS = {
    pa.string_view(): pa.string(),
    pa.binary_view(): pa.binary(),
    pa.large_list(pa.int64()): pa.list_(pa.int64()),
    pa.dictionary(pa.int32(), pa.string()): pa.string(),
}
TABLES_KEEP_AS = {
    **ARRIVES_AS,
    pa.large_string(): pa.string(),
    pa.large_binary(): pa.binary(),
    pa.null(): pa.string(),
    pa.run_end_encoded(pa.int64(), pa.string()): pa.string(),
}
TABLES_REFUSE = [pa.month_day_nano_interval(), *(values.type for values in VALUES if pa.types.is_union(values.type))]


@pytest.fixture
def target(cursor):
    yield "kept"
    cursor.execute("DROP TABLE IF EXISTS kept")


def name(values):
    return str(values.type)


@pytest.mark.parametrize("values", VALUES, ids=name)
def test_a_table_keeps_values_and_types(cursor, target, values):
    sent = pa.table({"v": values})
    if values.type in TABLES_REFUSE:
        with pytest.raises(adbc_driver_manager.Error, match="cannot be kept in a table") as raised:
            cursor.adbc_ingest(target, sent, mode="create")
        assert raised.value.status_code == adbc_driver_manager.AdbcStatusCode.INVALID_ARGUMENT
        return
    assert cursor.adbc_ingest(target, sent, mode="create") == len(values)
    cursor.execute("SELECT v FROM kept")
    got = cursor.fetch_arrow_table()
    assert got["v"].to_pylist() == sent["v"].to_pylist()
    assert got.schema.field("v").type == TABLES_KEEP_AS.get(values.type, values.type)


@pytest.mark.parametrize("values", VALUES, ids=name)
def test_a_parameter_keeps_its_value_and_type(cursor, values):
    one = pa.record_batch([values.slice(0, 1)], names=["v"])
    cursor.execute("SELECT $1 AS v", parameters=one)
    got = cursor.fetch_arrow_table()
    assert got["v"].to_pylist() == one["v"].to_pylist()
    assert got.schema.field("v").type == ARRIVES_AS.get(values.type, values.type)
