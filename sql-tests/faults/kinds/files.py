"""Shuffle files that are not what was written."""

import os
import time

from kinds.fault import Fault
from scene import Missed
from shuffle import data_file, is_complete

# An executor reads each file back when it has written it.
RECORD_SECONDS_MAX = 0.2


class Corrupt(Fault):
    """One file of the running job is changed before anybody has read it: a byte flipped, the end cut off, two swapped."""

    name = "corrupt"
    victim = None

    def inject(self, scene):
        executors = scene.executors()
        ways = scene.random.sample([flip, truncate, swap], 3)
        hit, stages = scene.wait_for(lambda: self.change(scene, executors, ways), poll_seconds=0.001)
        # A later stage may have read the file before it was changed.
        if self.stages(executors) != stages:
            raise Missed
        return f"{hit} {scene.struck()}"

    def change(self, scene, executors, ways):
        stages = self.stages(executors)
        for executor in executors:
            parts = {part: files for (stage, part), files in executor.shuffle_files().items() if stage == max(stages)}
            complete = [data_file(files) for files in parts.values() if is_complete(files) and is_recorded(files)]
            for way in ways:
                if complete and (says := way(complete, scene.random)):
                    self.victim = executor
                    return f"{says} on {executor.name}", stages
        return None

    def heal(self, scene):
        # It gets no tasks for a while, but only as long as it lives.
        if self.victim is not None:
            self.victim.kill()

    @staticmethod
    def stages(executors):
        return {stage for executor in executors for stage, _ in executor.shuffle_files()}


def is_recorded(files):
    """Whether the executor has had time to take the checksum: what is changed before that cannot be found out."""
    try:
        return time.time() - max(file.stat().st_mtime for file in files) > RECORD_SECONDS_MAX
    except OSError:
        return False


def name_of(path):
    return "/".join(path.parts[-3:])


def flip(files, random):
    """One bit of one byte."""
    path = random.choice(files)
    try:
        size = path.stat().st_size
        with path.open("r+b") as file:
            at = random.randrange(size)
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1 << random.randrange(8)]))
    except (OSError, ValueError):
        return None
    return f"flipped a bit of byte {at} of {size} of {name_of(path)}"


def truncate(files, random):
    """The end is missing."""
    path = random.choice(files)
    try:
        size = path.stat().st_size
        left = random.randrange(size)
        os.truncate(path, left)
    except (OSError, ValueError):
        return None
    return f"cut {name_of(path)} to {left} of {size} bytes"


def swap(files, random):
    """Two data files change places; their indexes stay."""
    if len(files) < 2:
        return None
    one, other = random.sample(files, 2)
    aside = one.with_name("aside")
    try:
        one.rename(aside)
        other.rename(one)
        aside.rename(other)
    except OSError:
        return None
    return f"swapped {name_of(one)} and {name_of(other)}"
