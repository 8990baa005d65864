"""The cores and memory that the scheduler and control groups allow this process, and how long one waited for a core.

In a container, or under a batch system, the machine has more than this process may use (cgroups(7), version 2: cpu.max,
memory.max; sched_setaffinity(2)).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
SELF = Path("/proc/self/cgroup")
PROCESSES = Path("/proc")


def cores(groups: Path = CGROUPS, own: Path = SELF) -> int:
    """Return how many cores may be busy at the same time, at least one."""
    found = float(len(os.sched_getaffinity(0)))
    for directory in _own_groups(groups, own):
        with contextlib.suppress(OSError, ValueError):
            quota, period = (directory / "cpu.max").read_text().split()
            if quota != "max":
                found = min(found, int(quota) / int(period))
    return max(1, int(found))


def memory_free(groups: Path = CGROUPS, own: Path = SELF) -> int:
    """Return the bytes of memory that can be allocated."""
    found = _machine()
    for directory in _own_groups(groups, own):
        with contextlib.suppress(OSError, ValueError):
            limit = (directory / "memory.max").read_text().strip()
            if limit != "max":
                used = int((directory / "memory.current").read_text())
                # File cache is reclaimable; the pages of a tmpfs are counted as file cache too, but are not.
                counts = _counts(directory / "memory.stat")
                used -= counts.get("file", 0) - counts.get("shmem", 0)
                found = min(found, max(0, int(limit) - used))
    return found


def waited(pid: int, processes: Path = PROCESSES) -> float:
    """Return the seconds for which a process was ready to run while other processes had the cores.

    They are those of its thread that waited longest (Linux source: Documentation/scheduler/sched-stats.rst, the second
    field of /proc/PID/schedstat). Zero when the kernel does not count them, or for a process that has ended.
    """
    longest = 0
    # A thread may end at any time.
    with contextlib.suppress(OSError):
        for thread in (processes / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                longest = max(longest, int((thread / "schedstat").read_text().split()[1]))
    return longest / 1e9


def _machine() -> int:
    """Return the bytes of memory available on the machine (proc(5), MemAvailable)."""
    with contextlib.suppress(OSError):
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", Path("/proc/meminfo").read_text(), re.MULTILINE)
        return int(found[1]) * 1024 if found else 0
    return 0


def _counts(stat: Path) -> dict[str, int]:
    """Return the counters of a memory.stat in bytes (Documentation/admin-guide/cgroup-v2.rst); empty if absent."""
    with contextlib.suppress(OSError, ValueError):
        return {name: int(count) for name, _, count in (line.partition(" ") for line in stat.read_text().splitlines())}
    return {}


def _own_groups(groups: Path, own: Path) -> Iterator[Path]:
    """Yield the directories of this process's version 2 control group and its ancestors."""
    with contextlib.suppress(OSError):
        for line in own.read_text().splitlines():
            number, _, path = line.partition("::")
            if number == "0":
                here = Path(path.lstrip("/"))
                yield from (groups / one for one in (here, *here.parents))
