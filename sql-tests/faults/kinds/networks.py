"""Processes that no longer reach each other, and are not told."""

import time

from kinds.executors import BACK_SECONDS_MAX
from kinds.fault import Fault
from outcome import UNAVAILABLE
from sites import Networks

SECONDS = 30


class Partition(Fault):
    """Packets between an executor and a peer are dropped, both ways, for half a minute."""

    is_privileged = True
    site = Networks
    victim = None

    def inject(self, scene):
        victim, part = scene.wait_for_one(scene.executors())
        peer = self.peer(scene, victim)
        scene.site.lan.part(victim.host, peer.host)
        self.victim = victim
        hit = f"parted {part} from {peer.name} {scene.struck()}"
        end = time.monotonic() + SECONDS
        scene.pause(SECONDS)
        time.sleep(max(0, end - time.monotonic()))
        self.heal(scene)
        return hit

    def heal(self, scene):
        victim, self.victim = self.victim, None
        if victim is not None:
            scene.site.lan.join(victim.host)

    def broken_promise(self, scene):
        return self.missing_member(scene, BACK_SECONDS_MAX)


class PartitionFromCoordinator(Partition):
    """An executor that the coordinator does not reach is lost."""

    name = "partition_coordinator"

    def peer(self, scene, victim):
        return scene.cluster.server


class PartitionOfExecutors(Partition):
    """Two executors that both are members, and cannot read from each other."""

    name = "partition_executors"
    refusals = (UNAVAILABLE,)

    def peer(self, scene, victim):
        return scene.random.choice([one for one in scene.cluster.executors if one is not victim])
