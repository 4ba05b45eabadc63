"""The faults, by what they happen to. Each is a class; `FAULTS` lists them by name."""

from kinds import (
    cancels, client, coordinator, disks, executors, files, membership, networks, random_rows, results, stores, streams,
    writes,
)
from kinds.fault import Fault

__all__ = ["FAULTS", "Fault"]

MODULES = (
    executors, streams, membership, coordinator, client, cancels, results, files, writes, random_rows, stores, disks,
    networks,
)
FAULTS = {
    kind.name: kind
    for module in MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Fault) and getattr(kind, "name", None)
}
