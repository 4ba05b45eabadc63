"""A coordinator that dies or leaves."""

import signal
import subprocess
import time

import adbc_driver_manager

from client import ask, first
from cluster import STOP_SECONDS_MAX, Unsettled
from kinds.fault import Fault
from outcome import UNAVAILABLE, error_code

ERROR_SECONDS_MAX = 5
JOIN_SECONDS_MAX = 10
SIGNAL_SECONDS = 0.2
KEPT = [(1, "kept"), (2, "too")]


class KillCoordinator(Fault):
    """SIGKILL: the client hears of it; a new coordinator knows its tables and gets its executors back."""

    name = "coordinator_kill"
    refusals = (UNAVAILABLE,)
    seconds_max = ERROR_SECONDS_MAX

    def arrange(self, cluster, question):
        cluster.ask("CREATE TABLE IF NOT EXISTS kept AS SELECT * FROM (VALUES (1, 'kept'), (2, 'too')) AS v (n, text)")

    def inject(self, scene):
        _, part = scene.wait_for_one(scene.executors())
        scene.cluster.server.kill()
        scene.cluster.forget_watcher()
        return f"killed the coordinator of {part} {scene.struck()}"

    def broken_promise(self, scene):
        cluster = scene.cluster
        cluster.server.start()
        cluster.server.wait_ready()
        started = time.monotonic()
        try:
            cluster.wait_until_whole(JOIN_SECONDS_MAX)
        except Unsettled as unsettled:
            return f"executors did not join the new coordinator: {unsettled}"
        self.note = f"executors back after {time.monotonic() - started:.1f} s"
        kept = cluster.ask("SELECT n, text FROM kept ORDER BY n")
        if list(map(tuple, kept)) != KEPT:
            return f"the table kept says {kept}"
        return scene.difference(ask(cluster.flight, self.mode, scene.client.sql))


class DrainCoordinator(Fault):
    """SIGTERM: the running query ends, no other one begins, and it leaves."""

    name = "coordinator_drain"
    says = None

    def inject(self, scene):
        _, part = scene.wait_for_one(scene.executors())
        server = scene.cluster.server
        with scene.cluster.connect() as connection, connection.cursor() as cursor:
            server.signal(signal.SIGTERM)
            # A signal takes a moment to arrive.
            time.sleep(SIGNAL_SECONDS)
            try:
                cursor.execute("SELECT count(*) FROM nation")
                self.says = f"it ran another statement: {cursor.fetchall()}"
            except (adbc_driver_manager.Error, RuntimeError) as error:
                code = error_code(first(error))
                self.says = None if code == UNAVAILABLE else f"it refused another statement with {code}: {error}"
        scene.cluster.forget_watcher()
        return f"drained the coordinator of {part} {scene.struck()}"

    def broken_promise(self, scene):
        server = scene.cluster.server
        try:
            status = server.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            return f"{server.name} did not end within {STOP_SECONDS_MAX} s of SIGTERM"
        if scene.client.closing_error is not None:
            self.note = f"gone before the client had said goodbye: {error_code(scene.client.closing_error)}"
        return f"{server.name} ended with status {status}" if status else self.says
