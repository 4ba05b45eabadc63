"""PostgreSQL clients: psycopg, psql, and the statements that the JDBC driver and DBeaver send."""

import contextlib
import datetime
import decimal
import os
import socket
import struct
import subprocess
import threading
import time
import urllib.parse

import psycopg
import pytest

from servers import Server

SECONDS_MAX = 30

ENDLESS = "range(0, 900000000000)"

VALUES = [
    1,
    -5,
    2**40,
    1.5,
    float("inf"),
    "é'\\ x",
    "",
    True,
    None,
    decimal.Decimal("12.340"),
    decimal.Decimal("-0.00001"),
    decimal.Decimal("123456789012345678901234567890.12345678"),
    datetime.date(2024, 2, 29),
    datetime.date(1969, 7, 20),
    datetime.datetime(2024, 2, 29, 1, 2, 3, 456000),
    datetime.datetime(2024, 2, 29, 1, 2, 3, tzinfo=datetime.timezone.utc),
    datetime.time(1, 2, 3, 4000),
    datetime.timedelta(days=3, seconds=5),
    b"\x00\xffab",
    [1, 2, None],
    [1.5, float("-inf")],
]


@pytest.fixture(scope="module")
def door(tmp_path_factory):
    """A server with a PostgreSQL port, and tables to look at."""
    server = Server(tmp_path_factory.mktemp("postgres"), "--pg-port", "0")
    with psycopg.connect(server.postgres, user="ada", autocommit=True) as connection:
        connection.execute("CREATE TABLE people (id BIGINT NOT NULL, name VARCHAR, born DATE, height DECIMAL(5, 2))")
        connection.execute("INSERT INTO people VALUES (1, 'Ada', '1815-12-10', 1.65), (2, 'Grace', NULL, NULL)")
        connection.execute("CREATE VIEW adults AS SELECT id, name FROM people")
        connection.execute("CREATE SCHEMA other")
        connection.execute("CREATE TABLE other.things (x INT)")
    yield server
    assert server.stop() == 0


@pytest.fixture
def connection(door):
    with psycopg.connect(door.postgres, user="ada", autocommit=True) as connection:
        yield connection


def address(door):
    parts = urllib.parse.urlsplit(door.postgres)
    return parts.hostname, parts.port


def psql(door, *arguments):
    """Runs psql as a user would; what it printed."""
    host, port = address(door)
    command = ["psql", "--no-psqlrc", "-h", host, "-p", str(port), "-U", "ada", "-d", "grappe", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, env={**os.environ, "PAGER": "cat"})


def wait_until(condition):
    end = time.monotonic() + SECONDS_MAX
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def state_of(connection, words):
    rows = connection.execute("SELECT state FROM system.queries WHERE statement LIKE %s", (f"{words}%",)).fetchall()
    return [state for (state,) in rows]


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_values_come_back_as_they_went(connection, value, binary):
    assert connection.execute("SELECT %s AS v", (value,), binary=binary).fetchone() == (value,)
    if not (isinstance(value, list) and value[-1] == float("-inf")):
        assert connection.execute("SELECT %b AS v", (value,), binary=binary).fetchone() == (value,)


@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_types_without_a_twin_arrive_in_a_form_that_drivers_read(connection, binary):
    sql = """SELECT named_struct('a', 1, 'b', NULL) AS s, make_array(make_array(1, 2), NULL) AS l,
                    arrow_cast(7, 'Int8') AS i, arrow_cast(7, 'UInt64') AS u, arrow_cast(1.5, 'Decimal256(60, 3)') AS d,
                    make_array(arrow_cast(1.5, 'Decimal128(5, 2)'), NULL) AS n, CAST(NULL AS INTERVAL) AS t,
                    arrow_cast('x', 'Dictionary(Int32, Utf8)') AS k, NULL AS z"""
    row = connection.execute(sql, binary=binary).fetchone()
    number = decimal.Decimal
    assert row == ({"a": 1, "b": None}, [[1, 2], None], 7, 7, number("1.500"), [number("1.50"), None], None, "x", None)


def test_columns_tell_their_names_and_types(connection):
    cursor = connection.execute("SELECT id, name, born, height FROM people ORDER BY id")
    names = [(column.name, column.type_code) for column in cursor.description]
    assert names == [("id", 20), ("name", 25), ("born", 1082), ("height", 1700)]
    assert (cursor.description[3].precision, cursor.description[3].scale) == (5, 2)
    assert cursor.fetchall()[0] == (1, "Ada", datetime.date(1815, 12, 10), decimal.Decimal("1.65"))
    assert cursor.statusmessage == "SELECT 2"


def test_command_tags_count_rows(connection):
    tags = [
        connection.execute(sql).statusmessage
        for sql in [
            "CREATE TABLE tags (x INT)",
            "INSERT INTO tags VALUES (1), (2), (3)",
            "SET grappe.execution_mode = 'local'",
            "SELECT * FROM tags",
            "DROP TABLE tags",
        ]
    ]
    assert tags == ["CREATE TABLE", "INSERT 0 3", "SET", "SELECT 3", "DROP TABLE"]


def test_executemany_writes_each_row(connection):
    connection.execute("CREATE TABLE many (id BIGINT, name VARCHAR)")
    cursor = connection.cursor()
    cursor.executemany("INSERT INTO many VALUES (%s, %s)", [(n, f"n{n}") for n in range(5)])
    assert cursor.rowcount == 5
    assert connection.execute("SELECT count(*), max(name) FROM many").fetchone() == (5, "n4")
    connection.execute("DROP TABLE many")


def test_several_statements_of_one_text_run_in_order_up_to_the_first_error(connection):
    cursor = connection.execute("CREATE TABLE steps (x INT); INSERT INTO steps VALUES (1); SELECT ';' AS semicolon")
    tags = [cursor.statusmessage]
    while cursor.nextset():
        tags.append(cursor.statusmessage)
    assert tags == ["CREATE TABLE", "INSERT 0 1", "SELECT 1"]
    with pytest.raises(psycopg.errors.UndefinedTable):
        connection.execute("INSERT INTO steps VALUES (2); SELECT * FROM nowhere; INSERT INTO steps VALUES (3)")
    assert connection.execute("SELECT max(x) FROM steps").fetchone() == (2,)
    connection.execute("DROP TABLE steps")


def test_an_empty_text_is_answered(connection):
    for text in ["", " ; ", "-- nothing"]:
        assert connection.execute(text).statusmessage is None
    assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    "sql, state",
    [
        ("SELEC 1", "42601"),
        ("SELECT 'open", "42601"),
        ("SELECT * FROM nowhere", "42P01"),
        ("SELECT nothing FROM people", "42703"),
        ("SELECT no_such_function(1)", "42883"),
        ("CREATE TABLE people (x INT)", "42P07"),
        ("DROP TABLE nowhere", "42P01"),
        ("CREATE SCHEMA other", "42P06"),
        ("SELECT 1 / 0", "22012"),
        ("SELECT CAST('x' AS INT)", "22P02"),
        ("SELECT CAST(300 AS TINYINT)", "22003"),
        ("SET no.such = 1", "42704"),
        ("SET DateStyle = 'German'", "22023"),
        ("SET server_version = '9'", "55P02"),
        ("SET search_path = nowhere", "3F000"),
        ("SHOW no_such_parameter", "42704"),
        ("COPY people TO STDOUT", "0A000"),
        ("DECLARE c CURSOR FOR SELECT 1", "0A000"),
        ("SAVEPOINT a", "0A000"),
        ("EXECUTE unknown", "26000"),
        ("SELECT x FROM 'nowhere.parquet'", "58P01"),
    ],
)
def test_mistakes_have_their_sqlstate_and_the_connection_goes_on(connection, sql, state):
    with pytest.raises(psycopg.Error) as simple:
        connection.execute(sql)
    assert simple.value.sqlstate == state, simple.value
    with pytest.raises(psycopg.Error) as extended:
        connection.execute(sql, binary=True)
    assert extended.value.sqlstate == state, extended.value
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_mistake_has_its_place(connection):
    with pytest.raises(psycopg.errors.UndefinedColumn) as error:
        connection.execute("SELECT 'é';\n SELECT name,\n  nothing FROM people")
    assert error.value.diag.statement_position == "29"


def test_parameters_of_the_wrong_kind_are_refused(connection):
    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        connection.execute("SELECT * FROM people WHERE id = %s", ("x",))
    with pytest.raises(psycopg.errors.NumericValueOutOfRange):
        connection.execute("SELECT * FROM people WHERE id = %s", (1.5,))
    assert connection.execute("SELECT name FROM people WHERE id = %s", (decimal.Decimal("1.0"),)).fetchone() == ("Ada",)
    assert connection.execute("SELECT name FROM people WHERE born < %s", (datetime.date(1900, 1, 1),)).fetchone() == ("Ada",)
    assert connection.execute("SELECT name FROM people WHERE id = ANY(%s) ORDER BY 1", ([1, 2],)).fetchall() == [("Ada",), ("Grace",)]


def test_a_prepared_statement_is_planned_once_and_run_often(connection):
    for id, name in [(1, "Ada"), (2, "Grace"), (1, "Ada")]:
        assert connection.execute("SELECT name FROM people WHERE id = %s", (id,), prepare=True).fetchone() == (name,)


def test_a_transaction_of_reads_begins_and_ends(door):
    with psycopg.connect(door.postgres, user="ada") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
        connection.rollback()
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        with pytest.raises(psycopg.errors.UndefinedTable):
            connection.execute("SELECT * FROM nowhere")
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            connection.execute("SELECT 1")
        connection.rollback()
        assert connection.execute("SELECT 2").fetchone() == (2,)


def test_what_a_transaction_wrote_is_not_undone_and_that_is_said(door):
    notices = []
    with psycopg.connect(door.postgres, user="ada") as connection:
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        connection.execute("CREATE TABLE kept (x INT)")
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="was not undone"):
            connection.rollback()
        assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        connection.execute("DROP TABLE kept")
        connection.commit()
    assert len(notices) == 1 and "each stands for itself" in notices[0]


def test_a_statement_is_cancelled_by_another_connection(door, connection):
    sql = f"SELECT sum(value % 7) FROM {ENDLESS}"
    threading.Timer(0.5, connection.cancel_safe).start()
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute(sql)
    assert connection.execute("SELECT 1").fetchone() == (1,)
    assert state_of(connection, "SELECT sum(value % 7)") == ["cancelled"]


def test_a_client_that_goes_away_stops_its_statement(door, connection):
    sql = f"SELECT max(value % 7) FROM {ENDLESS}"
    other = psycopg.connect(door.postgres, user="ada", autocommit=True)
    other.pgconn.send_query(sql.encode())
    wait_until(lambda: state_of(connection, "SELECT max(value % 7)") == ["running"])
    other.close()
    wait_until(lambda: state_of(connection, "SELECT max(value % 7)") == ["cancelled"])


def test_a_statement_ends_at_its_timeout(connection):
    connection.execute("SET statement_timeout = '300ms'")
    assert connection.execute("SHOW statement_timeout").fetchone() == ("300",)
    with pytest.raises(psycopg.errors.QueryCanceled, match="statement timeout"):
        connection.execute(f"SELECT min(value % 7) FROM {ENDLESS}")
    connection.execute("RESET statement_timeout")
    assert connection.execute("SELECT 1").fetchone() == (1,)


def memory_bytes(process):
    with open(f"/proc/{process.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_large_result_comes_at_the_pace_of_the_client(door, connection):
    before = memory_bytes(door.process)
    rows = 0
    with connection.cursor() as cursor:
        for (value, text) in cursor.stream("SELECT value, repeat('x', %s) AS t FROM range(0, 400000)", (100,)):
            rows += 1
            if rows == 1:
                # It has had time to run ahead, and must not have.
                time.sleep(0.5)
                assert state_of_other(door, "SELECT value, repeat") == ["running"]
                assert memory_bytes(door.process) - before < 100 << 20
    assert rows == 400_000


def state_of_other(door, words):
    with psycopg.connect(door.postgres, user="ada", autocommit=True) as connection:
        return state_of(connection, words)


def test_statements_are_in_the_list_of_queries_as_they_were_sent(connection):
    connection.execute("SELECT count(*) FROM pg_class")
    assert state_of(connection, "SELECT count(*) FROM pg_class") == ["finished"]


def test_parameters_of_the_session_are_kept_shown_and_told(connection):
    connection.execute("SET application_name = 'tests'; SET extra_float_digits = 3; SET client_encoding TO 'utf-8'")
    assert connection.execute("SHOW application_name").fetchone() == ("tests",)
    assert connection.info.parameter_status("application_name") == "tests"
    assert connection.execute("SHOW server_version").fetchone()[0].startswith("15")
    assert connection.execute("SHOW TRANSACTION ISOLATION LEVEL").fetchone() == ("read committed",)
    assert connection.execute("SHOW standard_conforming_strings").fetchone() == ("on",)
    assert connection.execute("SELECT current_setting('application_name')").fetchone() == ("tests",)
    connection.execute("SET TIME ZONE 'Europe/Berlin'")
    assert connection.info.parameter_status("TimeZone") == "Europe/Berlin"
    connection.execute("SET grappe.execution_mode = 'local'")
    assert connection.execute("SHOW grappe.execution_mode").fetchone()[-1] == "local"
    connection.execute("SET search_path = other, pg_catalog")
    assert connection.execute("SELECT count(*), current_schema() FROM things").fetchone() == (0, "other")
    connection.execute("DISCARD ALL")
    assert connection.execute("SHOW search_path").fetchone() == ("public",)


def test_settings_can_come_with_the_connection(door):
    options = "-c search_path=other -c statement_timeout=5s"
    with psycopg.connect(door.postgres, user="grace", options=options, autocommit=True) as connection:
        row = connection.execute("SELECT current_schema(), current_user, current_database()").fetchone()
        assert row == ("other", "grace", "grappe")
        assert connection.execute("SHOW statement_timeout").fetchone() == ("5000",)


def test_psql_lists_what_there_is(door):
    tables = psql(door, "-c", "\\dt *.*").stdout
    assert "public | people" in tables and "other  | things" in tables
    assert "adults" in psql(door, "-c", "\\dv").stdout
    assert "people" in psql(door, "-c", "\\d").stdout
    assert "other" in psql(door, "-c", "\\dn").stdout
    assert "grappe" in psql(door, "-c", "\\l").stdout
    assert psql(door, "-c", "\\df").returncode == 0


def test_psql_describes_a_table_and_a_view(door):
    described = psql(door, "-c", "\\d people")
    lines = [line.split("|") for line in described.stdout.splitlines() if "|" in line]
    columns = [(line[0].strip(), line[1].strip(), line[3].strip()) for line in lines[1:]]
    wanted = [("id", "bigint", "not null"), ("name", "text", ""), ("born", "date", ""), ("height", "numeric", "")]
    assert columns == wanted, described
    assert 'View "public.adults"' in psql(door, "-c", "\\d adults").stdout
    assert "Did not find any relation" in psql(door, "-c", "\\d nowhere").stderr


def test_psql_runs_a_script_and_shows_the_place_of_a_mistake(door):
    done = psql(door, "-At", "-c", "BEGIN", "-c", "SELECT name FROM people ORDER BY id", "-c", "COMMIT")
    assert done.stdout.split() == ["BEGIN", "Ada", "Grace", "COMMIT"]
    wrong = psql(door, "-c", "SELECT nothing FROM people")
    assert wrong.returncode == 1 and "LINE 1: SELECT nothing FROM people\n               ^" in wrong.stderr, wrong.stderr


def test_flight_clients_do_not_see_pg_catalog(door):
    with door.connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM information_schema.schemata WHERE schema_name = 'pg_catalog'")
        assert cursor.fetchone() == (0,)
        with pytest.raises(Exception, match="not found"):
            cursor.execute("SELECT * FROM pg_catalog.pg_class")


JDBC_TABLES = """SELECT NULL AS TABLE_CAT, n.nspname AS TABLE_SCHEM, c.relname AS TABLE_NAME,
 CASE n.nspname ~ '^pg_' OR n.nspname = 'information_schema'
 WHEN true THEN CASE
 WHEN n.nspname = 'pg_catalog' OR n.nspname = 'information_schema' THEN CASE c.relkind
  WHEN 'r' THEN 'SYSTEM TABLE' WHEN 'v' THEN 'SYSTEM VIEW' WHEN 'i' THEN 'SYSTEM INDEX' ELSE NULL END
 WHEN n.nspname = 'pg_toast' THEN CASE c.relkind
  WHEN 'r' THEN 'SYSTEM TOAST TABLE' WHEN 'i' THEN 'SYSTEM TOAST INDEX' ELSE NULL END
 ELSE CASE c.relkind WHEN 'r' THEN 'TEMPORARY TABLE' WHEN 'p' THEN 'TEMPORARY TABLE' WHEN 'i' THEN 'TEMPORARY INDEX'
  WHEN 'S' THEN 'TEMPORARY SEQUENCE' WHEN 'v' THEN 'TEMPORARY VIEW' ELSE NULL END END
 WHEN false THEN CASE c.relkind WHEN 'r' THEN 'TABLE' WHEN 'p' THEN 'PARTITIONED TABLE' WHEN 'i' THEN 'INDEX'
  WHEN 'P' then 'PARTITIONED INDEX' WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'c' THEN 'TYPE'
  WHEN 'f' THEN 'FOREIGN TABLE' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE NULL END
 ELSE NULL END AS TABLE_TYPE, d.description AS REMARKS, '' as TYPE_CAT, '' as TYPE_SCHEM, '' as TYPE_NAME,
 '' AS SELF_REFERENCING_COL_NAME, '' AS REF_GENERATION
 FROM pg_catalog.pg_namespace n, pg_catalog.pg_class c
 LEFT JOIN pg_catalog.pg_description d ON (c.oid = d.objoid AND d.objsubid = 0 and d.classoid = 'pg_class'::regclass)
 WHERE c.relnamespace = n.oid AND n.nspname LIKE 'public' AND c.relname LIKE '%'
 AND (false OR ( c.relkind = 'r' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' )
  OR ( c.relkind = 'v' AND n.nspname <> 'pg_catalog' AND n.nspname <> 'information_schema' ) )
 ORDER BY TABLE_TYPE,TABLE_SCHEM,TABLE_NAME"""

JDBC_COLUMNS = """SELECT * FROM (SELECT current_database() AS current_database, n.nspname,c.relname,a.attname,a.atttypid,
 a.attnotnull OR (t.typtype = 'd' AND t.typnotnull) AS attnotnull,a.atttypmod,a.attlen,t.typtypmod,
 row_number() OVER (PARTITION BY a.attrelid ORDER BY a.attnum) AS attnum, nullif(a.attidentity, '') as attidentity,
 nullif(a.attgenerated, '') as attgenerated,pg_catalog.pg_get_expr(def.adbin, def.adrelid) AS adsrc,dsc.description,
 t.typbasetype,t.typtype
 FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_class c ON (c.relnamespace = n.oid)
 JOIN pg_catalog.pg_attribute a ON (a.attrelid=c.oid) JOIN pg_catalog.pg_type t ON (a.atttypid = t.oid)
 LEFT JOIN pg_catalog.pg_attrdef def ON (a.attrelid=def.adrelid AND a.attnum = def.adnum)
 LEFT JOIN pg_catalog.pg_description dsc ON (c.oid=dsc.objoid AND a.attnum = dsc.objsubid)
 LEFT JOIN pg_catalog.pg_class dc ON (dc.oid=dsc.classoid AND dc.relname='pg_class')
 LEFT JOIN pg_catalog.pg_namespace dn ON (dc.relnamespace=dn.oid AND dn.nspname='pg_catalog')
 WHERE c.relkind in ('r','p','v','f','m') and a.attnum > 0 AND NOT a.attisdropped AND n.nspname LIKE 'public'
 AND c.relname LIKE 'people') c WHERE true AND attname LIKE '%' ORDER BY nspname,c.relname,attnum"""

JDBC_SCHEMAS = """SELECT nspname AS TABLE_SCHEM, current_database() AS TABLE_CATALOG FROM pg_catalog.pg_namespace
 WHERE nspname <> 'pg_toast' AND (nspname !~ '^pg_temp_' OR nspname = (pg_catalog.current_schemas(true))[1])
 AND (nspname !~ '^pg_toast_temp_'
  OR nspname = replace((pg_catalog.current_schemas(true))[1], 'pg_temp_', 'pg_toast_temp_')) ORDER BY TABLE_SCHEM"""

JDBC_TYPE = """SELECT typinput='pg_catalog.array_in'::regproc as is_array, typtype, typname, pg_type.oid
 FROM pg_catalog.pg_type LEFT JOIN (select ns.oid as nspoid, ns.nspname, r.r from pg_namespace as ns
 join ( select s.r, (current_schemas(false))[s.r] as nspname
  from generate_series(1, array_upper(current_schemas(false), 1)) as s(r) ) as r
 using ( nspname )) as sp ON sp.nspoid = typnamespace WHERE pg_type.oid = $1 ORDER BY sp.r, pg_type.oid DESC"""


def test_the_jdbc_driver_connects_and_browses(door):
    with psycopg.connect(door.postgres, user="ada", autocommit=True, cursor_factory=psycopg.RawCursor) as connection:
        # What is sent when a connection is opened, all of it in the extended protocol.
        for sql in ["SET extra_float_digits = 3", "SET application_name = 'PostgreSQL JDBC Driver'"]:
            assert connection.execute(sql, prepare=True).statusmessage == "SET"
        assert connection.execute("SHOW TRANSACTION ISOLATION LEVEL", prepare=True).fetchone() == ("read committed",)
        tables = connection.execute(JDBC_TABLES, prepare=True).fetchall()
        assert [(row[1], row[2], row[3]) for row in tables] == [("public", "people", "TABLE"), ("public", "adults", "VIEW")]
        columns = connection.execute(JDBC_COLUMNS, prepare=True).fetchall()
        assert [(row[3], row[4], row[5], row[9]) for row in columns] == [
            ("id", 20, True, 1),
            ("name", 25, False, 2),
            ("born", 1082, False, 3),
            ("height", 1700, False, 4),
        ]
        assert ("other", "grappe") in connection.execute(JDBC_SCHEMAS, prepare=True).fetchall()
        assert connection.execute(JDBC_TYPE, (20,), prepare=True).fetchone()[1:] == ("b", "int8", 20)


def test_dbeaver_and_sqlalchemy_find_their_way(connection):
    execute = connection.execute
    assert execute("SELECT db.oid, db.* FROM pg_catalog.pg_database db WHERE datname = 'grappe'").fetchone()[2] == "grappe"
    (namespace,) = execute("SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'public'").fetchone()
    classes = """SELECT c.oid, c.*, d.description, pg_catalog.pg_get_expr(c.relpartbound, c.oid) AS partition_expr,
        pg_catalog.pg_get_partkeydef(c.oid) AS partition_key FROM pg_catalog.pg_class c
        LEFT OUTER JOIN pg_catalog.pg_description d
        ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass
        WHERE c.relnamespace = %s AND c.relkind not in ('i', 'I', 'c')"""
    assert {row[2] for row in execute(classes, (namespace,)).fetchall()} == {"people", "adults"}
    (people,) = execute("SELECT 'people'::regclass::oid").fetchone()
    attributes = """SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull
        FROM pg_catalog.pg_attribute a WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""
    assert execute(attributes, (people,)).fetchone() == ("id", "bigint", True)
    assert execute("SELECT pg_catalog.version()").fetchone()[0].startswith("PostgreSQL 15")
    assert execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'other'").fetchone() == ("things",)


def message(kind, body):
    return kind + struct.pack("!i", len(body) + 4) + body


class Raw:
    """The protocol itself, for what drivers do not do."""

    def __init__(self, door):
        self.socket = socket.create_connection(address(door), SECONDS_MAX)
        body = struct.pack("!i", 3 << 16) + b"user\0raw\0\0"
        self.socket.sendall(struct.pack("!i", len(body) + 4) + body)
        self.until_ready()

    def read(self, count):
        data = b""
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def next(self):
        kind, length = struct.unpack("!ci", self.read(5))
        return kind.decode(), self.read(length - 4)

    def until_ready(self):
        kinds = ""
        while not kinds.endswith("Z"):
            kinds += self.next()[0]
        return kinds


def test_a_portal_gives_a_few_rows_at_a_time(door):
    raw = Raw(door)
    raw.socket.sendall(message(b"Q", b"BEGIN\0"))
    assert raw.until_ready() == "NCZ"
    parse = message(b"P", b"s\0SELECT value FROM range(0, 5)\0" + struct.pack("!h", 0))
    bind = message(b"B", b"p\0s\0" + struct.pack("!hhh", 0, 0, 0))
    execute = message(b"E", b"p\0" + struct.pack("!i", 2))
    sync = message(b"S", b"")
    raw.socket.sendall(parse + bind + message(b"D", b"Pp\0") + execute + sync)
    assert raw.until_ready() == "12TDDsZ"
    raw.socket.sendall(execute + sync + execute + sync + execute + sync)
    assert [raw.until_ready() for _ in range(3)] == ["DDsZ", "DCZ", "CZ"]
    # Outside of a transaction portals end with the synchronisation.
    raw.socket.sendall(message(b"Q", b"COMMIT\0"))
    assert raw.until_ready() == "CZ"
    raw.socket.sendall(bind + sync + execute + sync)
    assert [raw.until_ready() for _ in range(2)] == ["2Z", "EZ"]


def test_after_an_error_messages_are_skipped_until_the_client_synchronises(door):
    raw = Raw(door)
    wrong = message(b"P", b"\0SELECT * FROM nowhere\0" + struct.pack("!h", 0))
    right = message(b"P", b"\0SELECT 1\0" + struct.pack("!h", 0))
    sync = message(b"S", b"")
    raw.socket.sendall(wrong + right + right + sync + right + sync)
    assert [raw.until_ready() for _ in range(2)] == ["EZ", "1Z"]


def test_what_is_no_message_ends_the_connection_with_a_word(door, connection):
    raw = Raw(door)
    raw.socket.sendall(b"\x01\x00\x00\x00\x04")
    kind, body = raw.next()
    assert kind == "E" and b"FATAL" in body
    with pytest.raises((EOFError, ConnectionError)):
        raw.next()
    for rubbish in [b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x04\x00\x00\x00\x00", message(b"Q", b"...")]:
        with socket.create_connection(address(door), SECONDS_MAX) as stranger:
            stranger.sendall(rubbish)
            with contextlib.suppress(ConnectionError):
                stranger.recv(1000)
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_server_that_stops_says_so(tmp_path):
    server = Server(tmp_path, "--pg-port", "0")
    raw = Raw(server)
    assert server.stop() == 0
    kind, body = raw.next()
    assert kind == "E" and b"57P01" in body


def test_the_port_is_closed_unless_asked_for(server):
    assert server.postgres is None
