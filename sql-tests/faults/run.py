"""One run: a query, a fault in the middle of it, and what came of it."""

import random
import subprocess
import time

import adbc_driver_manager

from client import Client
from cluster import Unsettled, wait_until
from outcome import Run, error_code
from scene import Missed, Scene

TRIES_MAX = 6
CLEAN_SECONDS_MAX = 120
IDLE_SECONDS_MAX = 30
# A query with tasks for all executors.
PROBE = "SELECT count(*) FROM range(0, 50000000) WHERE value % 3 = 0"
PROBE_POLL_SECONDS = 0.01
PROBE_SECONDS_MAX = 40
# Faults happen in this share of the query's time; after each that came too late, the next comes so much earlier.
LATEST = 0.8
EARLIER = 0.6


class Runner:
    """Runs faults, one after another, in one cluster that it repairs between them."""

    def __init__(self, site, data, clean_seconds):
        self.site, self.data, self.clean_seconds = site, data, clean_seconds
        self.cluster = site.cluster

    def prepare(self):
        """Starts the cluster with the tables of TPC-H."""
        self.cluster.start()
        for statement in self.site.definitions(self.data):
            self.cluster.ask(statement)

    def repair(self):
        """Starts what died, and waits until nothing of the last query is left."""
        self.cluster.start()
        self.cluster.wait_until_idle(IDLE_SECONDS_MAX)
        self.cluster.wait_until_empty()
        self.see_all_work()
        self.cluster.wait_until_empty()

    def see_all_work(self):
        """Returns when each executor has been seen with a task: one that is active and gets none is of no use."""
        missing = {executor.pid: executor.name for executor in self.cluster.executors}

        def is_seen():
            client = Client(self.cluster, PROBE, "staged")
            client.start()
            while missing and not client.wait(PROBE_POLL_SECONDS):
                for pid, (_, tasks) in self.cluster.members().items():
                    if tasks:
                        missing.pop(pid, None)
            client.wait(CLEAN_SECONDS_MAX)
            if client.error:
                raise client.error
            return not missing

        wait_until(is_seen, lambda: f"tasks for {', '.join(missing.values())}", PROBE_SECONDS_MAX)

    def clean(self, kind, question):
        """Seconds of the question when nothing happens; its rows must be right."""
        key = (type(self.site), kind.mode, question.label)
        if key not in self.clean_seconds:
            kind().arrange(self.cluster, question)
            client = Client(self.cluster, question.sql, kind.mode)
            client.start()
            if not client.wait(CLEAN_SECONDS_MAX):
                raise Unsettled(f"{question.label} without a fault did not end in {CLEAN_SECONDS_MAX} s")
            if client.error or (says := question.difference(client.rows)):
                raise Unsettled(f"{question.label} without a fault: {client.error or says}")
            self.cluster.wait_until_empty()
            self.clean_seconds[key] = client.seconds()
        return self.clean_seconds[key]

    def run(self, seed, kind, query):
        """The fault until it hits, a little earlier each time that it comes too late."""
        chance = random.Random(f"{seed} {kind.name} {query}")
        moment = chance.uniform(0, LATEST)
        question = kind.question(self.data, query, chance)
        run = Run(seed, kind.name, question.label, outcome="missed")
        try:
            clean = self.clean(kind, question)
            for _ in range(TRIES_MAX):
                if self.strike(run, kind(), self.scene(kind, question, chance, moment * clean)):
                    break
                self.repair()
                moment *= EARLIER
            run.ratio = run.seconds / clean
        except (Unsettled, OSError, subprocess.CalledProcessError, adbc_driver_manager.Error) as error:
            run.outcome, run.says = "failed", str(error)
        return run

    def scene(self, kind, question, chance, moment):
        return Scene(self.site, kind.client(self.cluster, question.sql, kind.mode), chance, moment, question)

    def strike(self, run, fault, scene):
        """Whether it hit; the run then says what came of it."""
        try:
            fault.arrange(self.cluster, scene.question)
            fault.prepare(self.cluster)
            scene.client.start()
            run.hit = fault.inject(scene)
            struck = time.monotonic()
            ended = scene.client.wait(fault.seconds_max)
            run.seconds = scene.client.seconds()
        except Missed:
            struck = None
        finally:
            fault.heal(scene)
        if struck is None:
            return self.is_bad_anyway(run, fault, scene)
        if ended:
            run.outcome, run.says = judge(fault, scene)
        else:
            run.outcome, run.says = "hung", f"no answer {time.monotonic() - struck:.0f} s after the fault"
        if not run.is_bad():
            self.check_promises(run, fault, scene)
        return True

    @staticmethod
    def is_bad_anyway(run, fault, scene):
        """A fault that seems to have come too late counts if the query did not survive it."""
        ended = scene.client.wait(CLEAN_SECONDS_MAX)
        outcome, says = judge(fault, scene) if ended else ("hung", "after a fault that came too late")
        if outcome == "right":
            return False
        run.hit, run.outcome, run.says, run.seconds = "late", outcome, says, scene.client.seconds()
        return True

    def check_promises(self, run, fault, scene):
        broken = fault.broken_promise(scene)
        if broken:
            run.outcome, run.says = "failed", broken
            return
        self.repair()
        run.says = "; ".join(filter(None, [run.says, fault.note]))


def judge(fault, scene):
    """The outcome of a query that has ended."""
    client = scene.client
    if client.error is not None:
        code = error_code(client.error)
        return ("refused", code) if code in fault.refusals else ("failed", str(client.error))
    if client.rows is None:
        return "right", ""
    says = scene.difference(client.rows)
    return ("wrong", says) if says else ("right", "")
