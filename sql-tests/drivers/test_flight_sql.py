"""What Flight SQL clients other than a plain query need: parameters, keys, facts about the server, options, cancelling.

ADBC sends part of it; what only JDBC and ODBC send is sent here by hand, through pyarrow's Flight client.
"""

import datetime
import decimal
import time
from concurrent.futures import ThreadPoolExecutor

import adbc_driver_manager
import pyarrow as pa
import pytest
from pyarrow import flight

from protobuf import any_message, field


def rows(cursor, sql, parameters=None):
    cursor.execute(sql, parameters)
    return cursor.fetchall()


@pytest.fixture
def table(cursor):
    rows(cursor, "CREATE TABLE people(id BIGINT NOT NULL, name TEXT, born DATE, PRIMARY KEY (id))")
    yield "people"
    rows(cursor, "DROP TABLE people")


# Parameters.

VALUES = [
    (42, "bigint"), (-1.5, "double"), ("grape", "text"), ("", "text"), (True, "boolean"), (b"\x00\xff", "bytea"),
    (datetime.date(2024, 2, 29), "date"), (datetime.datetime(2024, 2, 29, 12, 30, 1, 250_000), "timestamp"),
    (decimal.Decimal("12345.67"), "decimal(10,2)"), (None, "text"),
]


@pytest.mark.parametrize(("value", "sql_type"), VALUES, ids=[sql_type + repr(value) for value, sql_type in VALUES])
def test_a_parameter_comes_back_as_it_was_given(cursor, value, sql_type):
    assert rows(cursor, f"SELECT CAST($1 AS {sql_type}) AS v", (value,)) == [(value,)]


def test_parameters_are_numbered_or_in_order(cursor):
    assert rows(cursor, "SELECT $2 - $1 AS d FROM (VALUES (1)) t(x) WHERE x = $3", (1, 10, 1)) == [(9,)]
    assert rows(cursor, "SELECT ? - ? AS d", (10, 1)) == [(9,)]
    assert rows(cursor, "SELECT count(*) FROM (VALUES ('a'), ('b')) t(x) WHERE x IN (?, ?)", ("b", "c")) == [(1,)]


@pytest.mark.parametrize(
    ("sql", "parameters", "says"),
    [
        ("SELECT $1 + 1", (), "takes 1 parameters"),
        ("SELECT $1 + 1", (1, 2), "takes 1 parameters, and 2 are given"),
        ("SELECT * FROM (VALUES (1)) t(x) WHERE x = $1", ("pear",), "\\$1 must be"),
        ("SELECT $1 + $3", (1, 2, 3), "\\$2 is missing"),
        ("SELECT ? + $1", (1, 2), "not both"),
    ],
)
def test_wrong_parameters_are_the_users_mistake(cursor, sql, parameters, says):
    with pytest.raises(adbc_driver_manager.dbapi.Error, match=says) as raised:
        rows(cursor, sql, parameters)
    assert "INTERNAL" not in str(raised.value)


def test_many_rows_are_written_by_one_call_and_counted(cursor, table):
    people = [(1, "Ada", datetime.date(1815, 12, 10)), (2, "Grace", None), (3, "O'Neil", datetime.date(1970, 1, 1))]
    cursor.executemany("INSERT INTO people VALUES (?, ?, ?)", people)
    assert cursor.rowcount == 3
    assert rows(cursor, "SELECT * FROM people ORDER BY id") == people
    cursor.execute("SELECT name FROM people WHERE born < ? ORDER BY 1", (datetime.date(1900, 1, 1),))
    assert cursor.fetchall() == [("Ada",)]


def test_a_prepared_statement_is_run_again_with_other_values(cursor):
    cursor.adbc_prepare("SELECT $1 * 2 AS twice")
    assert [rows(cursor, "SELECT $1 * 2 AS twice", (n,)) for n in (1, 2, 3)] == [[(2,)], [(4,)], [(6,)]]
    schema = cursor.adbc_prepare("SELECT id FROM (VALUES (1)) t(id) WHERE id = $1 AND 'x' = $2")
    assert [str(field.type) for field in schema] == ["int64", "string"]


# What only other drivers send.

@pytest.fixture
def client(server):
    with flight.connect(server.flight.replace("grpc://", "grpc+tcp://")) as client:
        yield client


def metadata(client, name, body=b""):
    info = client.get_flight_info(flight.FlightDescriptor.for_command(any_message(name, body)))
    [endpoint] = info.endpoints
    table = client.do_get(endpoint.ticket).read_all()
    assert table.schema.equals(info.schema)
    return table


def test_every_fact_about_the_server_has_the_type_that_jdbc_reads(client):
    facts = dict(zip(*metadata(client, "CommandGetSqlInfo").to_pydict().values()))
    assert set(facts) == {*range(0, 12), 100, 101, *range(500, 577)}
    assert facts[0] == "Grappe" and facts[504] == '"' and facts[9] is True
    assert all(type(facts[number]) is int for number in (*range(541, 556), *range(557, 562), 8, 503, 507, 522, 525, 562))
    assert all(type(facts[number]) is bool for number in (3, 4, 500, 501, 502, 506, 515, 516, 536, 556, 563, 572, 576))
    assert all(type(facts[number]) is list and facts[number] for number in range(508, 513))
    assert all(type(facts[number]) is str for number in (1, 2, 6, 7, 513, 514, 529, 530, 531))


def test_keys_are_told(client, table):
    [key] = metadata(client, "CommandGetPrimaryKeys", field(3, table)).to_pylist()
    assert (key["catalog_name"], key["db_schema_name"], key["table_name"]) == ("grappe", "public", table)
    assert (key["column_name"], key["key_sequence"]) == ("id", 1)
    assert metadata(client, "CommandGetPrimaryKeys", field(3, "no_such_table")).num_rows == 0
    for command, wanted in [("ImportedKeys", field(3, table)), ("ExportedKeys", field(3, table))]:
        foreign = metadata(client, "CommandGet" + command, wanted)
        assert (foreign.num_rows, foreign.num_columns) == (0, 13)
    crossed = metadata(client, "CommandGetCrossReference", field(3, table) + field(6, table))
    assert crossed.num_rows == 0


def test_columns_say_the_sql_names_of_their_types(server, table):
    with server.connect() as connection:
        objects = connection.adbc_get_objects(depth="columns", table_name_filter=table).read_all().to_pylist()
    [found] = [t for schema in objects[0]["catalog_db_schemas"] for t in schema["db_schema_tables"]]
    types = {column["column_name"]: column["xdbc_type_name"] for column in found["table_columns"]}
    assert types == {"id": "BIGINT", "name": "VARCHAR", "born": "DATE"}


def test_types_are_listed_for_odbc(client):
    listed = metadata(client, "CommandGetXdbcTypeInfo").to_pydict()
    assert {"BIGINT", "VARCHAR", "DECIMAL", "TIMESTAMP"} <= set(listed["type_name"])


def test_actions_are_listed(client):
    assert {"CancelFlightInfo", "CloseSession", "CreatePreparedStatement"} <= {action.type for action in client.list_actions()}


# Sessions.

def test_the_schema_of_a_session_is_an_option(server, cursor):
    rows(cursor, "CREATE SCHEMA vineyard")
    rows(cursor, "CREATE TABLE vineyard.rows AS SELECT 7 AS n")
    with server.connect() as connection, connection.cursor() as other:
        assert (connection.adbc_current_catalog, connection.adbc_current_db_schema) == ("grappe", "public")
        connection.adbc_current_db_schema = "vineyard"
        assert connection.adbc_current_db_schema == "vineyard"
        assert rows(other, "SELECT n FROM rows") == [(7,)]
        with pytest.raises(adbc_driver_manager.dbapi.Error):
            connection.adbc_current_db_schema = "nowhere"
        with pytest.raises(adbc_driver_manager.dbapi.Error):
            connection.adbc_current_catalog = "nowhere"
    rows(cursor, "DROP SCHEMA vineyard CASCADE")


def test_a_handle_is_of_one_session(server):
    def create(client, options=None):
        action = flight.Action("CreatePreparedStatement", any_message("ActionCreatePreparedStatementRequest", field(1, "SELECT 1")))
        [answer] = client.do_action(action, options)
        body = answer.body.to_pybytes()
        start = body.index(b"\x0a\x24") + 2
        return body[start : start + 36].decode()

    def run(client, handle, options=None):
        command = any_message("CommandPreparedStatementQuery", field(1, handle))
        info = client.get_flight_info(flight.FlightDescriptor.for_command(command), options)
        return client.do_get(info.endpoints[0].ticket, options).read_all().num_rows

    url = server.flight.replace("grpc://", "grpc+tcp://")
    one = flight.FlightCallOptions(headers=[(b"authorization", b"Bearer one")])
    two = flight.FlightCallOptions(headers=[(b"authorization", b"Bearer two")])
    with flight.connect(url) as client:
        handle = create(client, one)
        assert run(client, handle, one) == 1
        with pytest.raises(Exception, match="another session"):
            run(client, handle, two)
        list(client.do_action(flight.Action("CloseSession", b""), one))
        with pytest.raises(Exception, match="prepare it again"):
            run(client, handle, one)


# Cancelling.

ENDLESS = "SELECT sum(sin(value)) FROM range(1000000000000)"


def test_a_statement_is_cancelled_by_sql_or_by_its_info(server, cursor, client):
    for how in ("sql", "CancelFlightInfo", "CancelQuery"):
        info = client.get_flight_info(
            flight.FlightDescriptor.for_command(any_message("CommandStatementQuery", field(1, f"{ENDLESS} -- {how}")))
        )
        like = f"%-- {how}"
        find = "SELECT id, state FROM system.queries WHERE statement LIKE $1 AND statement NOT LIKE '%LIKE%'"
        [(query, _)] = rows(cursor, find, (like,))
        if how == "sql":
            rows(cursor, f"CANCEL QUERY '{query}'")
        else:
            body = field(1, info.serialize())
            if how == "CancelQuery":
                body = any_message("ActionCancelQueryRequest", body)
            list(client.do_action(flight.Action(how, body)))
        [(_, state)] = rows(cursor, find, (like,))
        assert state == "cancelled", how
    with pytest.raises(adbc_driver_manager.dbapi.Error, match="no query has the id"):
        rows(cursor, "CANCEL QUERY 'no-such-query'")


def test_joins_that_make_billions_of_rows_leave_threads_for_others(server, cursor):
    def read():
        join = "SELECT sum(a.value * b.value) FROM range(0, 2000000) a, range(0, 2000000) b -- join"
        with server.connect() as connection, connection.cursor() as reader:
            with pytest.raises(adbc_driver_manager.dbapi.Error, match="cancelled"):
                rows(reader, join)

    # More of them than threads.
    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(4)]
        find = "SELECT id FROM system.queries WHERE statement LIKE '%-- join' AND statement NOT LIKE '%LIKE%' AND rows = 0"
        while len(found := rows(cursor, find)) < 4:
            pass
        started = time.monotonic()
        for (query,) in found:
            rows(cursor, f"CANCEL QUERY '{query}'")
        for reader in readers:
            reader.result(10)
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("body", [b"", b"\xff\xff\xff", b"\x0a\x03abc", field(1, "type.googleapis.com/nothing")])
def test_garbage_is_refused_and_the_server_lives(client, cursor, body):
    for call in (
        lambda: client.get_flight_info(flight.FlightDescriptor.for_command(body)),
        lambda: client.do_get(flight.Ticket(body)).read_all(),
        lambda: list(client.do_action(flight.Action("NoSuchAction", body))),
        lambda: list(client.do_action(flight.Action("SetSessionOptions", b"\xff" + body))),
    ):
        with pytest.raises((flight.FlightError, pa.ArrowException)) as raised:
            call()
        assert not isinstance(raised.value, flight.FlightInternalError)
    assert rows(cursor, "SELECT 1") == [(1,)]


# Ingest.

def people(*names):
    born = [datetime.date(1900 + n, 1, 1) for n in range(len(names))]
    return pa.table({"id": pa.array(range(len(names)), pa.int32()), "name": list(names), "born": born})


@pytest.fixture
def target(cursor):
    yield "sent rows"
    rows(cursor, 'DROP TABLE IF EXISTS "sent rows"')


def test_rows_are_sent_in_each_mode(cursor, target):
    assert cursor.adbc_ingest(target, people("Ada", "Grace"), mode="create") == 2
    with pytest.raises(adbc_driver_manager.dbapi.Error, match="already exists"):
        cursor.adbc_ingest(target, people("Eve"), mode="create")
    assert cursor.adbc_ingest(target, people("Alan"), mode="append") == 1
    assert rows(cursor, 'SELECT count(*), max(name) FROM "sent rows"') == [(3, "Grace")]
    assert cursor.adbc_ingest(target, people("Edsger"), mode="replace") == 1
    assert cursor.adbc_ingest(target, people("Barbara"), mode="create_append") == 1
    assert rows(cursor, 'SELECT name FROM "sent rows" ORDER BY name') == [("Barbara",), ("Edsger",)]
    with pytest.raises(adbc_driver_manager.dbapi.Error, match="does not exist"):
        cursor.adbc_ingest("no such table", people("Eve"), mode="append")


def test_rows_go_to_a_table_made_by_sql_column_by_name(cursor, table):
    sent = people("Ada", "Grace").select(["name", "id"])
    assert cursor.adbc_ingest(table, sent, mode="append") == 2
    assert rows(cursor, "SELECT * FROM people ORDER BY id") == [(0, "Ada", None), (1, "Grace", None)]
    with pytest.raises(adbc_driver_manager.dbapi.Error, match="height"):
        cursor.adbc_ingest(table, pa.table({"height": [1.8]}), mode="append")
    assert rows(cursor, "SELECT count(*) FROM people") == [(2,)]


TYPES = [
    pa.array([True, None]), pa.array([1, None], pa.int8()), pa.array([2**63], pa.uint64()), pa.array([1.5, None], pa.float32()),
    pa.array(["a", None]), pa.array(["a", None], pa.large_string()), pa.array(["a", "b"], pa.string_view()),
    pa.array([b"\x00", None], pa.binary_view()), pa.array(["a", "b", "a"]).dictionary_encode(),
    pa.array([decimal.Decimal("1.25"), None]), pa.array([datetime.date(2024, 2, 29)]), pa.array([1, None], pa.time64("us")),
    pa.array([1, None], pa.timestamp("ms")), pa.array([1, None], pa.timestamp("us", "UTC")), pa.array([1], pa.duration("s")),
    pa.array([[1, 2], [], None]), pa.array([{"x": 1, "y": "a"}, None]), pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
]


@pytest.mark.parametrize("values", TYPES, ids=lambda values: str(values.type))
def test_every_type_comes_back_with_its_values(cursor, target, values):
    sent = pa.table({"v": values})
    cursor.adbc_ingest(target, sent, mode="create")
    cursor.execute('SELECT v FROM "sent rows"')
    assert cursor.fetch_arrow_table().column("v").to_pylist() == sent.column("v").to_pylist()


def test_an_empty_table_has_its_columns(cursor, target):
    # The driver sends nothing at all for a table without batches, so the server cannot know its name.
    with pytest.raises(adbc_driver_manager.dbapi.Error, match="one empty batch"):
        cursor.adbc_ingest(target, people().slice(0, 0), mode="create")
    cursor.adbc_ingest(target, people("Ada").to_batches()[0].slice(0, 0), mode="create")
    cursor.execute('SELECT * FROM "sent rows"')
    assert (cursor.fetch_arrow_table().num_rows, [d[0] for d in cursor.description]) == (0, ["id", "name", "born"])


def test_a_stream_that_breaks_leaves_nothing(cursor, target):
    schema = pa.schema([("n", pa.int64())])

    def broken():
        for _ in range(20):
            yield pa.record_batch([pa.array(range(10_000))], schema=schema)
        raise RuntimeError("the source has failed")

    with pytest.raises(Exception, match="the source has failed"):
        cursor.adbc_ingest(target, pa.RecordBatchReader.from_batches(schema, broken()), mode="create")
    with pytest.raises(adbc_driver_manager.dbapi.Error, match="not found"):
        rows(cursor, 'SELECT * FROM "sent rows"')


def test_the_memory_of_the_server_is_bounded_while_rows_arrive(tmp_path_factory):
    from servers import Server

    server = Server(tmp_path_factory.mktemp("ingest"), "--memory", "64MB")
    schema = pa.schema([("n", pa.int64()), ("pad", pa.string())])
    batch = pa.record_batch([pa.array(range(10_000)), pa.array([f"{n:0200}" for n in range(10_000)])], schema=schema)
    try:
        with server.connect() as connection, connection.cursor() as cursor:
            many = pa.RecordBatchReader.from_batches(schema, (batch for _ in range(500)))
            assert cursor.adbc_ingest("big", many, mode="create") == 5_000_000
            assert rows(cursor, "SELECT count(*), max(n) FROM big") == [(5_000_000, 9_999)]
        with open(f"/proc/{server.process.pid}/status") as status:
            [peak] = [int(line.split()[1]) for line in status if line.startswith("VmHWM")]
        assert peak < 600_000, f"the server held {peak} kB at its peak"
    finally:
        assert server.stop() == 0
