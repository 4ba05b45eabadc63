"""A client that disappears."""

import time

from client import ClientProcess
from cluster import Unsettled
from kinds.fault import Fault

IDLE_SECONDS_MAX = 2
EMPTY_SECONDS_MAX = 60
# An executor without tasks computes next to nothing.
WATCHED_SECONDS = 1
COMPUTING_SECONDS_MAX = 0.1


class ClientGone(Fault):
    """SIGKILL of the client process: its tasks end at once, its files soon."""

    name = "client_gone"
    client = ClientProcess

    def inject(self, scene):
        _, part = scene.wait_for_one(scene.executors())
        scene.struck()
        scene.client.kill()
        return f"killed the client of {part} at {scene.elapsed():.2f} s"

    def broken_promise(self, scene):
        return unquiet(scene.cluster)


def unquiet(cluster):
    """What of a query that nobody wants any more goes on; None if nothing does."""
    try:
        cluster.wait_until_idle(IDLE_SECONDS_MAX)
        seconds = computed(cluster)
        if max(seconds) > COMPUTING_SECONDS_MAX:
            return f"executors without tasks computed {seconds} s within {WATCHED_SECONDS} s"
        cluster.wait_until_empty(EMPTY_SECONDS_MAX)
    except Unsettled as unsettled:
        return str(unsettled)


def computed(cluster):
    """Seconds of CPU time that each executor uses in a while."""
    before = [executor.cpu_seconds() for executor in cluster.executors]
    time.sleep(WATCHED_SECONDS)
    return [executor.cpu_seconds() - was for executor, was in zip(cluster.executors, before)]
