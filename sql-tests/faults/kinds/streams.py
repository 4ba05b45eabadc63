"""Executors that die or stop while all of them run all of a query at the same time."""

from kinds.executors import StopLong
from kinds.fault import Fault
from scene import ASK_SECONDS

STREAMED = "SELECT count(*) FROM system.queries WHERE state = 'running' AND mode = 'streamed' AND tasks > 0"


def wait_until_streamed(scene):
    """Returns when the executors have tasks of the query: then each has some."""
    scene.wait_for(lambda: scene.cluster.ask(STREAMED)[0][0], ASK_SECONDS)


class StreamedKill(Fault):
    """SIGKILL at a random moment: what it made and nobody has read is lost, and the query runs again in stages."""

    name = "streamed_kill"
    mode = "streamed"

    def inject(self, scene):
        wait_until_streamed(scene)
        victim = scene.executors()[0]
        victim.kill()
        return f"killed {victim.name} {scene.struck()}"


class StreamedKillAll(Fault):
    """SIGKILL of all; they are started again after three seconds."""

    name = "streamed_kill_all"
    mode = "streamed"
    seconds_max = 120

    def inject(self, scene):
        wait_until_streamed(scene)
        for victim in scene.cluster.executors:
            victim.process.kill()
        hit = f"killed all {scene.struck()}"
        scene.pause(3)
        for victim in scene.cluster.executors:
            victim.process.wait()
            victim.start()
        return hit


class StreamedStop(StopLong):
    """SIGSTOP until it is lost: whoever waits for its rows does not wait longer than that."""

    name = "streamed_stop"
    mode = "streamed"

    def choose(self, scene):
        wait_until_streamed(scene)
        victim = scene.executors()[0]
        return victim, victim.name
