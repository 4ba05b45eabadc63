"""What a fault sees: the cluster and what is around it, the query that runs in it, and the moment to strike."""

import random
import time
from dataclasses import dataclass

from answers import Question
from cluster import POLL_SECONDS
from sites import Local

# Asking the coordinator what runs costs it something: not more often than this.
ASK_SECONDS = 0.01
STREAMED = "SELECT count(*) FROM system.queries WHERE state = 'running' AND mode = 'streamed' AND tasks > 0"


class Missed(Exception):
    """The query was over before the fault could hit it."""


@dataclass
class Scene:
    """One run of a fault. Every choice comes from `random`; `moment` is when to strike, in seconds of the query."""

    site: Local
    client: object
    random: random.Random
    moment: float
    question: Question

    @property
    def cluster(self):
        return self.site.cluster

    def difference(self, rows):
        """What is wrong with rows; None if nothing is."""
        return self.question.difference(rows)

    def executors(self):
        """The executors in the order of this seed."""
        return self.random.sample(self.cluster.executors, len(self.cluster.executors))

    def wait_for(self, holds, poll_seconds=POLL_SECONDS):
        """Returns what holds, as soon as something does and the moment has come."""
        while not self.client.has_ended():
            if self.elapsed() >= self.moment and (found := holds()):
                return found
            time.sleep(poll_seconds)
        raise Missed

    def wait_for_one(self, executors):
        """The first of the executors that has a part in the query, and which."""
        def found():
            members = self.cluster.members()
            return next(((victim, part) for victim in executors if (part := self.part(victim, members))), None)

        return self.wait_for(found, ASK_SECONDS)

    def wait_for_all(self, executors):
        """Returns when each has a part in the query; which."""
        def found():
            members = self.cluster.members()
            parts = [self.part(executor, members) for executor in executors]
            return all(parts) and parts

        return self.wait_for(found, ASK_SECONDS)

    def part(self, executor, members=None):
        """What of the query would be lost with this executor now: running tasks, or the newest stage's files.

        Of a query that is streamed each executor has tasks, which the coordinator does not count by executor.
        """
        if self.client.mode == "streamed":
            return executor.name if self.cluster.ask(STREAMED)[0][0] else ""
        members = self.cluster.members() if members is None else members
        tasks = members.get(executor.pid, ["", 0])[1]
        files = executor.shuffle_files()
        newest = max((stage for one in self.cluster.executors for stage, _ in one.shuffle_files()), default=None)
        needed = sum(stage == newest for stage, _ in files)
        if not tasks and not needed:
            return ""
        return f"{executor.name} with {tasks} tasks and {len(files)} parts"

    def struck(self):
        """Call this after the fault: it counts only if the query still runs."""
        if self.client.has_ended():
            raise Missed
        return f"at {self.elapsed():.2f} s"

    def pause(self, seconds):
        """Lets time pass that is part of the fault; ends early with the query."""
        self.client.wait(seconds)

    def elapsed(self):
        return self.client.seconds()
