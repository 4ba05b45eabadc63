"""A file that is replaced between planning and reading is noticed: never rows of two versions."""

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager
import pyarrow
import pyarrow.parquet
import pytest

from lake import rows


def replace(path, values):
    """As careful writers do: under another name first."""
    pyarrow.parquet.write_table(pyarrow.table({"x": values}), path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def read_parts(cursor, sql, between):
    """Plans, does something, and reads then."""
    parts, _ = cursor.adbc_execute_partitions(sql)
    between()
    values = []
    for part in parts:
        cursor.adbc_read_partition(part)
        values.extend(cursor.fetchall())
    return values


@pytest.mark.parametrize("count", [3, 1000, 200_000])
def test_a_replaced_file_is_not_read(server, tmp_path, count):
    path = tmp_path / "data.parquet"
    replace(path, list(range(1000)))
    query = f"SELECT sum(x) FROM '{path}'"
    with flightsql.connect(server.flight, autocommit=True) as connection, connection.cursor() as cursor:
        assert read_parts(cursor, query, lambda: None) == [(499_500,)]
        with pytest.raises(adbc_driver_manager.Error, match="was changed while the query read it"):
            read_parts(cursor, query, lambda: replace(path, [7] * count))
        assert rows(cursor, query) == [(7 * count,)]


def test_a_table_that_is_written_meanwhile_is_read_as_it_was(server, cursor):
    rows(cursor, "CREATE TABLE changing AS SELECT value AS x FROM range(0, 1000)")
    def write():
        with flightsql.connect(server.flight, autocommit=True) as connection, connection.cursor() as other:
            rows(other, "INSERT INTO changing VALUES (5000)")
            rows(other, "DELETE FROM changing WHERE x < 500")
    assert read_parts(cursor, "SELECT count(*), max(x) FROM changing", write) == [(1000, 999)]
    assert rows(cursor, "SELECT count(*), max(x) FROM changing") == [(501, 5000)]
    rows(cursor, "DROP TABLE changing")
