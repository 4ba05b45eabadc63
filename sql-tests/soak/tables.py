"""The tables that are asked, and what is in them: every column follows from its row's number, here as in SQL."""

import numpy

FACTS, KEYS = 2_000_000, 100_000
DAYS, GROUPS, MIXED_GROUPS = 2_500, 1_000, 50_000
SOURCES = {
    "facts": f"""
        SELECT value AS k, value * 7919 % {DAYS} AS day, value % {GROUPS} AS g, value * 31 % {MIXED_GROUPS} AS m,
            value * 17 % 11 AS discount, value * 13 % 50 + 1 AS quantity, value * 101 % 9973 AS price
        FROM range(0, {FACTS})""",
    "keys": f"SELECT value AS k, value * value % 1000003 AS v FROM range(0, {KEYS})",
}

K = numpy.arange(FACTS)
DAY, G, M = K * 7919 % DAYS, K % GROUPS, K * 31 % MIXED_GROUPS
DISCOUNT, QUANTITY, PRICE = K * 17 % 11, K * 13 % 50 + 1, K * 101 % 9973
PRICES_OF_G = numpy.bincount(G, PRICE).astype(int)


def value_of(key):
    return key * key % 1_000_003


# Of each row of facts, what keys has for its k.
VALUE = value_of(K % KEYS)


def total(start, end):
    """The sum of the numbers from `start` to before `end`."""
    return (start + end - 1) * (end - start) // 2


def create(ask):
    for name, query in SOURCES.items():
        ask(f"CREATE TABLE {name} AS {query}")
    [facts] = ask("SELECT count(*), sum(day), sum(g), sum(m), sum(discount), sum(quantity), sum(price) FROM facts")
    wanted = (FACTS, *(int(column.sum()) for column in (DAY, G, M, DISCOUNT, QUANTITY, PRICE)))
    assert facts == wanted, f"facts is {facts}, not {wanted}"
