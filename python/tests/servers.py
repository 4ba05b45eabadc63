"""The real binary as a server, and what can stand between it and a client."""

import contextlib
import json
import os
import random
import socket
import subprocess
import tempfile
import threading
import time

BINARY = os.environ["GRAPPE_BINARY"]
# Of ada, the user in the fixture `settings`.
PASSWORD = "lovelace: 1815 @/?"


def clean_environment(**extra):
    """Ours without settings that a developer's shell may hold."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("GRAPPE_")}, **extra}


class Server:
    """A running `grappe server`, or a whole `grappe cluster run` with the words for it."""

    def __init__(self, data_dir, *arguments, command=("server",)):
        ports = ["--flight-port", "0", "--cluster-port", "0", "--http-port", "0"]
        self.process = subprocess.Popen(
            [BINARY, *command, *ports, "--data-dir", str(data_dir), *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=clean_environment(),
        )
        line = self.process.stdout.readline()
        assert line, "the server ended before it was ready"
        self.url = json.loads(line)["flight"]
        self.http_url = json.loads(line)["http"]

    def stop(self):
        self.process.terminate()
        self.process.stdout.close()
        return self.process.wait(60)


class Coordinator:
    """A `grappe server` that can be killed and started again, with the same ports and the same tables.

    One that stands by for another is not waited for.
    """

    def __init__(self, data_dir, *arguments, stands_by=False):
        ports = free_ports(3)
        names = ("--flight-port", "--cluster-port", "--http-port")
        words = [str(word) for pair in zip(names, ports) for word in pair]
        self._command = [BINARY, "server", *words, "--data-dir", str(data_dir), *arguments]
        self.address = f"127.0.0.1:{ports[0]}"
        self.url = f"grpc://{self.address}"
        self._log = tempfile.TemporaryFile()
        self._process = None
        self.start(waits=not stands_by)

    def start(self, waits=True):
        """Starts it, and waits until it is ready."""
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=self._log, text=True, env=clean_environment()
        )
        if waits and not self._process.stdout.readline():
            self._log.seek(0)
            raise AssertionError(f"the server ended before it was ready: {self._log.read().decode()[-2000:]}")

    def kill(self):
        """As a lost machine, or the kernel, does it."""
        self._end(self._process.kill)

    def stop(self):
        """As an operator does it."""
        self._end(self._process.terminate)

    def _end(self, how):
        how()
        self._process.wait(60)
        self._process.stdout.close()


def free_ports(count):
    """Ports that nobody is given by chance, while their server is away."""
    found = []
    while len(found) < count:
        port = random.randrange(15_000, 30_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return found


def until(condition, seconds_max=30):
    """Waits for a condition, and gives its value."""
    end = time.monotonic() + seconds_max
    while not (value := condition()):
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)
    return value


class Wire:
    """A TCP connection to a server that can be cut: what is under way breaks, what comes later goes through."""

    def __init__(self, url):
        host, port = url.rpartition("://")[2].split(":")
        self._target = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets = []
        self.url = f"grpc://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self):
        """Breaks what is connected."""
        for end in self._sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._sockets.clear()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self):
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._target)
            self._sockets += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source, sink):
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
    except OSError:
        pass
    finally:
        sink.close()
