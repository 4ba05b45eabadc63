"""Statements that would take a planner's time, stack or memory without end: they get an answer or a typed refusal, and
nobody else waits for them."""

import contextlib
import os
import pathlib
import re
import threading
import time

import adbc_driver_manager
import pytest

from lake import assert_soon, rows
from servers import Server

SECONDS_MAX = 30
RESIDENT_BYTES_MAX = 2 << 30


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A server with little memory."""
    server = Server(tmp_path_factory.mktemp("small"), "--memory", "512MB")
    yield server
    assert server.stop() == 0


def outcome(server, *statements):
    """The rows of the last one, or what its error says. It is stopped when it takes too long."""
    with server.connect() as connection, connection.cursor() as cursor:
        late = threading.Timer(SECONDS_MAX, cursor.adbc_cancel)
        late.start()
        try:
            for statement in statements:
                answer = rows(cursor, statement)
            return answer
        except adbc_driver_manager.Error as error:
            return str(error)
        finally:
            late.cancel()


def resident_bytes_max(server):
    status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) << 10


def cpu_seconds(server):
    """That its threads have worked; planning is what `system.queries` does not know yet."""
    fields = pathlib.Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def assert_ends(server, expected, *statements):
    """`expected` are rows, or words of an error that is no fault of ours."""
    ended = outcome(server, *statements)
    if isinstance(expected, str):
        assert expected in ended and re.search(r"\((ResourceExhausted|InvalidArgument);", ended), str(ended)[:500]
    else:
        assert ended == expected, str(ended)[:500]
    assert outcome(server, "SELECT 1") == [(1,)]
    assert resident_bytes_max(server) < RESIDENT_BYTES_MAX


def chain(count, link, term):
    return link.join(term(n) for n in range(count))


def nested(depth, before, middle, after):
    return f"SELECT {before * depth}{middle}{after * depth}"


def where(condition):
    return f"SELECT count(*) FROM range(10) WHERE {condition}"


def doubled(levels, twice):
    tables = ", ".join(f"c{n + 1} AS ({twice.format(f'c{n}')})" for n in range(levels))
    return f"WITH c0 AS (SELECT 1 AS x), {tables} SELECT count(*) FROM c{levels}"


def joined(count, join):
    return f"SELECT count(*) FROM range(3) t0 {chain(count, ' ', lambda n: join.format(n, n + 1))}"


def columns(count):
    return f"SELECT {chain(count, ', ', 'value + {}'.format)} FROM range(1)"


def mixed(n):
    return f"value = {n}" if n % 2 else f"value < -{n}"


UNION = "SELECT * FROM {0} UNION ALL SELECT * FROM {0}"
SELF_JOIN = "SELECT a.x FROM {0} a JOIN {0} b ON a.x = b.x"
ON = "JOIN range(3) t{1} ON t{0}.value = t{1}.value"
TOKENS, DEPTH, NODES = "grappe.statement_tokens_max", "grappe.expression_depth_max", "grappe.plan_nodes_max"
SUBQUERIES, BYTES = "grappe.subquery_depth_max", "grappe.function_result_bytes_max"
COLUMNS, PLANNING, NESTED = "grappe.select_columns_max", "grappe.query_planning_seconds_max", "nested too deeply"

CASES = {
    "20,000 equal OR": ([(10,)], where(chain(20_000, " OR ", lambda n: f"value = {n}"))),
    "100,000 equal OR": ([(10,)], where(chain(100_000, " OR ", lambda n: f"value = {n}"))),
    "20,000 mixed OR": ([(5,)], where(chain(20_000, " OR ", mixed))),
    "20,000 AND": ([(10,)], where(chain(20_000, " AND ", lambda n: f"value <> {n + 20}"))),
    "21,000 AND": ([(10,)], where(chain(21_000, " AND ", lambda n: f"value > -{n + 1}"))),
    "50,000 AND": (NODES, where(chain(50_000, " AND ", lambda n: f"value <> {n + 20}"))),
    "50,000 AND in parts": (
        NODES,
        f"SELECT count(*) FROM ({where(chain(25_000, ' AND ', lambda n: f'value <> {n + 20}')).replace('count(*)', '*')})"
        f" WHERE {chain(25_000, ' AND ', lambda n: f'value <> -{n + 20}')}",
    ),
    "5,000 AND of OR": ([(10,)], where(chain(5_000, " AND ", lambda n: f"(value < {n + 20} OR value = -{n})"))),
    "5,000 OR of AND": ([(0,)], where(chain(5_000, " OR ", lambda n: f"value < -{n} AND value > {n}"))),
    "50,000 plus": (DEPTH, f"SELECT 1{' + 1' * 50_000}"),
    "300 plus": ([(301,)], f"SELECT 1{' + 1' * 300}"),
    "50,000 minus": (DEPTH, f"SELECT {'- ' * 50_000}1"),
    "50,000 ||": (DEPTH, f"SELECT length('a'{''' || 'a' ''' * 50_000})"),
    "50,000 casts": (DEPTH, f"SELECT 1{'::int::bigint' * 50_000}"),
    "400 casts": ([(1,)], f"SELECT 1{'::int::bigint' * 200}"),
    "50,000 IS NULL": (DEPTH, f"SELECT 1{' IS NULL' * 50_000}"),
    "900 IS NULL": ([(False,)], f"SELECT 1{' IS NULL' * 900}"),
    "20,000 AT TIME ZONE": (DEPTH, f"SELECT timestamp '2026-01-01'{''' AT TIME ZONE 'UTC' ''' * 20_000}"),
    "50,000 []": (DEPTH, f"SELECT NULL::int{'[]' * 50_000}"),
    "10,000 ARRAY<": (DEPTH, f"SELECT NULL::{'ARRAY<' * 10_000}int{'>' * 10_000}"),
    "10,000 EXPLAIN": (DEPTH, f"{'EXPLAIN ' * 10_000}SELECT 1"),
    "5,000 UNION ALL": (DEPTH, chain(5_000, " UNION ALL ", lambda n: f"SELECT {n}")),
    "500 UNION ALL": ([(500,)], f"SELECT count(*) FROM ({chain(500, ' UNION ALL ', lambda n: f'SELECT {n}')}) AS t"),
    "5,000 EXCEPT": (DEPTH, chain(5_000, " EXCEPT ", lambda n: f"SELECT {n}")),
    "40 scalar subqueries": (SUBQUERIES, nested(40, "(SELECT ", 1, ")")),
    "14 scalar subqueries": ([(1,)], nested(14, "(SELECT ", 1, ")")),
    "40 EXISTS": (SUBQUERIES, f"SELECT 1 WHERE {'EXISTS (SELECT 1 WHERE ' * 40}true{')' * 40}"),
    "14 EXISTS": ([(1,)], f"SELECT 1 WHERE {'EXISTS (SELECT 1 WHERE ' * 14}true{')' * 14}"),
    "40 WITH": (SUBQUERIES, f"{'WITH a AS (' * 40}SELECT 1{') SELECT * FROM a' * 40}"),
    "20 queries in FROM": ([(10,)], f"SELECT count(*) FROM {'(SELECT * FROM ' * 20}range(10){')' * 20}"),
    "2,000 queries in FROM": (NESTED, f"SELECT count(*) FROM {'(SELECT * FROM ' * 2_000}range(10){')' * 2_000}"),
    "UNION doubled 25 times": (NODES, doubled(25, UNION)),
    "UNION doubled 12 times": (NODES, doubled(12, UNION)),
    "UNION doubled 8 times": ([(256,)], doubled(8, UNION)),
    "join doubled 25 times": (NODES, doubled(25, SELF_JOIN)),
    "join doubled 8 times": ([(1,)], doubled(8, SELF_JOIN)),
    "CUBE of 25 columns": (
        "GROUPING SETS",
        f"SELECT count(*) FROM (SELECT {chain(25, ', ', 'value AS c{}'.format)} FROM range(10)) AS t "
        f"GROUP BY CUBE({chain(25, ', ', 'c{}'.format)})",
    ),
    "CUBE of 12 columns": (
        [(4_096,)],
        f"SELECT count(*) FROM (SELECT 1 FROM (SELECT {chain(12, ', ', '1 AS c{}'.format)}) AS t "
        f"GROUP BY CUBE({chain(12, ', ', 'c{}'.format)})) AS u",
    ),
    "IN of 100,000": ([(10,)], where(f"value IN ({chain(100_000, ',', str)})")),
    "NOT IN of 100,000": ([(1,)], where(f"value NOT IN ({chain(100_000, ',', lambda n: str(n + 1))})")),
    "IN of 1,000,000": (TOKENS, where(f"value IN ({chain(1_000_000, ',', str)})")),
    "VALUES of 100,000": ([(100_000,)], f"SELECT count(*) FROM (VALUES {chain(100_000, ',', '({})'.format)}) AS t"),
    "200 cross joins": ([(1,)], f"SELECT count(*) FROM range(1) t {chain(200, ' ', 'CROSS JOIN range(1) t{}'.format)}"),
    "150 joins": ([(3,)], joined(150, ON)),
    "300 outer joins": ([(3,)], joined(300, f"LEFT {ON}")),
    "2,000 columns": ([tuple(range(2_000))], columns(2_000)),
    "100,000 columns": (COLUMNS, columns(100_000)),
    "40 parentheses": ([(1,)], nested(40, "(", 1, ")")),
    "10,000 parentheses": (NESTED, nested(10_000, "(", 1, ")")),
    "1,000,000 parentheses": (TOKENS, nested(1_000_000, "(", 1, ")")),
    "40 NOT": ([(1,)], where(f"{'NOT ' * 40}(value = 1)")),
    "10,000 NOT": ("(InvalidArgument;", where(f"{'NOT ' * 10_000}(value = 1)")),
    "10,000 brackets": (DEPTH, nested(10_000, "[", 1, "]")),
    "repeat": (BYTES, "SELECT length(repeat('x', 2000000000))"),
    "repeat of columns": (BYTES, "SELECT sum(length(repeat('x', 200000 + value))) FROM range(10000)"),
    "repeat of repeat": (BYTES, "SELECT length(repeat(repeat('x', 1000000), 1000000))"),
    "lpad": (BYTES, "SELECT length(lpad('x', 2000000000))"),
    "rpad": (BYTES, "SELECT length(rpad('x', 2000000000, 'ab'))"),
    "replace": (BYTES, "SELECT length(replace(repeat('a', 1000000), 'a', repeat('b', 10000)))"),
    "array_repeat": (BYTES, "SELECT cardinality(array_repeat(1, 1000000000))"),
    "array_resize": (BYTES, "SELECT cardinality(array_resize([1], 1000000000))"),
    "generate_series": (BYTES, "SELECT cardinality(generate_series(1, 1000000000))"),
    "range": (BYTES, "SELECT cardinality(range(1000000000))"),
    "range of columns": (BYTES, "SELECT sum(cardinality(range(1000000 + value))) FROM range(10000)"),
    "unnest": (BYTES, "SELECT count(*) FROM (SELECT unnest(range(1000000000))) AS t"),
    "levenshtein": ([(10_000,)], "SELECT levenshtein(repeat('a', 10000), repeat('b', 10000))"),
    "nested stars": ([(None,)], "SELECT regexp_match(repeat('a', 100000), '(a*)*b')"),
    "a regex of a billion": ("regular expression", "SELECT regexp_like('a', 'a{1000}{1000}{1000}')"),
    "a regex of 250,000": ([(0,)], where(f"value::varchar ~ '{'(a|b)' * 50_000}'")),
    "a million parts": ("at most 512", "SET datafusion.execution.target_partitions = 1000000"),
    "batches of a billion": ("at most 262144", "SET datafusion.execution.batch_size = 1000000000"),
    "no batch": ("datafusion.execution.batch_size", "SET datafusion.execution.batch_size = 0"),
    "512 parts": (
        [(1_000,)],
        "SET datafusion.execution.target_partitions = 512",
        "SELECT count(*) FROM (SELECT value % 1000 FROM range(100000) GROUP BY 1) AS t",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_it_ends(small, case):
    assert_ends(small, *CASES[case])


def test_views_that_double_end(small):
    outcome(small, "CREATE VIEW v0 AS SELECT 1 AS x")
    made = [outcome(small, f"CREATE VIEW v{level + 1} AS {UNION.format(f'v{level}')}") for level in range(25)]
    refused = [says for says in made if says != []]
    assert made[:8] == [[]] * 8 and refused and NODES in refused[0], made
    assert_ends(small, [(256,)], "SELECT count(*) FROM v8")


def test_planning_ends_in_time_wherever_it_is(small):
    asked = time.monotonic()
    assert_ends(small, PLANNING, f"SET {PLANNING} = 1", columns(7_000))
    assert time.monotonic() - asked < 5


# Bystanders.


class Heavy(threading.Thread):
    """A statement that goes on until it is cancelled, or ends."""

    def __init__(self, server, statement):
        super().__init__(daemon=True)
        self.connection = server.connect()
        self.cursor, self.statement = self.connection.cursor(), statement
        self.start()

    def run(self):
        with contextlib.suppress(adbc_driver_manager.Error):
            rows(self.cursor, self.statement)

    def stop(self):
        if self.is_alive():
            self.cursor.adbc_cancel()
        self.join(SECONDS_MAX)
        self.cursor.close()
        self.connection.close()


PLANNERS = [where(chain(20_000, " OR ", mixed)), joined(300, ON)] * 2
JOINS = ["SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.value < b.value"] * 2
# Folded while they are planned.
CONSTANTS = ["SELECT levenshtein(repeat('a', 60000), repeat('b', 60000))"] * os.cpu_count()
PROBING_SECONDS = 5


@contextlib.contextmanager
def working(server, statements):
    threads = [Heavy(server, statement) for statement in statements]
    try:
        yield threads
    finally:
        for thread in threads:
            thread.stop()


@pytest.mark.parametrize(
    "heavy",
    [pytest.param(PLANNERS, id="planners"), pytest.param(JOINS, id="joins"), pytest.param(CONSTANTS, id="constants")],
)
def test_nobody_waits_for_the_heavy(small, heavy):
    with small.connect() as connection, connection.cursor() as cursor, working(small, heavy) as threads:
        slowest, answered, end = 0, 0, time.monotonic() + PROBING_SECONDS
        while time.monotonic() < end and any(thread.is_alive() for thread in threads):
            asked = time.monotonic()
            assert rows(cursor, "SELECT 1") == [(1,)]
            slowest, answered = max(slowest, time.monotonic() - asked), answered + 1
    assert slowest < 1 and answered > PROBING_SECONDS, f"{answered} answers, the slowest after {slowest:.3f} s"


def test_who_is_cancelled_while_it_is_planned_makes_room(small):
    with working(small, [joined(300, ON)] * 2):
        begun = cpu_seconds(small)
        assert_soon(lambda: cpu_seconds(small) > begun + 1, lambda: cpu_seconds(small))
    asked = time.monotonic()
    assert_ends(small, [(1,)], f"SET {PLANNING} = 2", f"SELECT 1 /* {'long ' * 1_000} */")
    assert time.monotonic() - asked < 5
