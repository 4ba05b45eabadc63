"""Faults: kills, stops and corrupts what a cluster needs while it runs the queries of TPC-H, and checks the rows.

A seed picks query, fault, moment and victim. A fault counts when it hit: its victim had tasks or files that the query
still needed. Every failed run prints the command that repeats it.
"""

import argparse
import pathlib
import shutil
import signal
import sys
import tempfile
import time

# What both kinds of tests need stands with the drivers'.
sys.path.append(str(pathlib.Path(__file__).resolve().parent.parent / "drivers"))

from answers import Data
from kinds import FAULTS
from outcome import report, table
from plan import in_turn, nightly
from run import Runner

PLACE = pathlib.Path(tempfile.gettempdir()) / "grappe-faults"
UNPRIVILEGED = [name for name, kind in FAULTS.items() if not kind.is_privileged]


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first run; the next has the next one")
    parser.add_argument("--runs", type=int, default=1, help="how many")
    parser.add_argument(
        "--fault", metavar="KIND[,KIND]", type=faults, help=f"{', '.join(FAULTS)}, or all; else those that need no root"
    )
    parser.add_argument("--query", metavar="Q[,Q]", type=queries, default=list(range(1, 23)), help="of TPC-H, 1 to 22")
    parser.add_argument("--scale", type=float, default=0.1, help="of TPC-H")
    parser.add_argument("--minutes-max", type=float, default=float("inf"), help="begins no run that might end later")
    parser.add_argument("--nightly", action="store_true", help="ten kills in each query, ten of every other fault")
    parser.add_argument("--dry-run", action="store_true", help="prints what would be run")
    parser.add_argument("--keep", action="store_true", help="keeps logs and data of the cluster")
    parser.add_argument("--report", metavar="FILE", type=pathlib.Path, help="writes one JSON object a run")
    return parser.parse_args()


def faults(text):
    names = list(FAULTS) if text == "all" else text.split(",")
    if unknown := set(names) - set(FAULTS):
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose of {', '.join(FAULTS)}")
    return names


def queries(text):
    return [int(word.lstrip("q")) for word in text.split(",")]


def possible(names):
    """The faults that this machine can make; says why it cannot make the others."""
    for name in names:
        if because := FAULTS[name].unavailable_because():
            print(f"skipped {name}: {because}")
        else:
            yield name


def plan(options):
    """All runs, in order."""
    names = list(possible(options.fault or (list(FAULTS) if options.nightly else UNPRIVILEGED)))
    if options.nightly:
        return nightly(options.seed, names, options.query)
    return list(in_turn(options.seed, options.runs, names, options.query)) if names else []


class Session:
    """All runs of one command, each failed one with its logs beside."""

    def __init__(self, options):
        self.options = options
        self.data = Data(PLACE, options.scale)
        self.runs, self.clean_seconds = [], {}
        self.folder = self.site = self.runner = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def begin(self, site):
        """A new cluster in a new folder."""
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=PLACE))
        self.site = site(self.folder)
        self.runner = Runner(self.site, self.data, self.clean_seconds)
        self.runner.prepare()

    def end(self):
        """Nothing of the cluster is left, except what shall be kept."""
        if self.site is not None:
            self.site.close()
        if self.options.keep:
            print(f"kept {self.folder}")
        elif self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
        self.folder = self.site = self.runner = None

    def run_all(self, planned):
        end, longest_seconds = time.monotonic() + self.options.minutes_max * 60, 0
        for one in planned:
            started = time.monotonic()
            if started + longest_seconds > end:
                break
            self.run(one)
            longest_seconds = max(longest_seconds, time.monotonic() - started)

    def run(self, planned):
        kind = FAULTS[planned.fault]
        if type(self.site) is not kind.site:
            self.end()
            self.begin(kind.site)
        run = self.runner.run(planned.seed, kind, planned.query)
        self.runs.append(run)
        print(run.line(), flush=True)
        if run.is_bad():
            print(f"  repeat: {planned.command(self.options.scale)}")
            self.keep_logs(run)
            self.end()

    def keep_logs(self, run):
        """Copies what the failed run left behind out of the way of the next one."""
        kept = PLACE / "failed" / f"{run.fault}-{run.seed}-{self.folder.name}"
        kept.mkdir(parents=True)
        for log in self.folder.glob("*.log"):
            shutil.copy(log, kept)
        print(f"  logs: {kept}", flush=True)


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # Python complains about connections that cannot say goodbye.
    sys.unraisablehook = lambda _: None
    planned = plan(options)
    if options.dry_run:
        print(*(one.command(options.scale) for one in planned), sep="\n")
        return 0
    with Session(options) as session:
        try:
            session.run_all(planned)
        finally:
            print(*table(session.runs), sep="\n")
            if options.report:
                report(session.runs, options.report)
    return 1 if any(run.is_bad() for run in session.runs) else 0


if __name__ == "__main__":
    sys.exit(main())
