"""A throw-away PostgreSQL server, for the tests in this folder."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

USER, PASSWORD, DATABASE = "grape", "must-not-be-seen", "postgres"


def programs():
    [*_, newest] = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
    return newest


class Postgres:
    """A server on a port of 127.0.0.1, in a directory of its own; PostgreSQL refuses to run as root."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="grappe-postgres-"))
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = listener.getsockname()[1]
        self.url = f"postgres://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{DATABASE}"
        password = self.folder / "password"
        password.write_text(PASSWORD)
        password.chmod(0o644)
        self.run("initdb", "--auth=scram-sha-256", f"--username={USER}", f"--pwfile={password}", "--no-sync")
        self.start()

    def run(self, program, *arguments):
        as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
        command = [*as_user, programs() / program, "-D", self.folder / "data", *arguments]
        # A server that is started keeps the streams that it is given: none of ours.
        log = (self.folder / "log").open("a")
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", timeout=60)

    def start(self):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder} -c fsync=off"
        self.run("pg_ctl", "start", "--wait", "-o", options)

    def stop(self, mode="fast"):
        self.run("pg_ctl", "stop", "--wait", "-m", mode)

    def remove(self):
        self.stop("immediate")
        shutil.rmtree(self.folder)
