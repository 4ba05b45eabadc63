"""What the kernel knows of processes: their memory, threads and descriptors; and groups that bound their memory."""

import contextlib
import pathlib

CGROUPS = pathlib.Path("/sys/fs/cgroup")
MB = 1_000_000


def status(pid, *names):
    """Numbers of /proc/PID/status, such as VmRSS; sizes in bytes."""
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    words = {line.split(":")[0]: line.split()[1:] for line in lines}
    return [int(words[name][0]) * (1024 if words[name][-1] == "kB" else 1) for name in names]


def resident_bytes(pid):
    return status(pid, "VmRSS")[0]


def peak_bytes(pid):
    """The most that was resident since `forget_peak`."""
    return status(pid, "VmHWM")[0]


def forget_peak(pid):
    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")


def threads(pid):
    return status(pid, "Threads")[0]


def descriptors(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))


@contextlib.contextmanager
def caged(pid, bytes_max):
    """Has the kernel end a process that takes more, where we may make groups; else nothing. The process ends within.

    Who runs in a group himself stays there with all his processes: the accounts are another's.
    """
    place, limit = memory_groups()
    if place is None:
        yield
        return
    group = place / f"grappe-{pid}"
    group.mkdir()
    try:
        (group / limit).write_text(str(bytes_max))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        group.rmdir()


def memory_groups():
    """The directory below which we may make groups, and its file for the limit; none if we may not."""
    ours = [line.split(":", 2) for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines()]
    v1 = [path for _, controllers, path in ours if "memory" in controllers.split(",")]
    if v1:
        return (CGROUPS / "memory", "memory.limit_in_bytes") if v1 == ["/"] else (None, None)
    shared = CGROUPS / "cgroup.subtree_control"
    if [path for _, _, path in ours] == ["/"] and shared.exists() and "memory" in shared.read_text().split():
        return CGROUPS, "memory.max"
    return None, None
