"""Delta Lake as others speak it: deltalake and polars read and write our tables, and we read theirs."""

import base64
import datetime
import decimal
import json
import struct

import adbc_driver_manager
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from lake import detail, directory, rows

DAYS = [datetime.date(2026, 1, 1), datetime.date(2026, 1, 2), None]
SALES = [(1, "pen", decimal.Decimal("1.50"), DAYS[0]), (2, None, decimal.Decimal("2.50"), DAYS[1]), (3, "ink", None, DAYS[2])]


@pytest.fixture
def sale(cursor):
    """One of our tables, after a few changes."""
    rows(
        cursor,
        "CREATE TABLE sale (id BIGINT NOT NULL, name VARCHAR, price DECIMAL(10, 2), day DATE,"
        " CONSTRAINT paid CHECK (price >= 0)) PARTITIONED BY (day)",
    )
    rows(cursor, "INSERT INTO sale VALUES (1, 'pen', 1.50, DATE '2026-01-01'), (2, 'cap', 1.50, DATE '2026-01-02')")
    rows(cursor, "INSERT INTO sale VALUES (3, 'ink', NULL, NULL), (4, 'pad', 4, DATE '2026-01-02')")
    rows(cursor, "UPDATE sale SET name = NULL, price = price + 1 WHERE id = 2")
    rows(cursor, "DELETE FROM sale WHERE id = 4")
    yield directory(cursor, "sale")
    rows(cursor, "DROP TABLE sale")


def in_order(table):
    return sorted(zip(*(table[name].to_pylist() for name in ("id", "name", "price", "day"))))


def test_deltalake_reads_our_table_with_all_that_is_said_of_it(sale):
    table = DeltaTable(sale)
    assert in_order(table.to_pyarrow_table()) == SALES
    fields = {field.name: (str(field.type.type), field.nullable) for field in table.schema().fields}
    assert fields == {"id": ("long", False), "name": ("string", True), "price": ("decimal(10,2)", True), "day": ("date", True)}
    assert table.metadata().partition_columns == ["day"]
    assert table.metadata().configuration["delta.constraints.paid"] == "price >= 0"
    assert [commit["operation"] for commit in table.history()] == ["DELETE", "UPDATE", "WRITE", "WRITE", "CREATE TABLE"]
    assert sum(pa.table(table.get_add_actions(flatten=True))["num_records"].to_pylist()) == 3
    assert DeltaTable(sale, version=2).to_pyarrow_table().num_rows == 4
    assert in_order(table.to_pyarrow_table(filters=[("day", "=", DAYS[0])])) == SALES[:1]


def append(place, number, price):
    kinds = pa.schema([pa.field("id", pa.int64(), False), ("name", pa.string()), ("price", pa.decimal128(10, 2)), ("day", pa.date32())])
    write_deltalake(place, pa.table([[number], ["nib"], [decimal.Decimal(price)], [DAYS[0]]], schema=kinds), mode="append")


def test_what_deltalake_changes_is_seen_at_once(cursor, sale):
    append(sale, 5, "5.00")
    assert rows(cursor, "SELECT count(*), max(id) FROM sale") == [(4, 5)]
    DeltaTable(sale).update(predicate="id = 5", updates={"name": "'neb'"})
    assert rows(cursor, "SELECT name FROM sale WHERE id = 5") == [("neb",)]
    rows(cursor, "UPDATE sale SET name = 'nub' WHERE name = 'neb'")
    DeltaTable(sale).delete("name = 'nub'")
    assert rows(cursor, "SELECT id FROM sale ORDER BY id") == [(1,), (2,), (3,)]
    DeltaTable(sale).create_checkpoint()
    rows(cursor, "DELETE FROM sale WHERE id = 3")
    assert in_order(DeltaTable(sale).to_pyarrow_table()) == SALES[:2]


@pytest.mark.parametrize("since", ["CREATE", "ALTER"])
def test_deltalake_keeps_our_constraints(cursor, sale, since):
    if since == "ALTER":
        rows(cursor, "ALTER TABLE sale DROP CONSTRAINT paid")
        append(sale, 5, "-5.00")
        rows(cursor, "DELETE FROM sale WHERE id = 5")
        rows(cursor, "ALTER TABLE sale ADD CONSTRAINT paid CHECK (price >= 0)")
    with pytest.raises(DeltaError, match="failed validation check"):
        append(sale, 6, "-6.00")
    assert rows(cursor, "SELECT count(*) FROM sale") == [(3,)]


def test_polars_reads_our_table(sale):
    assert sorted(polars.read_delta(str(sale)).select("id", "name", "price", "day").rows()) == SALES
    lazy = polars.scan_delta(str(sale)).filter(polars.col("day") == DAYS[1]).select("id", "name")
    assert lazy.collect().rows() == [(2, None)]


@pytest.fixture
def register(cursor):
    """Makes the table of others that lies at a place known to us."""
    yield lambda place: rows(cursor, f"CREATE EXTERNAL TABLE theirs STORED AS DELTA LOCATION '{place}'")
    rows(cursor, "DROP TABLE IF EXISTS theirs")


@pytest.mark.parametrize("partition_by", [None, ["day"], ["day", "name"]])
def test_a_table_of_others_reads_right_and_stays_when_it_is_dropped(cursor, register, tmp_path, partition_by):
    columns = zip(*[*SALES, (4, "a/b c=d%é", None, DAYS[0])])
    kinds = pa.schema([("id", pa.int32()), ("name", pa.string()), ("price", pa.decimal128(9, 2)), ("day", pa.date32())])
    theirs = pa.table([*columns], schema=kinds)
    write_deltalake(tmp_path / "theirs", theirs, partition_by=partition_by)
    register(tmp_path / "theirs")
    cursor.execute("SELECT id, name, price, day FROM theirs ORDER BY id")
    read = cursor.fetch_arrow_table()
    assert in_order(read) == [*SALES, (4, "a/b c=d%é", None, DAYS[0])]
    assert read.schema.types == theirs.schema.types
    assert rows(cursor, "SELECT id FROM theirs WHERE day IS NULL") == [(3,)]
    assert rows(cursor, "SELECT id FROM theirs WHERE name = 'a/b c=d%é' AND day = DATE '2026-01-01'") == [(4,)]
    DeltaTable(tmp_path / "theirs").delete("id = 4")
    write_deltalake(tmp_path / "theirs", theirs.slice(0, 1), mode="append")
    assert rows(cursor, "SELECT id, count(*) FROM theirs GROUP BY id ORDER BY id") == [(1, 2), (2, 1), (3, 1)]
    assert rows(cursor, "SELECT count(*) FROM theirs VERSION AS OF 0 WHERE id = 4") == [(1,)]
    rows(cursor, "DROP TABLE theirs")
    assert DeltaTable(tmp_path / "theirs").to_pyarrow_table().num_rows == 4


def write_log(place, protocol, field, added, configuration):
    """The log of a table with one column and one file."""
    schema = json.dumps({"type": "struct", "fields": [field]})
    form = {"provider": "parquet", "options": {}}
    metadata = {"id": "0", "format": form, "schemaString": schema, "partitionColumns": [], "configuration": configuration}
    size = (place / "rows.parquet").stat().st_size
    file = {"path": "rows.parquet", "partitionValues": {}, "size": size, "modificationTime": 0, "dataChange": True}
    (place / "_delta_log").mkdir()
    actions = [{"protocol": protocol}, {"metaData": metadata}, {"add": {**file, **added}}]
    (place / "_delta_log" / f"{0:020}.json").write_text("\n".join(map(json.dumps, actions)))


def deletion_vector(*deleted):
    """An even number of rows of one file, as the protocol writes them into the log: a bitmap of 16-bit numbers in Z85."""
    head = struct.pack("<IQIIIHHI", 1681511377, 1, 0, 12346, 1, 0, len(deleted) - 1, 16)
    bitmap = head + struct.pack(f"<{len(deleted)}H", *deleted)
    python = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"
    z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
    text = base64.b85encode(bitmap).decode().translate(str.maketrans(python, z85))
    return {"storageType": "i", "pathOrInlineDv": text, "sizeInBytes": len(bitmap), "cardinality": len(deleted)}


def test_rows_that_a_deletion_vector_names_are_not_there(cursor, register, tmp_path):
    pq.write_table(pa.table({"n": pa.array(range(10), pa.int64())}), tmp_path / "rows.parquet")
    protocol = {"minReaderVersion": 3, "minWriterVersion": 7, "readerFeatures": ["deletionVectors"], "writerFeatures": ["deletionVectors"]}
    field = {"name": "n", "type": "long", "nullable": True, "metadata": {}}
    added = {"deletionVector": deletion_vector(0, 7), "stats": json.dumps({"numRecords": 10})}
    write_log(tmp_path, protocol, field, added, {"delta.enableDeletionVectors": "true"})
    register(tmp_path)
    assert [n for (n,) in rows(cursor, "SELECT n FROM theirs ORDER BY n")] == [1, 2, 3, 4, 5, 6, 8, 9]
    assert rows(cursor, "SELECT count(*), min(n), max(n) FROM theirs WHERE n <> 9") == [(7, 1, 8)]
    assert rows(cursor, "SELECT count(*) FROM theirs") == [(8,)]
    # What we would write would not keep the vectors: refused, and nothing is changed.
    for sql in ("DELETE FROM theirs WHERE n = 1", "UPDATE theirs SET n = 0"):
        with pytest.raises(adbc_driver_manager.Error, match="(?i)deletion vector"):
            rows(cursor, sql)
    assert detail(cursor, "theirs")["version"] == 0


def test_mapped_columns_are_read_under_their_names(cursor, register, tmp_path):
    pq.write_table(pa.table({"col-1": pa.array([1, 2, None], pa.int64())}), tmp_path / "rows.parquet")
    mapping = {"delta.columnMapping.id": 1, "delta.columnMapping.physicalName": "col-1"}
    field = {"name": "a name", "type": "long", "nullable": True, "metadata": mapping}
    configuration = {"delta.columnMapping.mode": "name", "delta.columnMapping.maxColumnId": "1"}
    write_log(tmp_path, {"minReaderVersion": 2, "minWriterVersion": 5}, field, {}, configuration)
    register(tmp_path)
    assert rows(cursor, 'SELECT "a name" FROM theirs ORDER BY 1 NULLS LAST') == [(1,), (2,), (None,)]
    assert rows(cursor, 'SELECT count(*) FROM theirs WHERE "a name" > 1') == [(1,)]
