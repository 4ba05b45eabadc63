"""Reads and writes through a real S3 server."""

import pytest

from servers import Server


@pytest.fixture(scope="module")
def cursor(s3, tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"), **s3)
    make_bucket(s3)
    with server.connect() as connection, connection.cursor() as cursor:
        yield cursor
    assert server.stop() == 0


def make_bucket(s3):
    from pyarrow import fs

    store = fs.S3FileSystem(
        access_key=s3["AWS_ACCESS_KEY_ID"],
        secret_key=s3["AWS_SECRET_ACCESS_KEY"],
        endpoint_override=s3["AWS_ENDPOINT"],
        region=s3["AWS_REGION"],
        allow_bucket_creation=True,
    )
    store.create_dir("warehouse")


def rows(cursor, sql):
    cursor.execute(sql)
    return cursor.fetchall()


@pytest.mark.parametrize("extension", ["parquet", "csv", "json"])
def test_what_is_written_can_be_read(cursor, extension):
    location = f"s3://warehouse/written/{extension}/numbers.{extension}"
    rows(cursor, f"COPY (SELECT value AS n, 'row ' || value AS name FROM range(0, 1000)) TO '{location}'")
    assert rows(cursor, f"SELECT count(*), sum(n), max(name) FROM '{location}'") == [(1000, 499500, "row 999")]


def test_directories_globs_and_partitions(cursor):
    rows(
        cursor,
        "COPY (SELECT value AS n, value % 3 AS k FROM range(0, 300)) TO 's3://warehouse/parts/'"
        " STORED AS PARQUET PARTITIONED BY (k)",
    )
    rows(cursor, "CREATE EXTERNAL TABLE parts STORED AS PARQUET LOCATION 's3://warehouse/parts/'")
    assert rows(cursor, "SELECT k, count(*) FROM parts GROUP BY k ORDER BY k") == [("0", 100), ("1", 100), ("2", 100)]
    assert rows(cursor, "SELECT count(*) FROM 's3://warehouse/parts/k=1/*.parquet'") == [(100,)]


def test_a_missing_object_is_named(cursor):
    with pytest.raises(Exception, match="NOT_FOUND.*no-such-object.parquet"):
        rows(cursor, "SELECT * FROM 's3://warehouse/no-such-object.parquet'")


def test_secrets_are_never_shown(cursor, s3, grappe):
    shown = grappe("server", "--print-config", **s3).stdout
    assert s3["AWS_ENDPOINT"] in shown
    settings = rows(cursor, "SELECT * FROM information_schema.df_settings")
    with pytest.raises(Exception) as raised:
        rows(cursor, "SELECT * FROM 's3://no-such-bucket/x.parquet'")
    for text in (shown, str(settings), str(raised.value)):
        assert s3["AWS_SECRET_ACCESS_KEY"] not in text


def test_a_wrong_key_is_denied(s3, grappe):
    wrong = {**s3, "AWS_SECRET_ACCESS_KEY": "wrong"}
    failed = grappe("-c", "SELECT * FROM 's3://warehouse/written/csv/numbers.csv'", **wrong)
    assert failed.returncode == 1
    assert "not allowed" in failed.stderr or "credentials" in failed.stderr


def test_an_unreachable_store_is_an_error_within_seconds(grappe):
    failed = grappe(
        "-c", "SELECT * FROM 's3://warehouse/x.parquet'", AWS_ENDPOINT="http://127.0.0.1:1", AWS_REGION="x",
        AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b",
    )
    assert failed.returncode == 1 and "127.0.0.1:1" in failed.stderr


def test_a_glob_across_directories(cursor):
    rows(
        cursor,
        "COPY (SELECT value AS n, value % 3 AS k FROM range(0, 300)) TO 's3://warehouse/globbed/'"
        " STORED AS PARQUET PARTITIONED BY (k)",
    )
    assert rows(cursor, "SELECT count(*) FROM 's3://warehouse/globbed/*/*.parquet'") == [(300,)]
    assert rows(cursor, "SELECT k, count(*) FROM 's3://warehouse/globbed/k=[12]/*' GROUP BY k ORDER BY k") == [("1", 100), ("2", 100)]
