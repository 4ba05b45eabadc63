"""A soak: many connections do all kinds of things to a cluster whose executors are killed, one after another.

First in peace, then under fire; every answer is checked. At the end the coordinator must hold what it held before.
"""

import argparse
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

# What all three kinds of tests need stands with the drivers'; the cluster is the faults'.
BESIDE = pathlib.Path(__file__).resolve().parent.parent
sys.path += [str(BESIDE / "drivers"), str(BESIDE / "faults")]

import tables
from clients import BAD, OUTCOMES, Client, Vanisher
from cluster import Cluster, Node, Unsettled, wait_until
from lake import files_below
from processes import MB, forget_peak, peak_bytes
from resources import Held, settled
from statements import KINDS

EXECUTORS = 3
CALM_SECONDS, CALM_SHARE_MAX = 30, 0.25
KILL_SECONDS = 20
SETTLE_SECONDS_MAX = 180
# Files of dropped tables and broken writes go after so long: longer than any statement here writes.
SWEEP_SECONDS = 60
# Results whose reader has vanished go after so long.
UNREAD_SECONDS = 30
SHOWN_MAX = 20


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10, help="of both parts together")
    parser.add_argument("--connections", type=int, default=50, help="at once")
    parser.add_argument("--seed", type=int, default=1, help="of all that they do")
    parser.add_argument("--memory", default="512MB", help="of the coordinator")
    parser.add_argument("--executor-memory", default="256MB", help="of each executor")
    parser.add_argument("--keep", action="store_true", help="keeps logs and data of the cluster")
    return parser.parse_args()


class Crowd:
    """All connections of one part."""

    def __init__(self, cluster, seed, connections):
        self.stop, self.hung = threading.Event(), []
        clients = [Client(cluster.flight, f"{seed} {number}", self.stop) for number in range(connections - 1)]
        self.clients = [*clients, Vanisher(cluster.flight, f"{seed} vanisher", self.stop)]

    def run(self, seconds, tick):
        for client in self.clients:
            client.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.hung:
            tick()
            self.look()
            time.sleep(0.2)
        self.stop.set()
        while any(client.is_alive() for client in self.clients) and not self.hung:
            tick()
            self.look()
            time.sleep(0.2)

    def look(self):
        self.hung = list(filter(None, (client.hung() for client in self.clients)))

    def done(self):
        return self.hung + [done for client in self.clients for done in client.done]


class Killer:
    """Kills an executor every so often, and starts it again after a pause."""

    def __init__(self, cluster, seed):
        self.cluster, self.random = cluster, random.Random(f"{seed} killer")
        self.dead, self.kills, self.next_kill, self.next_start = None, 0, time.monotonic() + KILL_SECONDS / 2, None

    def tick(self):
        now = time.monotonic()
        if self.dead and now >= self.next_start:
            self.dead.start()
            self.dead = None
        elif not self.dead and now >= self.next_kill:
            self.dead = self.random.choice(self.cluster.executors)
            self.dead.kill()
            self.kills += 1
            self.next_kill, self.next_start = now + KILL_SECONDS, now + self.random.uniform(0.5, 4)


class Soak:
    """A cluster, and both parts."""

    def __init__(self, options, folder):
        self.options, self.folder, self.kills = options, folder, 0
        settings = {"SWEEP_AFTER_SECONDS": SWEEP_SECONDS, "RESULT_IDLE_SECONDS_MAX": UNREAD_SECONDS}
        settings = {f"GRAPPE_SERVER__{name}": str(value) for name, value in settings.items()}
        nodes = [Node()] * (1 + EXECUTORS)
        self.cluster = Cluster(folder, nodes, options.memory, options.executor_memory, **settings)
        self.done, self.complaints = {}, []

    def run(self):
        seconds = self.options.minutes * 60
        calm_seconds = min(CALM_SECONDS, seconds * CALM_SHARE_MAX)
        self.cluster.start()
        tables.create(self.cluster.ask)
        self.part("calm", calm_seconds)
        self.rest()
        before = self.held()
        forget_peak(self.cluster.server.pid)
        killer = Killer(self.cluster, self.options.seed)
        self.part("under fire", seconds - calm_seconds, killer.tick)
        peak_mb = peak_bytes(self.cluster.server.pid) // MB
        self.rest()
        after = settled(self.held, before, SETTLE_SECONDS_MAX)
        self.complaints += [f"the coordinator has grown: {growth}" for growth in after.growth(before)]
        print(f"executors killed: {killer.kills}")
        print(f"coordinator before: {before.line()}")
        print(f"coordinator after:  {after.line()}; peak {peak_mb} MB")

    def part(self, name, seconds, tick=lambda: None):
        crowd = Crowd(self.cluster, f"{self.options.seed} {name}", self.options.connections)
        crowd.run(seconds, tick)
        self.done[name] = crowd.done()

    def rest(self):
        """Until nothing of any statement is left; complains of what stays."""
        try:
            self.cluster.start()
            self.cluster.wait_until_idle(SETTLE_SECONDS_MAX)
            self.cluster.wait_until_empty()
            wait_until(lambda: not self.left(), self.left, SETTLE_SECONDS_MAX, 0.5)
        except Unsettled as error:
            self.complaints.append(str(error))

    def left(self):
        """What runs, and what lies on disk, although nobody asks."""
        running = "SELECT state, statement FROM system.queries WHERE state IN ('queued', 'running', 'ready')"
        queries = [f"{state}: {text}" for state, text in self.cluster.ask(running) if text != running]
        return queries + [str(path) for path in files_below(self.folder) if path.parent.name.startswith("datafusion-")]

    def held(self):
        return Held.by(self.cluster.server.pid, self.folder / "data")


def summary(parts):
    """A row a kind in each part: how many, what came of them, and how long they took."""
    names = ["", "kind", "all", *OUTCOMES, "again", "p50 ms", "p99 ms", "max s"]
    table = [names]
    for part, all_done in parts.items():
        for kind in dict.fromkeys(done.kind for done in sorted(all_done, key=lambda done: order(done.kind))):
            of = [done for done in all_done if done.kind == kind]
            seconds = sorted(done.seconds for done in of)
            counts = [sum(done.outcome == outcome for done in of) for outcome in OUTCOMES]
            times = [*(f"{quantile(seconds, share) * 1000:.0f}" for share in (0.5, 0.99)), f"{seconds[-1]:.1f}"]
            table.append([part, kind, len(of), *counts, sum(done.retries for done in of), *times])
    widths = [max(len(str(row[at])) for row in table) for at in range(len(names))]
    for row in table:
        cells = [str(cell) for cell in row]
        left, right = zip(cells[:2], widths[:2]), zip(cells[2:], widths[2:])
        yield "  ".join([*(cell.ljust(width) for cell, width in left), *(cell.rjust(width) for cell, width in right)])


def order(kind):
    return list(KINDS).index(kind) if kind in KINDS else len(KINDS)


def quantile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def main():
    options = arguments()
    # Python complains about connections that cannot say goodbye.
    sys.unraisablehook = lambda _: None
    folder = pathlib.Path(tempfile.mkdtemp(prefix="grappe-soak-"))
    soak = Soak(options, folder)
    try:
        soak.run()
    finally:
        print(*summary(soak.done), sep="\n")
        soak.cluster.abandon()
        is_bad = report(soak)
        if is_bad or options.keep:
            print(f"kept {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if is_bad else 0


def report(soak):
    """Says what was bad; whether anything was."""
    bad = [done for part in soak.done.values() for done in part if done.outcome in BAD]
    counts = ", ".join(f"{outcome} {sum(done.outcome == outcome for done in bad)}" for outcome in BAD)
    print(f"statements: {sum(map(len, soak.done.values()))}; {counts}")
    for done in bad[:SHOWN_MAX]:
        print(f"  {done.outcome} {done.kind} after {done.seconds:.1f} s: {done.says}")
    for complaint in soak.complaints:
        print(f"  {complaint}")
    return bool(bad or soak.complaints)


if __name__ == "__main__":
    sys.exit(main())
