"""Executors that come and go while a query runs, as an operator has it."""

import subprocess

from cluster import STOP_SECONDS_MAX
from kinds.fault import Fault
from scene import ASK_SECONDS, Missed


class Join(Fault):
    """A fourth executor: it gets tasks of the query that runs."""

    name = "join_mid_query"
    fourth = None

    def inject(self, scene):
        cluster = scene.cluster
        scene.wait_for_one(scene.executors())
        self.fourth = cluster.executor(len(cluster.executors) + 1)
        self.fourth.start()
        self.fourth.wait_ready()
        joined = scene.elapsed()
        while not cluster.members().get(self.fourth.pid, ["", 0])[1]:
            if scene.client.has_ended():
                raise Missed
            scene.pause(ASK_SECONDS)
        return f"{self.fourth.name} joined at {joined:.2f} s, had a task {scene.struck()}"

    def heal(self, scene):
        if self.fourth is not None:
            self.fourth.stop()


class DrainBySql(Fault):
    """DRAIN EXECUTOR: it finishes its tasks, hands out its files, and leaves."""

    name = "drain_sql"

    def inject(self, scene):
        self.victim, part = scene.wait_for_one(scene.executors())
        scene.cluster.ask(f"DRAIN EXECUTOR '{self.victim.name}'")
        hit = f"drained {part} {scene.struck()}"
        state = scene.cluster.members().get(self.victim.pid, ["unknown"])[0]
        self.says = None if state == "draining" or not self.victim.is_alive() else f"a drained executor is {state}"
        return hit

    def broken_promise(self, scene):
        if self.says:
            return self.says
        try:
            status = self.victim.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            return f"{self.victim.name} did not end within {STOP_SECONDS_MAX} s of DRAIN EXECUTOR"
        return f"{self.victim.name} ended with status {status}" if status else None
