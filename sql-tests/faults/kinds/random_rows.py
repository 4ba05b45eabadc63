"""Queries whose rows differ each time: what is made again must not be mixed with what was there."""

from answers import Question
from kinds.executors import KillOne

KEYS = 1000
LIMIT = 20_000_000
# Of all rows, those that are sorted.
PART = 5
ALL = "(SELECT l_orderkey, l_partkey, random() AS r FROM many_lineitem)"
# The rows of each differ from run to run; the sum of their last column does not.
QUESTIONS = {
    "random-groups": f"SELECT CAST(floor(r * {KEYS}) AS BIGINT) AS bucket, count(*) AS n FROM {ALL} GROUP BY bucket",
    "random-join": f"""
        SELECT k.value AS bucket, count(*) AS n
        FROM {ALL} AS l JOIN range(0, {KEYS}) AS k ON k.value = CAST(floor(l.r * {KEYS}) AS BIGINT) GROUP BY bucket""",
    "limit": f"""
        SELECT l_partkey % {KEYS} AS bucket, count(*) AS n
        FROM (SELECT l_partkey FROM many_lineitem LIMIT {LIMIT}) AS l GROUP BY bucket""",
    # All rows are shuffled, by chance.
    "random-shuffle": f"""
        SELECT bucket, max(place) AS n FROM (
            SELECT bucket, row_number() OVER (PARTITION BY bucket ORDER BY l_orderkey) AS place
            FROM (SELECT l_orderkey, CAST(floor(random() * {KEYS}) AS BIGINT) AS bucket FROM many_lineitem
                  WHERE l_partkey % {PART} = 0)
        ) GROUP BY bucket""",
}


class RandomMap(KillOne):
    """SIGKILL of one executor in a query with random() or an unordered LIMIT: the right number of rows."""

    name = "random_map"

    @staticmethod
    def question(data, query, chance):
        label = chance.choice(list(QUESTIONS))
        [[lines, part]] = data.expected(
            "lines", f"SELECT count(*), count(*) FILTER (l_partkey % {PART} = 0) FROM many_lineitem"
        ).rows
        count = {"limit": min(LIMIT, lines), "random-shuffle": part}.get(label, lines)

        def difference(rows):
            found = sum(row[-1] for row in rows)
            return None if found == count else f"{found} rows, not {count}"

        return Question(label, QUESTIONS[label], difference)
