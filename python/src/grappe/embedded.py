"""A server that is a child process of this one, and ends with it.

The server stops when its standard input is closed. The kernel closes it whatever way this process ends.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
import weakref
from pathlib import Path
from typing import IO

from grappe.errors import BinaryNotFoundError, Error, UnavailableError
from grappe.options import Options

BINARY_VARIABLE = "GRAPPE_BINARY"
ERROR_TEXT_BYTES_MAX = 4_000

_running: weakref.WeakSet[EmbeddedServer] = weakref.WeakSet()


class EmbeddedServer:
    """A `grappe server` on ports of its own on loopback.

    Raises `BinaryNotFoundError` if there is no such program, `UnavailableError` if it does not get ready in time, and
    `Error` with its own words if it refuses to start.
    """

    def __init__(self, binary: str | os.PathLike[str] | None, data_dir: str, memory: str | None, options: Options) -> None:
        self._options = options
        self._log: IO[bytes] = tempfile.TemporaryFile()
        program = find_binary(binary)
        command = [program, "server", "--until-input-closes", "--log", "warn", "--listen", "127.0.0.1"]
        command += ["--flight-port", "0", "--cluster-port", "0", "--http-port", "0", "--data-dir", data_dir]
        command += ["--memory", memory] if memory else []
        try:
            # A session of its own: Ctrl-C in a terminal interrupts the query, not the server.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, env=_environment(),
                start_new_session=True,
            )
        except OSError as error:
            self._log.close()
            raise BinaryNotFoundError(f'"{program}" cannot be started: {error.strerror}') from error
        _running.add(self)
        self.url, self.http_url = self._addresses()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def has_ended(self) -> bool:
        """Whether it runs no more."""
        return self._process.poll() is not None

    def stop(self) -> None:
        """Ends it, after what it has running was stopped; nothing happens if it has ended."""
        self._let_go()
        try:
            self._process.wait(self._options.stop_seconds_max)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._log.close()

    def _let_go(self) -> None:
        if self._process.stdin:
            self._process.stdin.close()

    def _addresses(self) -> tuple[str, str]:
        """Reads the line that it prints when it is ready."""
        assert self._process.stdout
        limit = threading.Timer(self._options.connect_seconds_max, self._process.kill)
        limit.start()
        line = self._process.stdout.readline()
        timed_out = not limit.is_alive()
        limit.cancel()
        if line:
            ready = json.loads(line)
            return ready["flight"], ready["http"]
        self._process.wait()
        said = self._said()
        self.stop()
        if timed_out:
            raise UnavailableError(f"the embedded server was not ready in {self._options.connect_seconds_max} s: {said}")
        raise Error(f"the embedded server did not start: {said}")

    def _said(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - ERROR_TEXT_BYTES_MAX))
        return self._log.read().decode(errors="replace").strip() or "it said nothing"


def find_binary(binary: str | os.PathLike[str] | None) -> str:
    """The path of the program: as given, else of the variable GRAPPE_BINARY, else found on PATH.

    Raises `BinaryNotFoundError` if there is none.
    """
    wanted = os.fspath(binary) if binary is not None else os.environ.get(BINARY_VARIABLE)
    found = shutil.which(wanted or "grappe")
    if found:
        return found
    if wanted:
        why = "cannot be run by you" if Path(wanted).exists() else "is not there"
        raise BinaryNotFoundError(f'the program "{wanted}" {why}; give the path of grappe as binary=...')
    raise BinaryNotFoundError(
        'no program "grappe" on PATH; put it there, give its path as binary=... or in GRAPPE_BINARY, '
        "or connect to a running server: grappe.connect('grpc://HOST:7470')"
    )


def _environment() -> dict[str, str]:
    """Ours without the variable that the server would take for a setting."""
    return {name: value for name, value in os.environ.items() if name != BINARY_VARIABLE}


def _after_fork_in_child() -> None:
    # A forked process would hold the server's input open after its parent's end.
    for server in list(_running):
        server._let_go()


os.register_at_fork(after_in_child=_after_fork_in_child)
