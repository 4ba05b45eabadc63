"""The real binary as a server, for the tests in this folder."""

import json
import os
import resource
import signal
import subprocess

import adbc_driver_flightsql.dbapi as flightsql

from surroundings import clean_environment

BINARY = os.environ["GRAPPE_BINARY"]


class Server:
    """A running `grappe server`."""

    def __init__(self, data_dir, *arguments, file_bytes_max=None, **environment):
        command = [BINARY, "server", "--flight-port", "0", "--cluster-port", "0", "--http-port", "0", "--data-dir", str(data_dir), *arguments]
        def limit_files():
            # A write beyond the limit fails instead of ending the process.
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes_max, file_bytes_max))

        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=clean_environment(**environment),
            preexec_fn=limit_files if file_bytes_max else None,
        )
        line = self.process.stdout.readline()
        assert line, "the server ended before it was ready"
        addresses = json.loads(line)
        self.flight, self.http, self.postgres = addresses["flight"], addresses["http"], addresses.get("postgres")

    def connect(self):
        return flightsql.connect(self.flight, autocommit=True)

    def stop(self):
        self.process.terminate()
        return self.process.wait(30)
