"""Writers that meet: nothing is lost, nothing is done twice, and who could not write is told to try again."""

import threading

import adbc_driver_manager
import pytest

from lake import ask, assert_soon, data_files, directory, is_retryable, named_files, rows
from servers import Server
from test_s3 import make_bucket

WRITERS = 4
STATEMENTS = 10


@pytest.fixture(scope="module", params=["disk", "s3"])
def pair(request, tmp_path_factory):
    """Two servers on one catalog and one warehouse."""
    folder, warehouse, environment = tmp_path_factory.mktemp("writers"), [], {}
    if request.param == "s3":
        environment = request.getfixturevalue("s3")
        make_bucket(environment)
        warehouse = ["--warehouse", "s3://warehouse/two-writers/"]
    both = [Server(folder, *warehouse, **environment) for _ in range(2)]
    yield both
    assert [server.stop() for server in both] == [0, 0]


@pytest.fixture
def servers(pair):
    yield pair
    ask(pair[0], "DROP TABLE IF EXISTS met")


def write_at_once(servers, statement):
    """Each writer runs its statements one after the other, all writers at once; which ones had an effect, and its rows."""
    start, done, failed = threading.Barrier(WRITERS), [], []

    def write(writer):
        with servers[writer % len(servers)].connect() as connection, connection.cursor() as cursor:
            start.wait()
            for number in range(STATEMENTS):
                try:
                    [(count,)] = rows(cursor, statement(writer, number))
                    done.append((writer, number, count))
                except adbc_driver_manager.Error as error:
                    failed.append(error)

    threads = [threading.Thread(target=write, args=[writer]) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not [str(error) for error in failed if not is_retryable(error)]
    assert len(done) + len(failed) == WRITERS * STATEMENTS, "a writer ended early"
    return done, failed


@pytest.mark.parametrize("processes", [1, 2])
def test_no_insert_is_lost_and_none_is_there_twice(servers, processes):
    ask(servers[0], "CREATE TABLE met (writer BIGINT, number BIGINT)")
    done, failed = write_at_once(servers[:processes], lambda writer, number: f"INSERT INTO met VALUES ({writer}, {number})")
    # Rows that are only added meet nobody's rows.
    assert not failed
    for server in servers:
        assert sorted(ask(server, "SELECT *, 1 FROM met")) == sorted(done)


@pytest.mark.parametrize("clause", ["", "PARTITIONED BY (id)"])
@pytest.mark.parametrize("overlap", [False, True])
def test_every_increment_that_was_reported_is_there_once(servers, clause, overlap):
    ask(servers[0], f"CREATE TABLE met (id BIGINT, n BIGINT) {clause}")
    ask(servers[0], f"INSERT INTO met SELECT value, 0 FROM range(0, {WRITERS})")

    def increment(writer, number):
        meant = f"id <> {(writer + number) % WRITERS}" if overlap else f"id = {writer}"
        return f"UPDATE met SET n = n + 1 WHERE {meant}"

    done, failed = write_at_once(servers, increment)
    # In partitions of their own they never meet.
    assert not failed or overlap or not clause
    for server in servers:
        assert ask(server, "SELECT sum(n), count(*) FROM met") == [(sum(count for *_, count in done), WRITERS)]


def test_deletes_and_merges_that_meet_lose_nothing(servers):
    ask(servers[0], "CREATE TABLE met (id BIGINT, writer BIGINT)")

    def change(writer, number):
        if number % 2:
            return f"DELETE FROM met WHERE id = {number // 2} AND writer = {writer}"
        return (
            f"MERGE INTO met USING (SELECT {number // 2} AS id, {writer} AS writer) AS s"
            " ON met.id = s.id AND met.writer = s.writer WHEN NOT MATCHED THEN INSERT (id, writer) VALUES (s.id, s.writer)"
        )

    done, _ = write_at_once(servers, change)
    there = set()
    for writer, number, count in sorted(done):
        one = (number // 2, writer)
        assert count == (one in there if number % 2 else 1)
        there ^= {one} if count else set()
    assert sorted(ask(servers[1], "SELECT id, writer FROM met")) == sorted(there)


def test_what_cannot_be_done_after_another_change_says_try_again(tmp_path):
    server = Server(tmp_path)
    with server.connect() as connection, connection.cursor() as cursor:
        rows(cursor, "CREATE TABLE changing AS SELECT value AS id, 0 AS n FROM range(0, 10)")
        place, errors = directory(cursor, "changing"), []

        def update():
            try:
                ask(server, "UPDATE changing SET n = (SELECT count(*) FROM range(0, 300000000) AS r WHERE r.value % 7 = 3)")
            except adbc_driver_manager.Error as error:
                errors.append(error)

        thread = threading.Thread(target=update)
        thread.start()
        # It has been planned, so the old columns have been read.
        begun = "SELECT mode FROM system.queries WHERE statement LIKE 'UPDATE changing%'"
        assert_soon(lambda: rows(cursor, begun) not in ([], [(None,)]), lambda: "the update has not begun")
        rows(cursor, "ALTER TABLE changing ADD COLUMN more BIGINT")
        thread.join()
        [error] = errors
        assert is_retryable(error) and "run the statement again" in str(error)
        assert rows(cursor, "SELECT count(*), sum(n), sum(more) FROM changing") == [(10, 0, None)]
        assert_soon(lambda: data_files(place) == named_files(place), lambda: data_files(place) - named_files(place))
    assert server.stop() == 0
