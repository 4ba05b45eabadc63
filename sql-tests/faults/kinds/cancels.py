"""Clients that want no more of their query, and say so."""

from client import Shell
from kinds.client import unquiet
from kinds.fault import Fault
from outcome import CANCELLED
from scene import Missed

# Until the client hears that its query has ended.
ANSWER_SECONDS_MAX = 5


class Cancel(Fault):
    """Its tasks end at once, its files soon."""

    refusals = (CANCELLED,)
    seconds_max = ANSWER_SECONDS_MAX

    def inject(self, scene):
        _, part = scene.wait_for_one(scene.executors())
        self.cancel(scene)
        return f"cancelled {part} at {scene.elapsed():.2f} s"

    def broken_promise(self, scene):
        if scene.client.rows is not None:
            return "rows of a query that was cancelled"
        return unquiet(scene.cluster)


class CancelByDriver(Cancel):
    """`adbc_cancel` of the cursor that waits."""

    name = "cancel_adbc"

    def cancel(self, scene):
        scene.client.cursor.adbc_cancel()


class CancelBySql(Cancel):
    """`CANCEL QUERY 'id'` on another connection."""

    name = "cancel_sql"

    def cancel(self, scene):
        running = scene.cluster.ask("SELECT id, statement FROM system.queries WHERE state = 'running'")
        ids = [id for id, statement in running if statement == scene.client.sql]
        if not ids:
            raise Missed
        scene.cluster.ask(f"CANCEL QUERY '{ids[0]}'")


class CancelByShell(Cancel):
    """SIGINT of the shell, as Ctrl-C sends it."""

    name = "cancel_shell"
    client = Shell

    def cancel(self, scene):
        scene.client.interrupt()

    def broken_promise(self, scene):
        status = scene.client.process.returncode
        return unquiet(scene.cluster) if status else f"the shell ended with status {status}"
