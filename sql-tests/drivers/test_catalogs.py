"""Several catalogs on one server: drivers, psql and the shell see each, and a session works in one of them."""

import adbc_driver_manager.dbapi
import psycopg
import pyarrow as pa
import pytest

from servers import Server


def rows(cursor, sql):
    cursor.execute(sql)
    return cursor.fetchall()


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A server with a catalog beside the first, and a table of one name in both."""
    server = Server(tmp_path_factory.mktemp("catalogs"), "--pg-port", "0")
    with server.connect() as connection, connection.cursor() as cursor:
        for sql in (
            "CREATE TABLE bottles AS SELECT 1 AS n",
            "CREATE DATABASE cellar",
            "CREATE TABLE cellar.public.bottles (n BIGINT PRIMARY KEY, name VARCHAR)",
            "INSERT INTO cellar.public.bottles VALUES (1, 'a'), (2, 'b')",
            "CREATE SCHEMA cellar.reserve",
            "CREATE VIEW cellar.reserve.old AS SELECT name FROM cellar.public.bottles WHERE n = 1",
        ):
            rows(cursor, sql)
    yield server
    assert server.stop() == 0


@pytest.fixture
def connection(shop):
    with shop.connect() as connection:
        yield connection


def names(connection, **filters):
    """All tables of one's own, as `catalog.schema.table`."""
    objects = connection.adbc_get_objects(depth="tables", **filters).read_all().to_pylist()
    return {
        f"{catalog['catalog_name']}.{schema['db_schema_name']}.{table['table_name']}"
        for catalog in objects
        for schema in catalog["catalog_db_schemas"] or []
        if schema["db_schema_name"] not in ("system", "information_schema")
        for table in schema["db_schema_tables"] or []
    }


def test_tables_are_browsed_by_catalog(connection):
    of_cellar = {"cellar.public.bottles", "cellar.reserve.old"}
    assert of_cellar | {"grappe.public.bottles"} <= names(connection)
    assert names(connection, catalog_filter="cellar") == of_cellar
    assert names(connection, catalog_filter="cellar", db_schema_filter="res%") == {"cellar.reserve.old"}
    assert connection.adbc_get_table_schema("bottles", catalog_filter="cellar").names == ["n", "name"]
    assert connection.adbc_get_table_schema("bottles", catalog_filter="grappe").names == ["n"]


def test_the_catalog_of_a_session_is_an_option(connection):
    with connection.cursor() as cursor:
        connection.adbc_current_catalog = "cellar"
        assert connection.adbc_current_catalog == "cellar"
        assert rows(cursor, "SELECT count(*) FROM bottles") == [(2,)]
        assert rows(cursor, "SELECT * FROM reserve.old") == [("a",)]
        connection.adbc_current_db_schema = "reserve"
        assert rows(cursor, "SELECT * FROM old") == [("a",)]
        rows(cursor, "USE grappe.public")
        assert (connection.adbc_current_catalog, connection.adbc_current_db_schema) == ("grappe", "public")
        assert rows(cursor, "SELECT count(*) FROM bottles") == [(1,)]
        with pytest.raises(adbc_driver_manager.dbapi.Error):
            connection.adbc_current_catalog = "nowhere"


def test_rows_are_ingested_into_a_catalog(connection):
    data = pa.table({"n": [1, 2, 3]})
    with connection.cursor() as cursor:
        assert cursor.adbc_ingest("sent", data, mode="create", catalog_name="cellar", db_schema_name="reserve") == 3
        assert cursor.adbc_ingest("sent", data, mode="append", catalog_name="cellar", db_schema_name="reserve") == 3
        assert rows(cursor, "SELECT sum(n) FROM cellar.reserve.sent") == [(12,)]
        with pytest.raises(adbc_driver_manager.Error, match='no catalog "nowhere"'):
            cursor.adbc_ingest("sent", data, mode="create", catalog_name="nowhere")
        rows(cursor, "DROP TABLE cellar.reserve.sent")


def test_names_last_and_go_with_their_catalog(tmp_path):
    first = Server(tmp_path)
    with first.connect() as connection, connection.cursor() as cursor:
        rows(cursor, "CREATE CATALOG lasting")
        rows(cursor, "CREATE TABLE lasting.public.t AS SELECT 5 AS x")
        rows(cursor, "USE CATALOG lasting")
        rows(cursor, "CREATE VIEW public.v AS SELECT x + 1 AS y FROM t")
    assert first.stop() == 0
    second = Server(tmp_path)
    with second.connect() as connection, connection.cursor() as cursor:
        assert rows(cursor, "SELECT y FROM lasting.public.v") == [(6,)]
        with pytest.raises(adbc_driver_manager.Error, match="holds 2 tables; add CASCADE"):
            rows(cursor, "DROP DATABASE lasting")
        rows(cursor, "DROP DATABASE lasting CASCADE")
        with pytest.raises(adbc_driver_manager.Error, match='no catalog "lasting"'):
            rows(cursor, "SELECT y FROM lasting.public.v")
        assert rows(cursor, "SHOW CATALOGS") == [("grappe",)]
    assert second.stop() == 0


def test_the_database_of_a_postgresql_connection_is_the_catalog(shop):
    with psycopg.connect(shop.postgres, user="ada", dbname="cellar", autocommit=True) as connection:
        assert connection.execute("SELECT current_database(), current_schema()").fetchone() == ("cellar", "public")
        assert connection.execute("SELECT count(*) FROM bottles").fetchone() == (2,)
        listed = "SELECT relname FROM pg_catalog.pg_class WHERE relname IN ('bottles', 'old') ORDER BY 1"
        assert connection.execute(listed).fetchall() == [("bottles",), ("old",)]
        databases = connection.execute("SELECT datname FROM pg_catalog.pg_database ORDER BY 1").fetchall()
        assert {("cellar",), ("grappe",)} <= set(databases)
    with psycopg.connect(shop.postgres, user="ada", dbname="ada", autocommit=True) as connection:
        assert connection.execute("SELECT current_database()").fetchone() == ("grappe",)
        assert connection.execute("SELECT count(*) FROM bottles").fetchone() == (1,)


def test_the_shell_shows_what_a_catalog_has(shop, grappe):
    def shell(sql):
        return grappe("--connect", shop.flight, "-A", "-t", stdin=sql)

    assert shell("\\l").stdout.splitlines() == ["cellar", "grappe"]
    assert "old|view" in shell("\\dv cellar.*.*").stdout
    assert "name|Utf8" in shell("\\d cellar.public.bottles").stdout
    assert "reserve" in shell("\\dn cellar.*").stdout
    assert "reserve" not in shell("\\dn").stdout
    assert "old" in shell("USE CATALOG cellar;\n\\dv *.*").stdout
