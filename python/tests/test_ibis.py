"""Dataframe verbs: ibis expressions that the server runs."""

import ibis
import ibis.common.exceptions as com
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from ibis import _

import grappe
from servers import BINARY

FRAME = pd.DataFrame({
    "Store": ["Aix", "Brest", "Aix", None], "units": [1, 2, 3, 4], "price": [1.5, None, 2.5, 4.0],
    "day": pd.to_datetime(["2024-01-31", "2024-02-01", "2024-02-29", None]).astype("datetime64[us]"),
})


@pytest.fixture(scope="module")
def con():
    con = ibis.grappe.connect(binary=BINARY)
    yield con
    con.disconnect()


@pytest.fixture(scope="module")
def sales(con):
    return con.create_table("Sales", FRAME)


def test_verbs_run_on_the_server(con, sales):
    expr = (
        sales.filter(_.units > 1)
        .mutate(total=_.units * _.price.fill_null(0))
        .group_by("Store")
        .agg(n=_.count(), total=_.total.sum())
        .order_by(ibis.asc("Store", nulls_first=True))
    )
    assert "GROUP BY" in con.compile(expr)
    expected = pd.DataFrame({"Store": [None, "Aix", "Brest"], "n": [1, 1, 1], "total": [16.0, 7.5, 0.0]})
    pd.testing.assert_frame_equal(expr.to_pandas(), expected, check_dtype=False)
    assert expr.to_pyarrow().num_rows == 3
    assert expr.to_polars()["total"].to_list() == [16.0, 7.5, 0.0]
    assert sum(batch.num_rows for batch in expr.to_pyarrow_batches()) == 3


def test_frames_in_memory_travel_when_they_are_used(sales):
    regions = ibis.memtable(pd.DataFrame({"Store": ["Aix", "Brest"], "Region": ["South", "West"]}))
    joined = sales.join(regions, "Store").order_by("units").select("units", "Region")
    assert joined.to_pandas().to_dict("list") == {"units": [1, 2, 3], "Region": ["South", "West", "South"]}
    assert ibis.memtable(pl.DataFrame({"a": [1, 2]})).join(sales, [("a", "units")]).count().to_pandas() == 2


def test_time_and_text_verbs(sales):
    row = sales.filter(_.units == 3).select(
        month=_.day.month(), minute=_.day.minute(), second=_.day.second(), epoch=_.day.epoch_seconds(),
        trunc=_.day.truncate("M"), text=_.Store.upper().length(), like=_.Store.like("A%"),
    )
    [got] = row.to_pyarrow().to_pylist()
    assert got["month"], got["minute"] == (2, 0)
    assert (got["second"], got["epoch"], got["text"], got["like"]) == (0, 1709164800, 3, True)
    assert got["trunc"] == pd.Timestamp("2024-02-01")


def test_urls_are_taken_apart():
    con = ibis.grappe.connect(binary=BINARY)
    url = con.create_table("urls", pa.table({"u": ["https://ada:pw@example.org:81/a/b?x=1&y=two#here"]})).u
    parts = [url.protocol(), url.host(), url.authority(), url.path(), url.query(), url.query("y"), url.fragment(), url.userinfo()]
    expected = ["https", "example.org", "ada:pw@example.org:81", "/a/b", "x=1&y=two", "two", "here", "ada:pw"]
    assert [part.to_pandas()[0] for part in parts] == expected
    con.disconnect()


def test_catalogs_are_made_used_and_removed(con, sales):
    con.create_catalog("Lab")
    assert con.list_catalogs(like="^Lab$") == ["Lab"] and con.current_catalog == "grappe"
    con.create_database("shelf", catalog="Lab")
    assert "shelf" in con.list_databases(catalog="Lab") and "shelf" not in con.list_databases()
    place = ("Lab", "shelf")
    con.create_table("copy", sales.select("units"), database=place)
    assert con.list_tables(database=place) == ["copy"] and "copy" not in con.list_tables()
    assert con.table("copy", database=place).count().to_pandas() == sales.count().to_pandas()
    with pytest.raises(com.UnsupportedOperationError, match="USE CATALOG"):
        con.create_table("frame", pd.DataFrame({"a": [1]}), database=place)
    con.drop_table("copy", database=place)
    con.drop_catalog("Lab")
    con.drop_catalog("Lab", force=True)
    assert "Lab" not in con.list_catalogs()


def test_tables_views_and_schemas_are_made_and_removed(con, sales):
    con.create_database("Lab")
    assert "Lab" in con.list_databases()
    con.create_table("copy", sales.select("units"), database="Lab")
    assert con.list_tables(database="Lab") == ["copy"] and "Sales" in con.list_tables()
    con.insert("copy", sales.select("units"), database="Lab")
    assert con.table("copy", database="Lab").count().to_pandas() == 8
    con.truncate_table("copy", database="Lab")
    assert con.table("copy", database="Lab").count().to_pandas() == 0
    con.drop_table("copy", database="Lab")
    con.drop_database("Lab")
    con.create_view("few", sales.filter(_.units > 3))
    assert con.table("few").Store.to_pyarrow().to_pylist() == [None]
    con.drop_view("few")
    con.create_table("typed", schema={"a": "int32", "b": "string"}, temp=True)
    assert con.table("typed").schema() == ibis.schema({"a": "int32", "b": "string"})
    with pytest.raises(ibis.common.exceptions.TableNotFound):
        con.table("few")
    with pytest.raises(grappe.AlreadyExistsError):
        con.create_table("Sales", FRAME)
    assert con.create_table("again", FRAME).count().to_pandas() == 4
    assert con.create_table("again", FRAME.head(1), overwrite=True).count().to_pandas() == 1
    con.rename_table("again", "renamed")
    assert "renamed" in con.list_tables()


def test_sql_and_verbs_mix(con, sales):
    assert con.sql('SELECT "Store", units FROM "Sales"').filter(_.units > 3).count().to_pandas() == 1
    assert sales.alias("s").sql("SELECT max(units) AS top FROM s").top.to_pandas().tolist() == [4]


def test_a_python_function_is_refused_with_the_way_out(sales):
    @ibis.udf.scalar.python
    def twice(n: int) -> int:
        return 2 * n

    with pytest.raises(ibis.common.exceptions.UnsupportedOperationError, match="twice is Python"):
        twice(sales.units).to_pandas()

    @ibis.udf.scalar.builtin
    def factorial(n: int) -> int: ...

    assert factorial(sales.units).sum().to_pandas() == 33


def test_a_client_and_a_url_give_a_backend_too(server):
    with grappe.connect(server.url) as client:
        client.upload(FRAME, "mine", temporary=True)
        assert client.ibis().table("mine").count().to_pandas() == 4
    con = ibis.connect(server.url.replace("grpc://", "grappe://"))
    assert con.version == grappe.__version__ and con.current_database == "public"
    con.disconnect()


def test_files_of_the_server_are_tables(con, tmp_path):
    FRAME.to_parquet(tmp_path / "f.parquet")
    FRAME.to_csv(tmp_path / "f.csv", index=False)
    assert con.read_parquet(tmp_path / "f.parquet").units.sum().to_pandas() == 10
    assert con.read_csv(tmp_path / "f.csv").units.sum().to_pandas() == 10
    with pytest.raises(ibis.common.exceptions.UnsupportedOperationError, match="delimiter"):
        con.read_csv(tmp_path / "f.csv", delimiter=";")
