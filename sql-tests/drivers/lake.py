"""Managed tables as they lie on disk, for the tests in this folder."""

import json
import os
import pathlib
import time
from urllib.parse import unquote, urlparse

import adbc_driver_manager

SWEEP_SECONDS_MAX = 20


def rows(cursor, sql):
    cursor.execute(sql)
    return cursor.fetchall()


def ask(server, sql):
    """The rows of one statement, over a connection of its own."""
    with server.connect() as connection, connection.cursor() as cursor:
        return rows(cursor, sql)


def detail(cursor, table):
    cursor.execute(f"DESCRIBE DETAIL {table}")
    [facts] = cursor.fetch_arrow_table().to_pylist()
    return facts


def directory(cursor, table):
    return pathlib.Path(unquote(urlparse(detail(cursor, table)["location"]).path))


def files_below(place):
    """Paths below a directory, from it on. Directories may go away meanwhile."""
    for folder, _, names in os.walk(place):
        yield from ((pathlib.Path(folder) / name).relative_to(place) for name in names)


def data_files(place):
    """Everything below a table's directory but its log, half-written files too."""
    found = files_below(place)
    return {str(path) for path in found if path.parts[0] != "_delta_log"}


def named_files(place):
    """The data files that any version in the log names."""
    commits = (pathlib.Path(place) / "_delta_log").glob("*.json")
    actions = (json.loads(line) for commit in commits for line in commit.read_text().splitlines())
    return {unquote(action["add"]["path"]) for action in actions if "add" in action}


def assert_soon(holds, says, seconds_max=SWEEP_SECONDS_MAX):
    """Asks again until it holds: who removes files tells nobody."""
    end = time.monotonic() + seconds_max
    while not holds():
        assert time.monotonic() < end, f"after {seconds_max} s: {says()}"
        time.sleep(0.1)


def is_retryable(error):
    """Whether an ADBC error says that the statement can be tried again."""
    return error.status_code == adbc_driver_manager.AdbcStatusCode.IO and "(Unavailable;" in str(error)
