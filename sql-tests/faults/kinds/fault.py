"""What every fault says of itself."""

import os

from client import Client
from cluster import Unsettled
from sites import Local


class Fault:
    """Something that happens to a cluster while it runs a query."""

    name = None
    # gRPC codes with which the query may end instead of with its rows.
    refusals = ()
    # Until the query has to end.
    seconds_max = 90
    client = Client
    # In which the query runs.
    mode = "staged"
    # Where the cluster is.
    site = Local
    # Whether it needs root, and so is left out unless asked for.
    is_privileged = False
    # What it wants to say when all is well.
    note = ""

    @staticmethod
    def question(data, query, chance):
        """What is asked: query `query` of TPC-H, unless the fault is about something else."""
        return data.question(query)

    def arrange(self, cluster, question):
        """What the statement needs, with or without the fault."""

    def prepare(self, cluster):
        """What the fault needs before the statement starts."""

    def inject(self, scene):
        """Waits for the moment and does it; says what it hit. Raises `Missed` if the query was over."""
        raise NotImplementedError

    def heal(self, scene):
        """Ends the fault, when the query is over or has taken too long. Dead processes are started afterwards.

        It may not have begun.
        """

    def broken_promise(self, scene):
        """What else should have held, and did not."""
        return None

    @staticmethod
    def missing_member(scene, seconds_max):
        """Who is not back among the executors in time."""
        try:
            scene.cluster.wait_until_whole(seconds_max)
        except Unsettled as unsettled:
            return f"an executor did not come back: {unsettled}"

    @classmethod
    def unavailable_because(cls):
        """Why this machine cannot make the fault, if it cannot."""
        if cls.is_privileged and os.geteuid() != 0:
            return "it needs root"
        return cls.site.unavailable_because()
