"""Disks that fill up: work directories on small file systems in memory."""

import errno
import subprocess
import time

from client import Client
from cluster import Unsettled
from kinds.fault import Fault
from outcome import EXHAUSTED
from run import PROBE, PROBE_POLL_SECONDS
from scene import Missed

DISK_BYTES = 256 << 20
BALLAST = "ballast"
# An executor that cannot keep results gets no tasks for this long; what the coordinator says then.
REST_SECONDS = 30
RESTS = "results of an executor were lost"
# What the client is told when that is so for all.
FULL = "the disk is full under"
# Queries with work for all, while one rests.
PROBES = 3


class DiskFault(Fault):
    """Executors on small disks of their own."""

    is_privileged = True

    def __init__(self):
        self.mounted = []

    def prepare(self, cluster):
        for executor in cluster.executors:
            executor.stop()
            options = f"size={DISK_BYTES}"
            subprocess.run(["mount", "-t", "tmpfs", "-o", options, "grappe-fault", executor.work_dir], check=True)
            self.mounted.append(executor)
        cluster.start()

    def heal(self, scene):
        for executor in self.mounted:
            if executor.is_alive():
                executor.kill()
            subprocess.run(["umount", executor.work_dir], check=True)
        self.mounted = []


class DiskFull(DiskFault):
    """The disk of one executor: others take over, and it rests."""

    name = "disk_full"
    victim = rests_since = says = None

    def inject(self, scene):
        server = scene.cluster.server
        said_bytes = server.log_bytes()
        self.victim, part = scene.wait_for_one(scene.executors())
        fill(self.victim)
        hit = f"filled the disk of {part} {scene.struck()}"
        while not server.has_said(RESTS, said_bytes):
            if scene.client.has_ended():
                raise Missed
            scene.pause(0.05)
        self.rests_since = time.monotonic()
        return hit

    def heal(self, scene):
        # It rests only as long as it lives.
        if self.rests_since is not None and scene.client.has_ended():
            self.says = self.works(scene.cluster)
        super().heal(scene)

    def works(self, cluster):
        """Says when the victim gets a task although it rests."""
        cluster.wait_until_idle(REST_SECONDS)
        for _ in range(PROBES):
            client = Client(cluster, PROBE, self.mode)
            client.start()
            while not client.wait(PROBE_POLL_SECONDS):
                tasks, rested = cluster.members().get(self.victim.pid, ["", 0])[1], time.monotonic() - self.rests_since
                if tasks and rested < REST_SECONDS - 1:
                    return f"{self.victim.name} got a task {rested:.1f} s after its disk was full"
        return None

    def broken_promise(self, scene):
        return self.says


class AllDisksFull(DiskFault):
    """The disks of all: an error that names one."""

    name = "all_disks_full"
    refusals = (EXHAUSTED,)

    def prepare(self, cluster):
        super().prepare(cluster)
        for executor in cluster.executors:
            fill(executor)

    def inject(self, scene):
        return "filled the disks of all"

    def broken_promise(self, scene):
        if scene.client.error is None:
            return "rows, although no executor could keep any"
        if FULL not in str(scene.client.error):
            return f"the error does not name the disk: {scene.client.error}"
        return None


def fill(executor):
    """Writes until nothing more fits."""
    with (executor.work_dir / BALLAST).open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1 << 16))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise Unsettled(f"{executor.work_dir} did not fill up: {error}") from None
