"""The real binary as a server, and what can stand between it and a client."""

import json
import os
import socket
import subprocess
import threading

BINARY = os.environ["GRAPPE_BINARY"]


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
