"""The calls that drivers make which have no Python package: JDBC, ODBC and Grafana's plugin, one after the other.

The order, the filters and the types that they insist on are those of their sources.
"""

import pyarrow as pa
import pytest
from pyarrow import flight

from protobuf import any_message, field, message, parse

# What a gRPC client takes when nobody tells it otherwise.
MESSAGE_BYTES_MAX = 4 << 20

# What Java and Go send when a statement has no parameters: a batch without columns, and so without rows.
NO_PARAMETERS = pa.record_batch([], schema=pa.schema([]))


class Driver:
    """A Flight client that adds its token to each call, and believes nothing about the answers."""

    def __init__(self, address, user, password):
        url = address.replace("grpc://", "grpc+tcp://")
        self.client = flight.connect(url, generic_options=[("grpc.max_receive_message_length", MESSAGE_BYTES_MAX)])
        token = self.client.authenticate_basic_token(user, password)
        assert token[0] == b"authorization" and token[1].startswith(b"Bearer ")
        self.options = flight.FlightCallOptions(headers=[token])

    def info(self, command, fields=None):
        descriptor = flight.FlightDescriptor.for_command(any_message(command, message(fields or {})))
        return self.client.get_flight_info(descriptor, self.options)

    def read(self, info):
        """All rows; one endpoint, reached over this connection, with the announced columns."""
        [endpoint] = info.endpoints
        assert endpoint.locations == []
        table = self.client.do_get(endpoint.ticket, self.options).read_all()
        assert table.schema.equals(info.schema), (table.schema, info.schema)
        return table

    def ask(self, command, fields=None):
        return self.read(self.info(command, fields))

    def query(self, sql):
        return self.ask("CommandStatementQuery", {1: sql})

    def act(self, name, body):
        return [result.body.to_pybytes() for result in self.client.do_action(flight.Action(name, body), self.options)]

    def put(self, command, fields, rows=NO_PARAMETERS):
        """Sends rows of parameters, and gives the server's answer."""
        descriptor = flight.FlightDescriptor.for_command(any_message(command, message(fields)))
        writer, answers = self.client.do_put(descriptor, rows.schema, self.options)
        writer.write_batch(rows)
        writer.done_writing()
        answer = answers.read()
        writer.close()
        return parse(answer.to_pybytes())

    def prepare(self, sql):
        """Handle, columns of the result, columns of the parameters."""
        request = any_message("ActionCreatePreparedStatementRequest", field(1, sql))
        [answer] = self.act("CreatePreparedStatement", request)
        result = parse(parse(answer)[2])
        return result[1], pa.ipc.read_schema(pa.py_buffer(result[2])), pa.ipc.read_schema(pa.py_buffer(result[3]))

    def close_prepared(self, handle):
        self.act("ClosePreparedStatement", any_message("ActionClosePreparedStatementRequest", field(1, handle)))


@pytest.fixture
def connect(two_executors):
    drivers = []

    def connect(user="Ada", password="any"):
        drivers.append(Driver(two_executors, user, password))
        return drivers[-1]

    yield connect
    for driver in drivers:
        driver.client.close()


@pytest.fixture
def table(connect):
    driver = connect()
    driver.query("CREATE TABLE wines(id BIGINT NOT NULL, name TEXT, price DECIMAL(8,2), sold TIMESTAMP, PRIMARY KEY (id))")
    driver.query("CREATE VIEW cheap AS SELECT * FROM wines WHERE price < 10")
    yield "wines"
    driver.query("DROP VIEW cheap")
    driver.query("DROP TABLE wines")


# Shapes of the answers about the catalog. Drivers compare them field by field, with nullability.


def text(name, nullable=False):
    return pa.field(name, pa.string(), nullable)


CATALOGS = pa.schema([text("catalog_name")])
SCHEMAS = pa.schema([text("catalog_name", True), text("db_schema_name")])
TABLES = pa.schema([text("catalog_name", True), text("db_schema_name", True), text("table_name"), text("table_type")])
TABLES_WITH_COLUMNS = TABLES.append(pa.field("table_schema", pa.binary(), False))
TABLE_TYPES = pa.schema([text("table_type")])
PRIMARY_KEYS = pa.schema(
    [text("catalog_name", True), text("db_schema_name", True), text("table_name"), text("column_name"), text("key_name", True)]
    + [pa.field("key_sequence", pa.int32(), False)]
)
FOREIGN_KEYS = pa.schema(
    [text(f"{side}_{name}", name.endswith(("catalog_name", "schema_name"))) for side in ("pk", "fk")
     for name in ("catalog_name", "db_schema_name", "table_name", "column_name")]
    + [pa.field("key_sequence", pa.int32(), False), text("fk_key_name", True), text("pk_key_name", True)]
    + [pa.field("update_rule", pa.uint8(), False), pa.field("delete_rule", pa.uint8(), False)]
)


def test_answers_about_the_catalog_have_the_shapes_that_drivers_compare_with(connect, table):
    driver = connect()
    shapes = [
        ("CommandGetCatalogs", {}, CATALOGS),
        ("CommandGetDbSchemas", {}, SCHEMAS),
        ("CommandGetTables", {}, TABLES),
        ("CommandGetTables", {5: True}, TABLES_WITH_COLUMNS),
        ("CommandGetTableTypes", {}, TABLE_TYPES),
        ("CommandGetPrimaryKeys", {3: table}, PRIMARY_KEYS),
        ("CommandGetImportedKeys", {3: table}, FOREIGN_KEYS),
        ("CommandGetExportedKeys", {3: table}, FOREIGN_KEYS),
        ("CommandGetCrossReference", {3: table, 6: table}, FOREIGN_KEYS),
    ]
    for command, fields, shape in shapes:
        got = driver.ask(command, fields).schema
        assert got.equals(shape), (command, got, shape)


# JDBC: DBeaver, Tableau, Metabase.

# The member of the union that `ArrowDatabaseMetadata` casts each fact to; another one is a ClassCastException.
JDBC_READS = {
    "string_value": [0, 1, 504, 513, 514, 529, 530, 531],
    "bool_value": [3, 515, 516, *range(518, 522), 523, 524, 527, 532, 536, 537, 539, 556, 563, 565, 566, *range(572, 577)],
    "bigint_value": [*range(541, 556), *range(557, 563)],
    "int32_bitmask": [522, 525, 526, 528, 533, 534, 535, 538, 540, 564, 567],
    "string_list": [*range(508, 513)],
    "int32_to_int32_list_map": [517],
}


def facts_of(driver):
    """Name of the union's member and value, by the number of the fact."""
    table = driver.ask("CommandGetSqlInfo").combine_chunks()
    value = table.column("value").chunk(0)
    members = [value.type.field(code).name for code in value.type_codes.to_pylist()]
    return dict(zip(table.column("info_name").to_pylist(), zip(members, value.to_pylist())))


def test_jdbc_reads_every_fact_in_the_type_that_it_casts_to(connect):
    facts = facts_of(connect())
    wanted = {number: member for member, numbers in JDBC_READS.items() for number in numbers}
    assert {number: facts[number][0] for number in wanted} == wanted


def test_jdbc_and_odbc_learn_that_full_outer_joins_work(connect):
    # Both read a mask of 1 << SqlOuterJoinsSupportLevel, in which a full join is 2.
    assert facts_of(connect())[528][1] & 1 << 2


def test_jdbc_connects_and_sets_the_catalog_of_its_url(connect):
    driver = connect()

    def set_option(name, value):
        entry = message({1: name, 2: field(1, value)})
        [answer] = driver.act("SetSessionOptions", field(1, entry))
        return parse(answer)

    assert set_option("catalog", "grappe") == {}
    assert set_option("catalog", "nowhere") != {}
    [closed] = driver.act("CloseSession", b"")
    assert parse(closed) == {1: 1}


def test_jdbc_fills_the_tree_of_a_browser(connect, table):
    driver = connect()
    assert driver.ask("CommandGetCatalogs").to_pylist() == [{"catalog_name": "grappe"}]
    schemas = driver.ask("CommandGetDbSchemas", {1: "grappe", 2: "%"}).column("db_schema_name").to_pylist()
    assert {"public", "information_schema"} <= set(schemas)
    assert driver.ask("CommandGetTableTypes").column("table_type").to_pylist() == ["TABLE", "VIEW"]
    listed = driver.ask("CommandGetTables", {1: "grappe", 2: "public", 3: "%", 4: ["TABLE", "VIEW"]})
    assert {("wines", "TABLE"), ("cheap", "VIEW")} <= {(t["table_name"], t["table_type"]) for t in listed.to_pylist()}
    everywhere = driver.ask("CommandGetTables").column("db_schema_name").to_pylist()
    assert {"public", "information_schema", "system"} <= set(everywhere)


def test_jdbc_reads_columns_and_keys(connect, table):
    driver = connect()
    [listed] = driver.ask("CommandGetTables", {1: "grappe", 2: "public", 3: table, 5: True}).to_pylist()
    columns = pa.ipc.read_schema(pa.py_buffer(listed["table_schema"]))
    assert [(c.name, c.nullable) for c in columns] == [("id", False), ("name", True), ("price", True), ("sold", True)]
    types = [column.metadata[b"ARROW:FLIGHT:SQL:TYPE_NAME"].decode() for column in columns]
    assert types == ["BIGINT", "VARCHAR", "DECIMAL(8,2)", "TIMESTAMP"]
    price = columns.field("price").metadata
    assert (price[b"ARROW:FLIGHT:SQL:PRECISION"], price[b"ARROW:FLIGHT:SQL:SCALE"]) == (b"8", b"2")
    [key] = driver.ask("CommandGetPrimaryKeys", {1: "grappe", 2: "public", 3: table}).to_pylist()
    assert (key["column_name"], key["key_sequence"]) == ("id", 1)
    for command in ("CommandGetImportedKeys", "CommandGetExportedKeys"):
        assert driver.ask(command, {1: "grappe", 2: "public", 3: table}).num_rows == 0


def run_as_jdbc(driver, sql):
    """Rows of a query, or how many rows an update touched: an empty schema tells which it is."""
    handle, columns, _ = driver.prepare(sql)
    try:
        if len(columns) == 0:
            return driver.put("CommandPreparedStatementUpdate", {1: handle}).get(1, 0)
        info = driver.info("CommandPreparedStatementQuery", {1: handle})
        assert info.schema.equals(columns)
        return driver.read(info).to_pylist()
    finally:
        driver.close_prepared(handle)


def test_jdbc_prepares_every_statement_and_runs_it_once(connect):
    driver = connect()
    assert run_as_jdbc(driver, "CREATE TABLE casks(id BIGINT, litres DOUBLE)") == 0
    assert run_as_jdbc(driver, "INSERT INTO casks VALUES (1, 225.0), (2, 500.0), (3, NULL)") == 3
    assert run_as_jdbc(driver, "UPDATE casks SET litres = 600 WHERE id = 2") == 1
    assert run_as_jdbc(driver, "DELETE FROM casks WHERE litres IS NULL") == 1
    assert run_as_jdbc(driver, "SELECT id, litres FROM casks ORDER BY id") == [
        {"id": 1, "litres": 225.0}, {"id": 2, "litres": 600.0},
    ]
    assert run_as_jdbc(driver, "SELECT count(*) AS n, max(litres) AS most FROM casks") == [{"n": 2, "most": 600.0}]
    assert run_as_jdbc(driver, "DROP TABLE casks") == 0


def test_jdbc_sets_parameters_and_runs_again(connect):
    driver = connect()
    handle, columns, parameters = driver.prepare("SELECT value FROM range(0, 10) WHERE value < ? ORDER BY value")
    assert (columns.names, parameters.types) == (["value"], [pa.int64()])
    for limit in (1, 3):
        rows = pa.record_batch([pa.array([limit], pa.int64())], schema=parameters)
        answer = driver.put("CommandPreparedStatementQuery", {1: handle}, rows)
        handle = answer.get(1, handle)
        got = driver.ask("CommandPreparedStatementQuery", {1: handle})
        assert got.column("value").to_pylist() == list(range(limit))
    driver.close_prepared(handle)
    with pytest.raises(pa.ArrowKeyError, match="prepare it again"):
        driver.info("CommandPreparedStatementQuery", {1: handle})


def test_jdbc_adds_a_batch_of_rows(connect, table):
    driver = connect()
    handle, columns, parameters = driver.prepare("INSERT INTO wines(id, name) VALUES (?, ?)")
    assert (len(columns), parameters.types) == (0, [pa.int64(), pa.string()])
    rows = pa.record_batch([pa.array([1, 2], pa.int64()), pa.array(["red", None])], schema=parameters)
    assert driver.put("CommandPreparedStatementUpdate", {1: handle}, rows) == {1: 2}
    assert run_as_jdbc(driver, "SELECT name FROM wines ORDER BY id") == [{"name": "red"}, {"name": None}]


# ODBC: Power BI, Excel.


def test_odbc_finds_what_it_asks_at_connecting(connect):
    facts = facts_of(connect())
    # An empty term would mean that there are no catalogs.
    assert facts[531] == ("string_value", "catalog")
    assert facts[504] == ("string_value", '"')


def test_odbc_lists_types(connect):
    driver = connect()
    types = driver.ask("CommandGetXdbcTypeInfo").to_pylist()
    assert {t["type_name"]: t["data_type"] for t in types}["BIGINT"] == -5
    varchar = driver.ask("CommandGetXdbcTypeInfo", {1: 12}).to_pylist()
    assert [t["type_name"] for t in varchar] == ["VARCHAR"]


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({2: "public", 3: "wi%"}, {"wines"}),
        ({2: "public", 3: "w_nes"}, {"wines"}),
        ({2: "public", 3: "w\\_nes"}, set()),
        ({2: "pub%", 3: "%", 4: ["VIEW"]}, {"cheap"}),
        ({2: "public", 4: ["TABLE", "VIEW"]}, {"wines", "cheap"}),
        ({1: "nowhere"}, set()),
        ({2: "nowhere"}, set()),
        ({2: "public", 4: ["SYNONYM"]}, set()),
    ],
)
def test_odbc_filters_tables(connect, table, fields, names):
    listed = connect().ask("CommandGetTables", fields).column("table_name").to_pylist()
    assert set(listed) == names


def test_odbc_sends_every_statement_as_a_query_and_it_runs_once(connect):
    driver = connect()
    driver.query("CREATE TABLE barrels(id BIGINT)")
    driver.query("INSERT INTO barrels VALUES (1), (2)")
    info = driver.info("CommandStatementQuery", {1: "INSERT INTO barrels VALUES (3)"})
    driver.read(info)
    assert driver.query("SELECT count(*) AS n FROM barrels").to_pylist() == [{"n": 3}]
    driver.query("DROP TABLE barrels")


# Grafana: a user and a password, the names of tables, queries.


def test_grafana_reads_tables_and_draws_a_graph(connect, table):
    driver = connect("grafana", "secret")
    assert driver.ask("CommandGetSqlInfo").num_rows > 0
    names = driver.ask("CommandGetTables", {4: ["BASE TABLE", "table"]}).column("table_name").to_pylist()
    assert table in names and "cheap" not in names
    assert driver.query("select 1").num_rows == 1
    graph = driver.query(
        "SELECT to_timestamp(value * 60) AS time, value % 5 AS level FROM range(0, 100) ORDER BY time LIMIT 10"
    )
    assert pa.types.is_timestamp(graph.schema.field("time").type) and graph.num_rows == 10


# What every one of them relies on.

STATEMENTS = [
    "SELECT 1 AS a, 'x' AS b, NULL AS c",
    "SELECT count(*) AS n, sum(value) AS s, avg(value) AS a, array_agg(value) AS l FROM range(0, 1000)",
    "SELECT value % 7 AS k, count(*) AS n, max(value) AS m FROM range(0, 1000) GROUP BY 1 ORDER BY 1",
    "SELECT a.value, b.value AS other FROM range(0, 10) a LEFT JOIN range(5, 15) b ON a.value = b.value ORDER BY 1",
    "SELECT value, row_number() OVER (ORDER BY value) AS r FROM range(0, 10)",
    "SELECT 1 AS a UNION ALL SELECT NULL",
    "SELECT arrow_cast('a', 'Utf8View') AS v, [arrow_cast('a', 'Utf8View')] AS l, {a: 'b'} AS s, map(['k'], [1]) AS m",
    "SELECT arrow_cast([1, 2], 'LargeList(Int64)') AS l",
    "SELECT arrow_cast(value, 'Float16') AS f FROM range(0, 3)",
    "SELECT arrow_cast('a', 'LargeUtf8') AS s, arrow_cast(1, 'Decimal256(60, 2)') AS d, interval '1 month' AS i",
    "SELECT value FROM range(0, 10) WHERE false",
]


@pytest.mark.parametrize("mode", ["local", "staged"])
@pytest.mark.parametrize("sql", STATEMENTS)
def test_the_announced_columns_are_those_that_come(connect, sql, mode):
    driver = connect()
    driver.query(f"SET grappe.execution_mode = '{mode}'")
    assert driver.query(sql).num_columns > 0


@pytest.mark.parametrize("mode", ["local", "staged"])
def test_a_large_result_comes_in_messages_that_every_client_takes(connect, mode):
    driver = connect()
    driver.query(f"SET grappe.execution_mode = '{mode}'")
    table = driver.query("SELECT value, repeat('x', 1000) AS pad FROM range(0, 30000)")
    assert table.num_rows == 30_000 and table.nbytes > 5 * MESSAGE_BYTES_MAX


def test_get_schema_tells_the_columns_and_runs_nothing(connect, table):
    driver = connect()

    def schema_of(sql):
        descriptor = flight.FlightDescriptor.for_command(any_message("CommandStatementQuery", field(1, sql)))
        return driver.client.get_schema(descriptor, driver.options).schema

    assert schema_of("SELECT id, price FROM wines").equals(driver.query("SELECT id, price FROM wines").schema)
    schema_of("INSERT INTO wines(id) VALUES (9)")
    assert driver.query("SELECT * FROM wines").num_rows == 0


def test_each_login_is_a_session_of_its_own(connect):
    drivers = {"3": connect(), "5": connect()}
    for partitions, driver in drivers.items():
        driver.query(f"SET datafusion.execution.target_partitions = {partitions}")
    for partitions, driver in drivers.items():
        [shown] = driver.query("SHOW datafusion.execution.target_partitions").to_pylist()
        assert shown["value"] == partitions
