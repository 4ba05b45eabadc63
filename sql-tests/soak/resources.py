"""What the coordinator holds: memory, threads, descriptors and disk, and by how much it may grow."""

import os
import time
from dataclasses import asdict, dataclass

from processes import MB, descriptors, resident_bytes, threads

SHARE_MAX = 0.10
# What may come besides that share.
MORE = {"resident_mb": 64, "threads": 8, "descriptors": 8, "disk_mb": 64}
POLL_SECONDS = 2


@dataclass
class Held:
    """Of one process at one moment."""

    resident_mb: int
    threads: int
    descriptors: int
    disk_mb: int

    @classmethod
    def by(cls, pid, folder):
        return cls(resident_bytes(pid) // MB, threads(pid), descriptors(pid), bytes_below(folder) // MB)

    def line(self):
        return ", ".join(f"{name} {value}" for name, value in asdict(self).items())

    def growth(self, before):
        """What has grown by more than it may."""
        for name, value in asdict(self).items():
            was = getattr(before, name)
            if value > was * (1 + SHARE_MAX) + MORE[name]:
                yield f"{name}: {was} -> {value}"


def bytes_below(folder):
    """Files may go away meanwhile."""
    found = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                found += os.stat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return found


def settled(look, before, seconds_max):
    """What is held when it is within its bounds; else after so many seconds."""
    end = time.monotonic() + seconds_max
    while list((now := look()).growth(before)) and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    return now
