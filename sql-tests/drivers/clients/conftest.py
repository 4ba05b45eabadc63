"""Connections to a cluster of two executors, and tables to try things with."""

import adbc_driver_flightsql.dbapi as flightsql
import pytest


@pytest.fixture
def connection(two_executors):
    with flightsql.connect(two_executors, autocommit=True) as connection:
        yield connection


@pytest.fixture
def cursor(connection):
    with connection.cursor() as cursor:
        yield cursor


@pytest.fixture
def target(cursor):
    """A name that a test may make a table of; it is in two cases, and so has to be quoted."""
    yield "Trips"
    cursor.execute('DROP TABLE IF EXISTS "Trips"')


@pytest.fixture
def orchard(cursor):
    """A schema with two tables and a view."""
    for sql in (
        "CREATE SCHEMA orchard",
        'CREATE TABLE orchard.apples(id BIGINT NOT NULL, "Kind" TEXT, price DECIMAL(8,2), PRIMARY KEY (id))',
        "CREATE TABLE orchard.pears(id BIGINT)",
        "CREATE VIEW orchard.ripe AS SELECT id FROM orchard.pears",
    ):
        cursor.execute(sql)
    yield "orchard"
    cursor.execute("DROP SCHEMA orchard CASCADE")
