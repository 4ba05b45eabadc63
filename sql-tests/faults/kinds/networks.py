"""Processes that no longer reach each other, and are not told."""

import time

from kinds.executors import BACK_SECONDS_MAX
from kinds.fault import Fault
from lan import WAYS
from outcome import UNAVAILABLE
from sites import Networks

SECONDS = 30
PERCENT_LOST = 10


class Partition(Fault):
    """Packets between an executor and a peer are dropped, both ways, for half a minute."""

    is_privileged = True
    site = Networks
    victim = None

    def lost(self, scene):
        """On which ways, and how many of a hundred."""
        return tuple(WAYS), 100

    def inject(self, scene):
        victim, part = scene.wait_for_one(scene.executors())
        peer = self.peer(scene, victim)
        ways, percent = self.lost(scene)
        scene.site.lan.drop(victim.host, peer.host, ways, percent)
        self.victim = victim
        hit = f"{percent} % of {' and '.join(ways)} of {part} lost with {peer.name} {scene.struck()}"
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


class OneWay(Partition):
    """Packets are dropped on one way only: what is asked does not arrive, or the answer does not."""

    def lost(self, scene):
        return (scene.random.choice(list(WAYS)),), 100


class OneWayFromCoordinator(OneWay, PartitionFromCoordinator):
    """An executor that does not hear the coordinator, or is not heard."""

    name = "one_way_coordinator"


class OneWayOfExecutors(OneWay, PartitionOfExecutors):
    """An executor that does not hear another one, or is not heard by it."""

    name = "one_way_executors"


class Loss(Partition):
    """A bad network: one packet in ten is lost, and all the rest arrives."""

    name = "packet_loss"

    def lost(self, scene):
        return tuple(WAYS), PERCENT_LOST

    def peer(self, scene, victim):
        return scene.random.choice([one for one in scene.cluster.processes() if one is not victim])
