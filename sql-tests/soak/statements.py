"""What the connections do: each kind draws its statements from the random numbers it is given and knows the answers."""

import threading
import time

from session import CANCELLED, ERRORS, EXHAUSTED, RETRYABLE, Wrong, code_of
from tables import (
    DAY, DAYS, DISCOUNT, FACTS, G, GROUPS, K, KEYS, M, MIXED_GROUPS, PRICE, PRICES_OF_G, QUANTITY, VALUE,
    total, value_of,
)

WRITE_TRIES_MAX = 10
PAUSE_SECONDS = 0.5


def point(session, random, _):
    key = random.randrange(KEYS)
    session.expect(f"SELECT v FROM keys WHERE k = {key}", [(value_of(key),)])


def scan(session, random, _):
    """As query 6 of TPC-H."""
    day, discount, quantity = random.randrange(DAYS - 365), random.randrange(1, 10), random.randrange(2, 50)
    rows = (DAY >= day) & (DAY < day + 365) & (abs(DISCOUNT - discount) <= 1) & (QUANTITY < quantity)
    session.expect(
        f"SELECT count(*), sum(price * discount) FROM facts WHERE day >= {day} AND day < {day + 365}"
        f" AND discount BETWEEN {discount - 1} AND {discount + 1} AND quantity < {quantity}",
        [(int(rows.sum()), int((PRICE * DISCOUNT)[rows].sum()))], "staged",
    )


def aggregation(session, random, _):
    groups = random.randrange(2, 200)
    session.expect(
        f"SELECT g, count(*), sum(price) FROM facts WHERE g < {groups} GROUP BY g",
        [(g, FACTS // GROUPS, int(PRICES_OF_G[g])) for g in range(groups)], "staged",
    )


def many_groups(session, random, _):
    """Of more groups than executors have memory for."""
    start = random.randrange(1000)
    end = start + 1_500_000
    session.expect(
        "SELECT count(*), sum(c), sum(s) FROM"
        " (SELECT lpad(CAST(value AS VARCHAR), 100, '.'), count(*) AS c, sum(value) AS s"
        f" FROM range({start}, {end}) GROUP BY 1)",
        [(end - start, end - start, total(start, end))], "staged",
    )


def join(session, random, _):
    group = random.randrange(GROUPS - 50)
    rows = (G >= group) & (G < group + 50)
    session.expect(
        f"SELECT count(*), sum(v) FROM facts JOIN keys ON facts.k % {KEYS} = keys.k"
        f" WHERE g >= {group} AND g < {group + 50}",
        [(int(rows.sum()), int(VALUE[rows].sum()))], "staged",
    )


def large_join(session, random, _):
    """Of sides that are larger than what the hash join may have."""
    start = random.randrange(1000)
    side = f"(SELECT value AS k, lpad(CAST(value AS VARCHAR), 100, '.') AS p FROM range({{}}, {start + 1_000_000}))"
    session.expect(
        f"SELECT count(*), sum(l.k) FROM {side.format(start)} l JOIN {side.format(start + 500_000)} r ON l.p = r.p",
        [(500_000, total(start + 500_000, start + 1_000_000))], "staged",
    )


def slow_reader(session, random, stop):
    """A result of many batches, and pauses between them."""
    group, pause = random.randrange(MIXED_GROUPS * 7 // 10, MIXED_GROUPS), random.uniform(0.05, 0.3)
    rows = M >= group
    found, sums = 0, [0, 0]

    def fetch(cursor):
        nonlocal found
        for batch in cursor.fetch_record_batch():
            session.delivered = True
            found += batch.num_rows
            sums[0] += int(batch.column(0).to_numpy().sum())
            sums[1] += int(batch.column(1).to_numpy().sum())
            stop.wait(pause)

    session.read(f"SELECT k, price, CAST(k AS VARCHAR) AS p FROM facts WHERE m >= {group}", "staged", fetch)
    if (found, *sums) != (int(rows.sum()), int(K[rows].sum()), int(PRICE[rows].sum())):
        raise Wrong(f"rows of {group} read slowly: {found} rows, sums {sums}")


def cancelled(session, random, _):
    """A statement that would run for hours."""
    cursors, ended, first_pause = [], threading.Event(), random.uniform(0.1, 2)

    def cancel():
        pause = first_pause
        # What is cancelled before it has begun goes on.
        while not ended.wait(pause):
            cursors[0].adbc_cancel()
            pause = 0.5

    def opened(cursor):
        cursors.append(cursor)
        threading.Thread(target=cancel, daemon=True).start()

    try:
        session.read(
            "SELECT count(*) FROM range(0, 1000000000000) WHERE sin(value) > 2", random.choice(["staged", "local"]),
            lambda cursor: cursor.fetchall(), opened,
        )
    except ERRORS as error:
        if code_of(error) != CANCELLED and "cancel" not in str(error).lower():
            raise
    else:
        raise Wrong("a statement without end has ended")
    finally:
        ended.set()


def interrupted(session, random, _):
    """A reader that goes away in the middle of its result."""
    with_batches = random.randrange(3)

    def fetch(cursor):
        reader = cursor.fetch_record_batch()
        for _ in range(with_batches):
            reader.read_next_batch()
        reader.close()

    session.read("SELECT k, price, day FROM facts", random.choice(["staged", "local"]), fetch)
    session.close()


# Statements that are refused, and a word of the error.
MISTAKES = [
    ("SELECT nothing FROM facts", "nothing"),
    ("SELEKT 1", "SELEKT"),
    ("SELECT * FROM nowhere", "nowhere"),
    ("SELECT sum(1 / (k - 5)) FROM facts", "zero"),
    ("SELECT count(CAST(CAST(k AS VARCHAR) || 'x' AS BIGINT)) FROM facts", "ast"),
    ("INSERT INTO keys SELECT 'x', 1 FROM range(3)", "x"),
    ("SET grappe.execution_mode = 'nowhere'", "nowhere"),
]


def mistake(session, random, _):
    sql, word = random.choice(MISTAKES)
    try:
        session.ask(sql, random.choice(["staged", "local"]))
    except ERRORS as error:
        if code_of(error) == RETRYABLE:
            raise
        if word not in str(error):
            raise Wrong(f"{sql}: {error}") from None
    else:
        raise Wrong(f"{sql}: it was not refused")


def greedy(session, random, _):
    """More than memory allows, by something that cannot spill: the error names the operator."""
    try:
        session.ask("SELECT array_length(array_agg(value)) FROM range(0, 60000000)", "staged")
    except ERRORS as error:
        if code_of(error) != EXHAUSTED:
            raise
    else:
        raise Wrong("60 million values were in 256 MB")


def write(session, random, _):
    """A table from its making to its end: after each statement it has all rows of it, or none."""
    table = f"written_{random.randrange(1 << 60)}"
    group, count = random.randrange(GROUPS - 20), random.randrange(1, 50_000)
    rows = (G >= group) & (G < group + 20)
    made = (int(rows.sum()), int(K[rows].sum()))
    grown = (made[0] + count, made[1] + total(0, count))
    steps = [
        (f"CREATE TABLE {table} AS SELECT k, price FROM facts WHERE g >= {group} AND g < {group + 20}", made),
        (f"INSERT INTO {table} SELECT value, 0 FROM range(0, {count})", grown),
        (f"DROP TABLE {table}", None),
    ]
    before = None
    for sql, after in steps:
        written(session, random.choice(["staged", "auto"]), table, sql, before, after)
        before = after


def written(session, mode, table, sql, before, after):
    """Tries until it is done: who is told to try again does not know whether it was."""
    for _ in range(WRITE_TRIES_MAX):
        error = None
        try:
            session.ask(sql, mode)
        except ERRORS as failure:
            if code_of(failure) != RETRYABLE:
                raise
            error = failure
        found = content(session, table)
        if found == after:
            return
        if found != before or error is None:
            raise Wrong(f"{sql}: {found}, before {before}, not {after}")
        time.sleep(PAUSE_SECONDS)
    raise Wrong(f"{sql}: not in {WRITE_TRIES_MAX} tries: {error}")


def content(session, table):
    """How many rows there are, and the sum of k; None if there is no such table."""
    for _ in range(WRITE_TRIES_MAX):
        try:
            [found] = session.ask(f"SELECT count(*), sum(k) FROM {table}")
            return found
        except ERRORS as error:
            if "not found" in str(error):
                return None
            if code_of(error) != RETRYABLE:
                raise
        time.sleep(PAUSE_SECONDS)
    raise Wrong(f"{table} cannot be read")


# How often each comes, and what it does.
KINDS = {
    "point": (45, point), "scan": (12, scan), "aggregation": (8, aggregation), "many groups": (2, many_groups),
    "join": (6, join), "large join": (2, large_join), "slow reader": (5, slow_reader), "cancelled": (4, cancelled),
    "interrupted": (4, interrupted), "mistake": (6, mistake), "greedy": (1, greedy), "write": (5, write),
}
# What may be refused for want of memory when many run at once.
HEAVY = {"many groups", "large join", "aggregation", "join", "write"}
