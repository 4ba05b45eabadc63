"""The same to executors of a streamed query, of which each has a part as long as it runs.

What an executor made and nobody has read is lost with it, and the query runs again in stages.
"""

from kinds.executors import KillAll, KillOne, StopLong


class StreamedKill(KillOne):
    """SIGKILL at a random moment."""

    name = "streamed_kill"
    mode = "streamed"


class StreamedKillAll(KillAll):
    """SIGKILL of all; they are started again after three seconds."""

    name = "streamed_kill_all"
    mode = "streamed"


class StreamedStop(StopLong):
    """SIGSTOP until it is lost: whoever waits for its rows does not wait longer than that."""

    name = "streamed_stop"
    mode = "streamed"
