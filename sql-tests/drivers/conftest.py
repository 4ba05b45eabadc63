"""Starts the real binary, and a real S3 server, for the tests in this folder."""

import json
import pathlib
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from servers import BINARY, Server
from surroundings import clean_environment, free_port_with_twin

START_SECONDS_MAX = 60


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    assert server.stop() == 0


@pytest.fixture
def cursor(server):
    with server.connect() as connection, connection.cursor() as cursor:
        yield cursor


@pytest.fixture(scope="session")
def two_executors(tmp_path_factory):
    """The Flight address of a `grappe cluster run` that every test leaves as it was."""
    command = [BINARY, "cluster", "run", "--executors", "2", "--vcores", "1", "--memory", "2GB"]
    command += ["--flight-port", "0", "--cluster-port", "0", "--http-port", "0"]
    command += ["--data-dir", str(tmp_path_factory.mktemp("two"))]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=clean_environment()
    )
    line = process.stdout.readline()
    assert line, "the cluster ended before it was ready"
    yield json.loads(line)["flight"]
    process.terminate()
    assert process.wait(90) == 0


@pytest.fixture
def grappe(tmp_path):
    """Runs the binary as a user would: `grappe("-c", "SELECT 1")`."""

    def run(*arguments, stdin="", **environment):
        return subprocess.run(
            [BINARY, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=tmp_path,
            env=clean_environment(**{"HOME": str(tmp_path), "GRAPPE_DATA_DIR": str(tmp_path / "data"), **environment}),
        )

    return run


@pytest.fixture(scope="session")
def s3(tmp_path_factory):
    """A SeaweedFS with an S3 door; its settings as variables that object stores know."""
    folder = tmp_path_factory.mktemp("seaweed")
    keys = {"accessKey": "grape", "secretKey": "must-not-be-seen"}
    identity = {"name": "grappe", "credentials": [keys], "actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    port = free_port_with_twin()
    weed = pathlib.Path(sys.executable).parent / "weed"
    command = [
        weed, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", f"-s3.port={port}",
        f"-s3.config={folder / 's3.json'}", f"-master.port={free_port_with_twin()}", f"-volume.port={free_port_with_twin()}",
        f"-filer.port={free_port_with_twin()}", "-master.volumeSizeLimitMB=64", "-volume.max=20",
    ]
    log = (folder / "log").open("w")
    process = subprocess.Popen(command, stdout=log, stderr=log)
    endpoint = f"http://127.0.0.1:{port}"
    settings = {
        "AWS_ENDPOINT": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": keys["accessKey"],
        "AWS_SECRET_ACCESS_KEY": keys["secretKey"],
    }
    try:
        wait_until_answering(endpoint, process)
        yield settings
    finally:
        process.terminate()
        process.wait(30)


def wait_until_answering(url, process):
    """Asks again until the server gives any HTTP answer: SeaweedFS tells nobody when it is ready."""
    end = time.monotonic() + START_SECONDS_MAX
    while True:
        assert process.poll() is None, "the S3 server ended before it was ready"
        try:
            urllib.request.urlopen(url, timeout=5)
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            assert time.monotonic() < end, f"{url} did not answer in {START_SECONDS_MAX} s"
            time.sleep(0.1)
