"""Who asks the query: a thread of this process, or a process that can be killed.

As a program: python client.py FLIGHT_URL MODE, with the statement on standard input.
"""

import pathlib
import signal
import subprocess
import sys
import threading
import time

import adbc_driver_flightsql.dbapi as flightsql
import adbc_driver_manager

def choice(mode):
    return f"SET grappe.execution_mode = '{mode}'"


def ask(flight, mode, sql, opened=lambda cursor: None, fetch=lambda cursor: cursor.fetchall()):
    with flightsql.connect(flight, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(choice(mode))
        cursor.fetchall()
        opened(cursor)
        cursor.execute(sql)
        return fetch(cursor)


def first(error):
    """What went wrong first: closing fails too when nobody is there, and its error hides the other."""
    while isinstance(error.__context__, adbc_driver_manager.Error):
        error = error.__context__
    return error


class Client:
    """A thread that runs one statement."""

    def __init__(self, cluster, sql, mode):
        self.flight, self.sql, self.mode = cluster.flight, sql, mode
        self.rows, self.error, self.closing_error, self.cursor = None, None, None, None
        self.started = self.ended = None
        self.done = threading.Event()
        # A query that hangs must not keep the harness.
        self.thread = threading.Thread(target=self.run, daemon=True)

    def start(self):
        self.started = time.monotonic()
        self.thread.start()

    def run(self):
        try:
            ask(self.flight, self.mode, self.sql, self.opened, self.keep)
        except (adbc_driver_manager.Error, RuntimeError) as error:
            # Who has all rows can only fail to say goodbye.
            if self.rows is None:
                self.error = first(error)
            else:
                self.closing_error = first(error)
        self.ended = time.monotonic()
        self.done.set()

    def keep(self, cursor):
        self.rows = self.fetch(cursor)

    def fetch(self, cursor):
        return cursor.fetchall()

    def opened(self, cursor):
        self.cursor, self.started = cursor, time.monotonic()

    def has_ended(self):
        return self.done.is_set()

    def wait(self, seconds_max):
        """Whether it ended in time."""
        return self.done.wait(seconds_max)

    def seconds(self):
        return (self.ended or time.monotonic()) - self.started


class ReaderInSteps(Client):
    """Reads one batch, and the others when told to."""

    def __init__(self, cluster, sql, mode):
        super().__init__(cluster, sql, mode)
        self.has_begun, self.may_go_on = threading.Event(), threading.Event()

    def fetch(self, cursor):
        reader = cursor.fetch_record_batch()
        batches = [reader.read_next_batch()]
        self.has_begun.set()
        self.may_go_on.wait()
        batches += reader
        return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


class ClientProcess:
    """A process that runs one statement; nobody reads its rows."""

    rows = error = None

    def __init__(self, cluster, sql, mode):
        self.flight, self.sql, self.mode, self.process = cluster.flight, sql, mode, None

    def start(self):
        command = [sys.executable, str(pathlib.Path(__file__).resolve()), self.flight, self.mode]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.process.stdin.write(self.sql)
        self.process.stdin.close()
        # It says when it is about to ask.
        self.process.stdout.readline()
        self.started = time.monotonic()

    def has_ended(self):
        return self.process.poll() is not None

    def wait(self, seconds_max):
        try:
            self.process.wait(seconds_max)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self):
        self.process.kill()
        self.process.wait()

    def seconds(self):
        return time.monotonic() - self.started


class Shell(ClientProcess):
    """`grappe --connect`; nobody reads its rows."""

    def __init__(self, cluster, sql, mode):
        super().__init__(cluster, sql, mode)
        self.cluster = cluster

    def start(self):
        shell = [self.cluster.folder / "grappe", "--connect", self.flight, "-X"]
        command = [*shell, "-c", choice(self.mode), "-c", self.sql]
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=self.cluster.environment,
        )
        self.started = time.monotonic()

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)


if __name__ == "__main__":
    ask(sys.argv[1], sys.argv[2], sys.stdin.read(), lambda cursor: print("asking", flush=True))
