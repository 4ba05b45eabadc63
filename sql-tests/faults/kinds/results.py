"""A result that is being read."""

from client import ReaderInSteps
from kinds.fault import Fault
from scene import Missed

SQL = "SELECT * FROM orders"


class KillHolder(Fault):
    """SIGKILL of one that made the result, when its first batch has been read: it was gathered by then."""

    name = "result_holder_kill"
    client = ReaderInSteps

    @staticmethod
    def question(data, query, chance):
        return data.about("orders", SQL)

    def inject(self, scene):
        client, executors = scene.client, scene.executors()
        held = {executor: 0 for executor in executors}
        while not client.has_begun.is_set():
            if client.has_ended():
                raise Missed
            for executor in executors:
                held[executor] = max(held[executor], len(executor.shuffle_files()))
            client.has_begun.wait(0.002)
        victim = max(executors, key=held.get)
        victim.kill()
        client.may_go_on.set()
        return f"killed {victim.name}, which made {held[victim]} parts of the result, at {scene.elapsed():.2f} s"

    def heal(self, scene):
        scene.client.may_go_on.set()
