"""Which faults hit which queries: a list of (seed, fault, query), made before the first run."""

import random
from dataclasses import dataclass

SEEDS_OF_KILLS, SEEDS_OF_OTHERS = 10, 10


@dataclass(frozen=True)
class Planned:
    seed: int
    fault: str
    query: int

    def command(self, scale):
        return f"scripts/faults --seed {self.seed} --fault {self.fault} --query {self.query} --scale {scale:g}"


def in_turn(first_seed, runs, faults, queries):
    """Every fault once before any comes again, in an order of the first seed; each run's seed picks its query."""
    order = random.Random(first_seed).sample(faults, len(faults))
    for number in range(runs):
        seed = first_seed + number
        yield Planned(seed, order[number % len(order)], random.Random(seed).choice(queries))


def nightly(first_seed, faults, queries):
    """Ten kills in each query, and ten of every other fault."""
    seeds = range(first_seed, first_seed + SEEDS_OF_KILLS)
    kills = [Planned(seed, "kill1", query) for seed in seeds for query in queries if "kill1" in faults]
    others = [fault for fault in faults if fault != "kill1"]
    return kills + list(in_turn(first_seed, SEEDS_OF_OTHERS * len(others), others, queries)) if others else kills
