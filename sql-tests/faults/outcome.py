"""What a run came to, and the tables that say so."""

import dataclasses
import json
import re
from dataclasses import dataclass

UNAVAILABLE = "Unavailable"
EXHAUSTED = "ResourceExhausted"
CANCELLED = "Canceled"
# What nobody should ever see.
BAD = ("wrong", "failed", "hung")


@dataclass
class Run:
    """One fault in one query. Outcome: right, refused (by an error that the fault allows), wrong, failed, hung, missed."""

    seed: int
    fault: str
    # What was asked, such as q21.
    query: str
    hit: str = ""
    outcome: str = ""
    says: str = ""
    seconds: float = 0.0
    ratio: float = 0.0

    def is_bad(self):
        return self.outcome in BAD

    def line(self):
        time = f"{self.seconds:.1f} s, x{self.ratio:.1f}"
        says = f" | {self.says}" if self.says else ""
        return f"seed {self.seed} | {self.fault} | {self.query} | {self.hit or '-'} | {self.outcome} | {time}{says}"


def error_code(error):
    """The gRPC code in an error of the driver, such as Unavailable."""
    found = re.search(r"\((\w+); ", str(error))
    return found[1] if found else type(error).__name__


def table(runs):
    """A row a fault: how often it hit, and the worst that came of it."""
    names = ["fault", "runs", "hit", "right", "refused", *BAD, "worst s", "worst x"]
    rows = [names]
    for fault in dict.fromkeys(run.fault for run in runs):
        of = [run for run in runs if run.fault == fault]
        counts = [sum(run.outcome == outcome for run in of) for outcome in ("right", "refused", *BAD)]
        hit = sum(run.outcome != "missed" for run in of)
        worst = [f"{max(run.seconds for run in of):.1f}", f"{max(run.ratio for run in of):.1f}"]
        rows.append([fault, len(of), hit, *counts, *worst])
    widths = [max(len(str(row[at])) for row in rows) for at in range(len(names))]
    for row in rows:
        first, *others = (str(cell) for cell in row)
        yield "  ".join([first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:]))])


def report(runs, file):
    """One JSON object a run."""
    file.write_text("".join(json.dumps(dataclasses.asdict(run)) + "\n" for run in runs))
