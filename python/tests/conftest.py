"""Starts the real binary for the tests in this folder; GRAPPE_BINARY says where it is."""

import subprocess
import time

import pytest

import grappe
import grappe.statements
from servers import BINARY, PASSWORD, Server, clean_environment

WAIT_SECONDS_MAX = 30


@pytest.fixture(scope="session")
def client():
    """A client with a server of its own."""
    with grappe.connect(binary=BINARY) as client:
        yield client


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """A server that several clients share."""
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A coordinator with two executors."""
    words = ("cluster", "run", "--executors", "2", "--vcores", "1")
    cluster = Server(tmp_path_factory.mktemp("cluster"), "--memory", "2GB", command=words)
    yield cluster
    assert cluster.stop() == 0


@pytest.fixture(scope="session")
def settings(tmp_path_factory):
    """A settings file with one user."""
    ran = subprocess.run(
        [BINARY, "hash-password"], input=PASSWORD + "\n", capture_output=True, text=True, env=clean_environment(), check=True
    )
    file = tmp_path_factory.mktemp("settings") / "grappe.toml"
    file.write_text(f"[server.users]\nada = '{ran.stdout.strip()}'\n")
    return file


@pytest.fixture
def name(client, request):
    """The name of a table that is gone after the test."""
    name = f"T {request.node.name.replace('/', ' ')}"
    yield name
    client.sql(f"DROP TABLE IF EXISTS {grappe.statements.quoted(name)}")


@pytest.fixture
def state_of(client):
    """Waits until a query has left the state `running`, and says which it came to."""

    def wait(mark, of=client):
        end = time.monotonic() + WAIT_SECONDS_MAX
        while True:
            sql = "SELECT state FROM system.queries WHERE statement LIKE $1 ORDER BY started DESC LIMIT 1"
            states = of.sql(sql, [f"%-- {mark}"]).to_arrow()["state"].to_pylist()
            if states and states[0] not in ("running", "reading"):
                return states[0]
            assert time.monotonic() < end, f"the query {mark} is still {states}"

    return wait
