"""Statements that write, while what they need dies."""

from dataclasses import dataclass

from answers import Question
from kinds.executors import KillOne
from kinds.fault import Fault
from outcome import UNAVAILABLE

ROWS = "SELECT l_orderkey AS k, l_linenumber AS n, l_comment AS text FROM many_lineitem WHERE l_partkey % 5 = 0"
FACTS = "count(*), sum(k), sum(n)"
# In a table before rows are inserted, so that an empty one is wrong.
BEFORE = (1, -1, 7)
ERROR_SECONDS_MAX = 5


@dataclass
class Write(Question):
    """A statement that writes, and the facts of its table before and after; none where there is no table."""

    before: tuple | None
    after: tuple


def has_count(count):
    """A write says how many rows it made, if it says anything."""
    return lambda rows: None if list(map(tuple, rows)) in ([], [(count,)]) else f"it says {rows}, not {count}"


class WriteFault(Fault):
    """INSERT ... SELECT into a table with one row, or CREATE TABLE AS."""

    seconds_max = 120

    @staticmethod
    def question(data, query, chance):
        [facts] = data.expected("written", f"SELECT {FACTS} FROM ({ROWS}) AS written").rows
        if chance.random() < 0.5:
            both = tuple(one + other for one, other in zip(facts, BEFORE))
            return Write("insert", f"INSERT INTO written {ROWS}", has_count(facts[0]), BEFORE, both)
        return Write("create", f"CREATE TABLE written AS {ROWS}", has_count(facts[0]), None, tuple(facts))

    def arrange(self, cluster, question):
        cluster.ask("DROP TABLE IF EXISTS written")
        if question.before:
            _, k, n = question.before
            row = f"CAST({k} AS BIGINT) AS k, CAST({n} AS INT) AS n, 'before' AS text"
            cluster.ask(f"CREATE TABLE written AS SELECT {row}")

    @staticmethod
    def facts(cluster):
        """What the table holds; nothing if it is not there."""
        tables = cluster.ask("SELECT table_name FROM information_schema.tables WHERE table_name = 'written'")
        if not tables:
            return None
        [facts] = cluster.ask(f"SELECT {FACTS} FROM written")
        return tuple(map(int, facts))


class KilledInsert(KillOne, WriteFault):
    """SIGKILL of one executor: every row once."""

    name = "killed_insert"

    def broken_promise(self, scene):
        facts = self.facts(scene.cluster)
        return None if facts == scene.question.after else f"the table holds {facts}, not {scene.question.after}"


class KilledInsertServer(WriteFault):
    """SIGKILL of the coordinator: all rows or none."""

    name = "killed_insert_server"
    refusals = (UNAVAILABLE,)
    seconds_max = ERROR_SECONDS_MAX

    def inject(self, scene):
        _, part = scene.wait_for_one(scene.executors())
        # The commit is short and comes at the end.
        if scene.random.random() < 0.5:
            scene.pause(scene.random.uniform(0, scene.moment))
        when = "after" if scene.client.has_ended() else "during"
        scene.cluster.server.kill()
        scene.cluster.forget_watcher()
        return f"killed the coordinator of {part} {when} the statement at {scene.elapsed():.2f} s"

    def broken_promise(self, scene):
        scene.cluster.start()
        question, facts = scene.question, self.facts(scene.cluster)
        self.note = "none of the rows" if facts == question.before else "all rows"
        allowed = [question.after] if scene.client.error is None else [question.before, question.after]
        return None if facts in allowed else f"the table holds {facts}, not {' or '.join(map(str, allowed))}"
