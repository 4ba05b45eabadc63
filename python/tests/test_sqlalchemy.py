"""SQLAlchemy: the URL of ours, and that of `sqlalchemy-adbc`."""

import pandas as pd
import pytest
import sqlalchemy as sa
from sqlalchemy import orm

import grappe


@pytest.fixture(scope="module", params=["grappe", "adbc+flightsql"])
def engine(request, server):
    """Each of the two URLs."""
    there = server.url.removeprefix("grpc://")
    urls = {"grappe": f"grappe://{there}", "adbc+flightsql": f"adbc+flightsql://{there}?tls=false"}
    engine = sa.create_engine(urls[request.param])
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def ours(server):
    engine = sa.create_engine(server.url.replace("grpc://", "grappe://"))
    yield engine
    engine.dispose()


def test_queries_with_parameters_run(engine):
    with engine.connect() as connection:
        rows = connection.execute(sa.text("SELECT value, :t AS t FROM range(0, 9) WHERE value > :low"), {"low": 6, "t": "é"})
        assert rows.all() == [(7, "é"), (8, "é")]
        frame = pd.read_sql(sa.text("SELECT 1 AS a WHERE 1 < :n"), connection, params={"n": 2})
        assert frame["a"].tolist() == [1]


def test_tables_are_made_filled_and_dropped(ours):
    table = sa.Table("Made", sa.MetaData(), sa.Column("Id", sa.BigInteger), sa.Column("name", sa.String), sa.Column("at", sa.DateTime))
    with ours.begin() as connection:
        table.create(connection)
        connection.execute(table.insert(), [{"Id": 1, "name": "Ada"}, {"Id": 2, "name": None}])
        connection.execute(table.update().where(table.c.Id == 2).values(name="Grace"))
        rows = connection.execute(sa.select(table.c.Id, table.c.name).where(table.c.Id > 0).order_by(table.c.Id)).all()
        assert rows == [(1, "Ada"), (2, "Grace")]
        connection.execute(table.delete().where(table.c.Id == 1))
        assert connection.execute(sa.select(sa.func.count()).select_from(table)).scalar() == 1
        table.drop(connection)


def test_what_is_there_can_be_browsed(ours, server):
    with grappe.connect(server.url) as client:
        client.upload(pd.DataFrame({"Id": [1], "name": ["x"]}), "Browsed", "replace")
        client.sql("CREATE OR REPLACE VIEW seen AS SELECT 1 AS one")
    found = sa.inspect(ours)
    assert "public" in found.get_schema_names()
    assert "Browsed" in found.get_table_names() and "seen" in found.get_view_names()
    assert found.has_table("Browsed") and not found.has_table("nowhere")
    assert [column["name"] for column in found.get_columns("Browsed")] == ["Id", "name"]
    reflected = sa.Table("Browsed", sa.MetaData(), autoload_with=ours)
    with ours.connect() as connection:
        assert connection.execute(sa.select(reflected)).all() == [(1, "x")]


def test_an_orm_session_reads_and_writes(ours):
    class Base(orm.DeclarativeBase):
        pass

    class Person(Base):
        __tablename__ = "person"
        id: orm.Mapped[int] = orm.mapped_column(primary_key=True, autoincrement=False)
        name: orm.Mapped[str]

    Base.metadata.create_all(ours)
    with orm.Session(ours) as session:
        session.add_all([Person(id=1, name="Ada"), Person(id=2, name="Grace")])
        session.commit()
        assert session.scalars(sa.select(Person).where(Person.name == "Grace")).one().id == 2
    Base.metadata.drop_all(ours)


def test_frames_go_through_pandas(ours):
    frame = pd.DataFrame({"Id": [1, 2], "t": ["x", "y"]})
    frame.to_sql("by_pandas", ours, index=False, if_exists="replace")
    pd.testing.assert_frame_equal(pd.read_sql('SELECT * FROM by_pandas ORDER BY "Id"', ours), frame)


def test_users_and_errors_are_told(ours):
    with ours.connect() as connection, pytest.raises(sa.exc.ProgrammingError, match="nowhere"):
        connection.execute(sa.text("SELECT * FROM nowhere"))
    with pytest.raises(grappe.InvalidError, match="a user and a token"):
        sa.create_engine("grappe://ada:p%40ss@db.example.org?tls=true&token=x").connect()
    arguments, settings = sa.create_engine("grappe://ada:p%40ss@db.example.org?tls=true").dialect.create_connect_args(
        sa.make_url("grappe://ada:p%40ss@db.example.org?tls=true")
    )
    assert arguments == ["grpc+tls://db.example.org:7470"]
    assert (settings["db_kwargs"]["username"], settings["db_kwargs"]["password"]) == ("ada", "p@ss")
