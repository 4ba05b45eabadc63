"""UPDATE, DELETE, MERGE and INSERT against pandas: the same changes to both, the same rows after each, and at old versions."""

import os
import random

import pandas as pd
import pytest
from deltalake import DeltaTable

from lake import detail, directory, rows

STATEMENTS = int(os.environ.get("GRAPPE_STATEMENTS", "60"))
COLUMNS = [
    "id BIGINT, k BIGINT, v BIGINT, name VARCHAR",
    "id BIGINT NOT NULL, k BIGINT, v BIGINT, name VARCHAR",
    "id BIGINT, v BIGINT, name VARCHAR, k BIGINT) PARTITIONED BY (k",
]
KINDS = {"id": "Int64", "k": "Int64", "v": "Int64", "name": "string"}


class Changes:
    """Random statements; each is SQL and what it does to a frame, whose nullable types know a third truth value."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.ids = 0

    def condition(self, prefix="", depth=0):
        """SQL, and a function from a frame to true, false and null."""
        pick, number = self.random, self.random.randrange(6)
        name = pick.choice("abc")
        simple = [
            (f"{prefix}k = {number}", lambda t: t["k"] == number),
            (f"{prefix}v > {number * 15}", lambda t: t["v"] > number * 15),
            (f"{prefix}k IS NULL", lambda t: t["k"].isna().astype("boolean")),
            (f"{prefix}id % 6 = {number}", lambda t: t["id"] % 6 == number),
            (f"{prefix}name < '{name}'", lambda t: (t["name"] < name).astype("boolean")),
            (f"{prefix}v BETWEEN {number} AND 60", lambda t: (t["v"] >= number) & (t["v"] <= 60)),
            (f"{prefix}k IN ({number}, 2)", lambda t: (t["k"] == number) | (t["k"] == 2)),
        ]
        if depth == 2 or pick.random() < 0.5:
            return pick.choice(simple)
        (a, is_a), (b, is_b) = self.condition(prefix, depth + 1), self.condition(prefix, depth + 1)
        return pick.choice(
            [
                (f"({a} AND {b})", lambda t: is_a(t) & is_b(t)),
                (f"({a} OR {b})", lambda t: is_a(t) | is_b(t)),
                (f"(NOT {a})", lambda t: ~is_a(t)),
            ]
        )

    def insert(self):
        added = []
        for _ in range(self.random.randint(1, 8)):
            k = self.random.choice([None, *range(5)])
            v = self.random.choice([None, self.random.randrange(100)])
            added.append((self.ids, k, v, self.random.choice([None, "a", "bb", "c'd"])))
            self.ids += 1
        new = frame(added)
        return f"INSERT INTO thing (id, k, v, name) VALUES {', '.join(map(literal, added))}", lambda t: (pd.concat([t, new]), len(new))

    def delete(self):
        sql, is_meant = self.condition()

        def change(t):
            meant = is_meant(t).fillna(False)
            return t[~meant], int(meant.sum())

        return f"DELETE FROM thing WHERE {sql} AND id % 3 = 0", lambda t: change_only(t, t["id"] % 3 == 0, change)

    def update(self):
        sql, is_meant = self.condition()
        number = self.random.randrange(1, 5)
        what, changed = self.random.choice(
            [
                (f"v = v + {number}", lambda t: t.assign(v=t["v"] + number)),
                ("k = v, v = k", lambda t: t.assign(k=t["v"], v=t["k"])),
                (f"k = {number}, name = NULL", lambda t: t.assign(k=number, name=pd.NA)),
                ("name = coalesce(name, 'n') || 'x'", lambda t: t.assign(name=t["name"].fillna("n") + "x")),
                ("v = coalesce(v, 0) % 50 + id, k = NULL", lambda t: t.assign(v=t["v"].fillna(0) % 50 + t["id"], k=pd.NA)),
            ]
        )
        return f"UPDATE thing SET {what} WHERE {sql}", lambda t: change_only(t, is_meant(t), lambda t: (changed(t), len(t)))

    def merge(self):
        source = {number: self.random.randrange(100) for number in self.random.sample(range(self.ids + 5), 6)}
        self.ids += 5
        rule, is_deleted = self.condition("t.")
        beyond = self.random.randrange(5)
        values = ", ".join(f"({number}, {v})" for number, v in source.items())
        sql = (
            f"MERGE INTO thing AS t USING (VALUES {values}) AS s (id, v) ON t.id = s.id"
            f" WHEN MATCHED AND {rule} THEN DELETE WHEN MATCHED THEN UPDATE SET v = s.v + coalesce(t.v, 0), name = 'm'"
            f" WHEN NOT MATCHED AND s.v < 50 THEN INSERT (id, v) VALUES (s.id, s.v)"
            f" WHEN NOT MATCHED BY SOURCE AND t.k = {beyond} THEN UPDATE SET k = t.k + 1"
        )

        def change(t):
            matched, deleted = t["id"].isin(source), is_deleted(t).fillna(False)
            others = t[~matched]
            kept = t[matched & ~deleted]
            kept = kept.assign(v=kept["id"].map(source).astype("Int64") + kept["v"].fillna(0), name="m")
            others, raised = change_only(others, others["k"] == beyond, lambda t: (t.assign(k=t["k"] + 1), len(t)))
            new = frame([(number, None, v, None) for number, v in source.items() if v < 50 and number not in set(t["id"])])
            return pd.concat([kept, others, new]), int(matched.sum()) + raised + len(new)

        return sql, change


def change_only(t, meant, change):
    """Changes the rows for which `meant` is true, neither false nor null."""
    meant = meant.fillna(False)
    changed, count = change(t[meant])
    return pd.concat([t[~meant], changed]).astype(KINDS), count


def frame(tuples):
    return pd.DataFrame(tuples, columns=list(KINDS)).astype(KINDS)


def literal(row):
    texts = (str(value) if isinstance(value, int) else quoted(value) for value in row)
    return f"({', '.join(texts)})"


def quoted(text):
    return "NULL" if text is None else "'" + text.replace("'", "''") + "'"


def in_order(table):
    tuples = table[list(KINDS)].astype(KINDS).itertuples(index=False, name=None)
    return sorted((tuple(None if value is pd.NA else value for value in row) for row in tuples), key=repr)


def now(cursor, version=""):
    return sorted(rows(cursor, f"SELECT id, k, v, name FROM thing {version}"), key=repr)


@pytest.fixture(params=COLUMNS)
def thing(request, cursor):
    rows(cursor, f"CREATE TABLE thing ({request.param})")
    yield directory(cursor, "thing")
    rows(cursor, "DROP TABLE thing")


@pytest.mark.parametrize("seed", [1, 2])
def test_sixty_changes_leave_what_pandas_has(cursor, thing, seed):
    changes, expected, versions = Changes(seed), frame([]), {}
    for number in range(STATEMENTS):
        kind = changes.random.choice(["insert", "insert", "update", "update", "delete", "merge"]) if number > 3 else "insert"
        sql, change = getattr(changes, kind)()
        expected, count = change(expected)
        says = f"seed {seed}, statement {number}: {sql}"
        assert rows(cursor, sql) == [(count,)], says
        assert now(cursor) == in_order(expected), says
        versions[detail(cursor, "thing")["version"]] = expected
    for version in changes.random.sample(sorted(versions), 8):
        assert now(cursor, f"VERSION AS OF {version}") == in_order(versions[version]), version
    assert in_order(DeltaTable(thing).to_pyarrow_table().to_pandas()) == in_order(expected)
