"""The ADBC Flight SQL driver against `grappe server`: run queries and DDL, browse tables, cancel, get clear errors."""

import adbc_driver_manager
import pyarrow as pa
import pytest


def rows(cursor, sql):
    cursor.execute(sql)
    return cursor.fetchall()


def test_a_query_gives_the_rows_and_types_that_were_asked_for(cursor):
    cursor.execute("SELECT 1 AS a, 'x' AS b, CAST(1.50 AS DECIMAL(5,2)) AS c, DATE '2024-02-29' AS d, NULL AS e")
    table = cursor.fetch_arrow_table()
    assert table.schema.types == [pa.int64(), pa.string(), pa.decimal128(5, 2), pa.date32(), pa.null()]
    assert str(table.column("c")[0].as_py()) == "1.50"


def test_an_empty_result_keeps_its_columns(cursor):
    cursor.execute("SELECT 1 AS a, 'x' AS b WHERE false")
    table = cursor.fetch_arrow_table()
    assert (table.num_rows, table.column_names) == (0, ["a", "b"])


def test_aggregates_over_non_null_columns_announce_the_schema_that_they_stream(cursor):
    cursor.execute("SELECT sum(v) AS s, count(*) AS n FROM (VALUES (1), (2)) t(v)")
    assert cursor.fetchall() == [(3, 2)]


def test_statements_with_an_effect_run_once(cursor):
    rows(cursor, "CREATE TABLE once(x BIGINT)")
    rows(cursor, "INSERT INTO once VALUES (1), (2)")
    assert rows(cursor, "SELECT count(*) FROM once") == [(2,)]
    cursor.executescript("INSERT INTO once VALUES (3)")
    assert rows(cursor, "SELECT sum(x) FROM once") == [(6,)]
    rows(cursor, "DROP TABLE once")


def test_a_table_made_in_one_connection_is_seen_in_another(server):
    with server.connect() as one, server.connect() as other, one.cursor() as writer, other.cursor() as reader:
        rows(writer, "CREATE VIEW shared AS SELECT 42 AS answer")
        assert rows(reader, "SELECT answer FROM shared") == [(42,)]
        rows(reader, "DROP VIEW shared")


def test_settings_belong_to_a_session(server):
    with server.connect() as one, server.connect() as other, one.cursor() as a, other.cursor() as b:
        rows(a, "SET datafusion.execution.target_partitions = 7")
        assert rows(a, "SHOW datafusion.execution.target_partitions")[0][1] == "7"
        assert rows(b, "SHOW datafusion.execution.target_partitions")[0][1] != "7"


def test_tables_can_be_browsed(server, cursor):
    rows(cursor, "CREATE TABLE browsed(id BIGINT NOT NULL, name TEXT)")
    with server.connect() as connection:
        objects = connection.adbc_get_objects(
            depth="columns", db_schema_filter="public", table_name_filter="brow%"
        ).read_all()
        [catalog] = objects.to_pylist()
        [schema] = catalog["catalog_db_schemas"]
        [table] = schema["db_schema_tables"]
        assert (catalog["catalog_name"], schema["db_schema_name"]) == ("grappe", "public")
        assert (table["table_name"], table["table_type"]) == ("browsed", "TABLE")
        assert [column["column_name"] for column in table["table_columns"]] == ["id", "name"]
        assert connection.adbc_get_table_types() == ["TABLE", "VIEW"]
        assert connection.adbc_get_table_schema("browsed").names == ["id", "name"]
        assert connection.adbc_get_info()["vendor_name"] == "Grappe"
    rows(cursor, "DROP TABLE browsed")


@pytest.mark.parametrize(
    ("sql", "kind", "says"),
    [
        ("SELECT nam FROM (VALUES (1)) t(name)", "ProgrammingError", "did you mean t.name"),
        ("SELEC 1", "ProgrammingError", "syntax error"),
        ("SELECT * FROM nowhere", "ProgrammingError", 'table "nowhere" not found'),
        ("SELECT 1/0", "ProgrammingError", "division by zero"),
        ("SELECT * FROM 'missing.parquet'", "ProgrammingError", "missing.parquet"),
        ("SET grappe.execution_mode = 'turbo'", "ProgrammingError", "use 'auto'"),
    ],
)
def test_a_users_mistake_is_never_our_fault(cursor, sql, kind, says):
    with pytest.raises(adbc_driver_manager.dbapi.Error) as raised:
        rows(cursor, sql)
    assert type(raised.value).__name__ == kind
    assert says in str(raised.value)
    assert "INTERNAL" not in str(raised.value)


def test_a_mode_that_is_not_there_says_what_to_run(cursor):
    rows(cursor, "SET grappe.execution_mode = 'streamed'")
    with pytest.raises(adbc_driver_manager.dbapi.Error, match="no executor is connected"):
        rows(cursor, "SELECT count(*) FROM (VALUES (1)) t")


def test_a_cancelled_query_ends_on_the_server_too(server, cursor):
    with server.connect() as connection, connection.cursor() as long:
        long.execute("SELECT a.value FROM generate_series(1, 100000000000) a -- endless")
        reader = long.fetch_record_batch()
        reader.read_next_batch()
        long.adbc_cancel()
    state = "running"
    for _ in range(200):
        [(state,)] = rows(
            cursor,
            "SELECT state FROM system.queries WHERE statement LIKE '%-- endless' AND statement NOT LIKE '%LIKE%'"
            " ORDER BY started DESC LIMIT 1",
        )
        if state != "running":
            break
    assert state == "cancelled"


def test_a_result_larger_than_memory_reaches_a_slow_reader(tmp_path_factory):
    """2 GB of rows through a server that may hold 64 MB, read with pauses between the batches."""
    from servers import Server

    server = Server(tmp_path_factory.mktemp("small"), "--memory", "64MB")
    try:
        with server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT value, repeat('x', 200) AS pad FROM generate_series(1, 10000000)")
            seen = sum(batch.num_rows for batch in cursor.fetch_record_batch())
        assert seen == 10_000_000
        with open(f"/proc/{server.process.pid}/status") as status:
            [peak] = [int(line.split()[1]) for line in status if line.startswith("VmHWM")]
        assert peak < 600_000, f"the server held {peak} kB at its peak"
    finally:
        assert server.stop() == 0
