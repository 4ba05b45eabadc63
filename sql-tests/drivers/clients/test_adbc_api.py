"""ADBC as Python programs use it: its database interface, and its own calls below that."""

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import pyarrow as pa
import pytest
from pyarrow import flight

from protobuf import any_message, field

# There are no transactions, and tools that open connections themselves do not know it.
pytestmark = pytest.mark.filterwarnings("ignore:Cannot disable autocommit")


def rows(cursor, sql, parameters=None):
    cursor.execute(sql, parameters)
    return cursor.fetchall()


# ADBC, through Python's database interface.


def test_rows_are_fetched_one_by_one_some_at_a_time_and_all(cursor):
    cursor.execute("SELECT value AS n FROM range(0, 10)")
    assert cursor.description[0][0] == "n"
    assert cursor.fetchone() == (0,)
    assert cursor.fetchmany(3) == [(1,), (2,), (3,)]
    assert [row for row in cursor] == [(n,) for n in range(4, 10)]
    assert cursor.fetchone() is None


def test_rows_are_fetched_as_arrow(cursor):
    sql = "SELECT value AS n, 'row ' || value AS name FROM range(0, 50000) ORDER BY n"
    cursor.execute(sql)
    whole = cursor.fetch_arrow_table()
    cursor.execute(sql)
    batches = list(cursor.fetch_record_batch())
    assert len(batches) > 1 and pa.Table.from_batches(batches).equals(whole)
    assert whole.num_rows == 50_000


def test_rows_are_fetched_as_dataframes(cursor):
    cursor.execute("SELECT 1 AS n")
    assert cursor.fetch_df().to_dict("list") == {"n": [1]}
    cursor.execute("SELECT 1 AS n")
    assert cursor.fetch_polars().to_dict(as_series=False) == {"n": [1]}


def test_the_driver_says_who_the_server_is(connection):
    info = connection.adbc_get_info()
    assert (info["vendor_name"], info["driver_adbc_version"]) == ("Grappe", 1_001_000)
    assert info["vendor_version"]


def objects(connection, depth, **filters):
    """Schemas with their tables with their columns, as far down as asked."""
    [catalog] = connection.adbc_get_objects(depth=depth, **filters).read_all().to_pylist()
    assert catalog["catalog_name"] == "grappe"
    return {
        schema["db_schema_name"]: {
            table["table_name"]: [column["column_name"] for column in table["table_columns"] or []]
            for table in schema["db_schema_tables"] or []
        }
        for schema in catalog["catalog_db_schemas"] or []
    }


APPLES = ["id", "Kind", "price"]


@pytest.mark.parametrize(
    ("depth", "filters", "found"),
    [
        ("catalogs", {}, {}),
        ("db_schemas", {"db_schema_filter": "orch%"}, {"orchard": {}}),
        ("tables", {"db_schema_filter": "orchard"}, {"orchard": {"apples": [], "pears": [], "ripe": []}}),
        ("tables", {"db_schema_filter": "orchard", "table_types_filter": ["VIEW"]}, {"orchard": {"ripe": []}}),
        ("tables", {"db_schema_filter": "orchard", "table_types_filter": ["table"]}, {"orchard": {"apples": [], "pears": []}}),
        ("columns", {"db_schema_filter": "orchard", "table_name_filter": "app%"}, {"orchard": {"apples": APPLES}}),
        ("all", {"db_schema_filter": "orchard", "table_name_filter": "_pples"}, {"orchard": {"apples": APPLES}}),
        ("all", {"db_schema_filter": "orchard", "table_name_filter": "apples", "column_name_filter": "K%"},
         {"orchard": {"apples": ["Kind"]}}),
        ("all", {"catalog_filter": "grap%", "db_schema_filter": "orchard", "table_name_filter": "plums"}, {"orchard": {}}),
    ],
)
def test_the_catalog_is_browsed_at_each_depth_with_filters(connection, orchard, depth, filters, found):
    assert objects(connection, depth, **filters) == found


def test_another_catalog_is_empty(connection):
    assert connection.adbc_get_objects(depth="all", catalog_filter="nowhere").read_all().num_rows == 0


def test_the_kinds_of_tables_are_told(connection):
    assert connection.adbc_get_table_types() == ["TABLE", "VIEW"]


def test_the_columns_of_a_table_are_told(connection, orchard):
    schema = connection.adbc_get_table_schema("apples", db_schema_filter="orchard")
    assert schema.remove_metadata().equals(
        pa.schema([pa.field("id", pa.int64(), False), ("Kind", pa.string()), ("price", pa.decimal128(8, 2))])
    )
    for missing in ({"table_name": "plums"}, {"table_name": "apples", "db_schema_filter": "public"}):
        with pytest.raises(adbc_driver_manager.dbapi.Error) as raised:
            connection.adbc_get_table_schema(**missing)
        assert raised.value.status_code == adbc_driver_manager.AdbcStatusCode.NOT_FOUND


def test_the_present_catalog_and_schema_are_told_and_set(connection, cursor, orchard):
    assert (connection.adbc_current_catalog, connection.adbc_current_db_schema) == ("grappe", "public")
    connection.adbc_current_catalog = "grappe"
    connection.adbc_current_db_schema = "orchard"
    assert connection.adbc_current_db_schema == "orchard"
    assert rows(cursor, "SELECT count(*) FROM apples") == [(0,)]


def test_a_setting_is_an_option_of_the_connection(connection, cursor):
    handle, name = connection.adbc_connection, "grappe.execution_mode"
    handle.set_options(**{f"adbc.flight.sql.session.option.{name}": "local"})
    assert rows(cursor, f"SHOW {name}")[0][1] == "local"
    assert handle.get_option(f"adbc.flight.sql.session.option.{name}") == "local"
    handle.set_options(**{f"adbc.flight.sql.session.optionerase.{name}": ""})
    assert handle.get_option(f"adbc.flight.sql.session.option.{name}") == "auto"


def test_columns_and_parameters_are_known_before_a_statement_runs(cursor):
    columns = cursor.adbc_execute_schema("SELECT sum(value) AS s, 'x' AS t FROM range(0, 10)")
    assert (columns.names, columns.types) == (["s", "t"], [pa.int64(), pa.string()])
    parameters = cursor.adbc_prepare("SELECT value FROM range(0, 10) WHERE value > ? AND 'x' = ?")
    assert parameters.types == [pa.int64(), pa.string()]
    assert len(cursor.adbc_execute_schema("CREATE TABLE never_made(x BIGINT)")) == 0
    with pytest.raises(adbc_driver_manager.dbapi.Error, match="not found"):
        rows(cursor, "SELECT * FROM never_made")


@pytest.mark.parametrize("mode", ["local", "staged"])
def test_a_partition_is_read_over_another_connection(two_executors, cursor, mode):
    cursor.execute(f"SET grappe.execution_mode = '{mode}'")
    partitions, schema = cursor.adbc_execute_partitions("SELECT value AS n FROM range(0, 1000)")
    seen = []
    for partition in partitions:
        with flightsql.connect(two_executors, autocommit=True) as other, other.cursor() as reader:
            reader.adbc_read_partition(partition)
            seen.append(reader.fetch_arrow_table())
    whole = pa.concat_tables(seen)
    assert whole.schema.equals(schema)
    assert sorted(whole.column("n").to_pylist()) == list(range(1000))


def test_writes_are_counted(cursor, target):
    cursor.execute('CREATE TABLE "Trips"(id BIGINT, name TEXT)')
    insert = 'INSERT INTO "Trips" VALUES (?, ?)'
    cursor.executemany(insert, [(1, "a"), (2, None)])
    assert cursor.rowcount == 2
    cursor.executemany(insert, pa.table({"id": [3, 4, 5], "name": ["c", "d", "e"]}))
    assert cursor.rowcount == 3
    cursor.executemany('UPDATE "Trips" SET name = ? WHERE id = ?', [("x", 1), ("y", 2), ("z", 99)])
    assert cursor.rowcount == 2
    cursor.executemany('DELETE FROM "Trips" WHERE id = ?', [(5,)])
    assert cursor.rowcount == 1
    assert rows(cursor, 'SELECT * FROM "Trips" ORDER BY id') == [(1, "x"), (2, "y"), (3, "c"), (4, "d")]


def test_a_write_without_parameters_runs_once_each_way(connection, cursor, target):
    cursor.execute('CREATE TABLE "Trips"(way TEXT)')
    cursor.execute("INSERT INTO \"Trips\" VALUES ('execute')")
    cursor.executescript("INSERT INTO \"Trips\" VALUES ('executescript')")
    cursor.executemany("INSERT INTO \"Trips\" VALUES ('executemany')", None)
    with adbc_driver_manager.AdbcStatement(connection.adbc_connection) as statement:
        statement.set_sql_query("INSERT INTO \"Trips\" VALUES ('update')")
        assert statement.execute_update() == 1
        statement.set_sql_query("INSERT INTO \"Trips\" VALUES ('prepared update')")
        statement.prepare()
        assert statement.execute_update() == 1
    ways = ["execute", "executemany", "executescript", "prepared update", "update"]
    assert rows(cursor, 'SELECT way FROM "Trips" ORDER BY way') == [(way,) for way in ways]


def test_a_script_is_one_statement(cursor, target):
    with pytest.raises(adbc_driver_manager.dbapi.Error, match="one statement at a time"):
        cursor.executescript('CREATE TABLE "Trips"(n BIGINT); INSERT INTO "Trips" VALUES (1)')
    with pytest.raises(adbc_driver_manager.dbapi.Error, match="not found"):
        rows(cursor, 'SELECT * FROM "Trips"')


def test_comments_and_a_semicolon_may_stand_around_a_statement(cursor):
    assert rows(cursor, "-- first\nSELECT /* here */ 1 AS n; -- last") == [(1,)]


def test_columns_of_the_same_name_are_refused_before_there_is_a_table(cursor, target):
    sent = pa.table([[1], [2]], names=["n", "n"])
    with pytest.raises(adbc_driver_manager.dbapi.ProgrammingError, match="\\bn\\b"):
        cursor.adbc_ingest(target, sent, mode="create")
    with pytest.raises(adbc_driver_manager.dbapi.Error, match="not found"):
        rows(cursor, 'SELECT * FROM "Trips"')


def test_a_large_batch_is_sent_by_a_driver_that_may(two_executors, target):
    sent = pa.table({"pad": ["x" * 1000] * 20_000}).combine_chunks()
    options = {"adbc.flight.sql.client_option.with_max_msg_size": str(64 << 20)}
    with flightsql.connect(two_executors, db_kwargs=options, autocommit=True) as connection, connection.cursor() as cursor:
        assert cursor.adbc_ingest(target, sent, mode="create") == 20_000
        assert rows(cursor, 'SELECT count(*), min(pad) = max(pad) FROM "Trips"') == [(20_000, True)]


# ADBC's own calls, below Python's interface.


@pytest.fixture
def statement(connection):
    with adbc_driver_manager.AdbcStatement(connection.adbc_connection) as statement:
        yield statement


def read(stream):
    return pa.RecordBatchReader.from_stream(stream).read_all()


def test_a_query_runs_without_being_prepared(statement):
    statement.set_sql_query("SELECT sum(value) AS s FROM range(0, 10)")
    assert pa.schema(statement.execute_schema()).names == ["s"]
    assert read(statement.execute_query()[0]).to_pylist() == [{"s": 45}]


def test_a_stream_of_parameters_is_bound(statement, cursor, target):
    statement.set_sql_query("SELECT ? + 1 AS next")
    statement.prepare()
    statement.bind_stream(pa.table({"n": [1, 2, 3]}))
    assert sorted(read(statement.execute_query()[0]).column("next").to_pylist()) == [2, 3, 4]
    cursor.execute('CREATE TABLE "Trips"(id BIGINT, name TEXT)')
    statement.set_sql_query('INSERT INTO "Trips" VALUES (?, ?)')
    statement.prepare()
    statement.bind_stream(pa.table({"id": [1, 2], "name": ["a", "b"]}))
    assert statement.execute_update() == 2
    assert rows(cursor, 'SELECT * FROM "Trips" ORDER BY id') == [(1, "a"), (2, "b")]


def test_a_query_is_followed_while_it_starts(statement, two_executors):
    statement.set_options(**{"adbc.statement.exec.incremental": "true"})
    statement.set_sql_query("SELECT value AS n FROM range(0, 100)")
    partitions = []
    while new := statement.execute_partitions()[0]:
        partitions += new
        assert 0 <= statement.get_option_float("adbc.statement.exec.progress") <= 1
    [partition] = partitions
    with flightsql.connect(two_executors, autocommit=True) as other, other.cursor() as reader:
        reader.adbc_read_partition(partition)
        assert reader.fetch_arrow_table().num_rows == 100


@pytest.mark.parametrize(
    "options",
    [
        {"username": "Ada", "password": "any"},
        {"adbc.flight.sql.authorization_header": "Bearer a-token-of-mine"},
        {"adbc.flight.sql.rpc.with_cookie_middleware": "true"},
        {"adbc.flight.sql.rpc.call_header.x-tool": "test"},
        {"adbc.flight.sql.rpc.timeout_seconds.query": "30"},
        {"adbc.flight.sql.client_option.with_max_msg_size": str(4 << 20)},
    ],
    ids=lambda options: next(iter(options)),
)
def test_a_connection_with_options_of_the_driver_keeps_its_session(two_executors, options):
    with flightsql.connect(two_executors, db_kwargs=options, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SET datafusion.execution.target_partitions = 3")
        assert rows(cursor, "SHOW datafusion.execution.target_partitions")[0][1] == "3"


# Flight, by hand.


def test_a_query_is_sent_by_hand(two_executors):
    sql = "SELECT value AS n FROM range(0, 10) ORDER BY n DESC"
    command = any_message("CommandStatementQuery", field(1, sql))
    with flight.connect(two_executors.replace("grpc://", "grpc+tcp://")) as client:
        descriptor = flight.FlightDescriptor.for_command(command)
        info = client.get_flight_info(descriptor)
        [endpoint] = info.endpoints
        table = client.do_get(endpoint.ticket).read_all()
        assert table.column("n").to_pylist() == list(range(9, -1, -1))
        assert table.schema.equals(info.schema) and client.get_schema(descriptor).schema.equals(info.schema)
        actions = {action.type for action in client.list_actions()}
        assert {"CreatePreparedStatement", "CancelFlightInfo", "CloseSession", "GetSessionOptions"} <= actions
