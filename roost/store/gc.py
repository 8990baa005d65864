"""`inv gc`: removes old entries, leftovers of killed builds, and what exceeds the size limit from the cache and build/.

Entries are renamed away while no task can start to use the cache, and removed afterwards; so no task ever sees a
partial entry, and the next collection recognizes what a killed one left.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from roost.events import Events
from roost.host import files
from roost.recipe.quantities import format_size
from roost.recipe.words import some
from roost.store import cache as caches
from roost.store import entries, lease, scratch
from roost.store.entries import Entry
from roost.store.gc_report import Garbage, Report

#: Seconds after which unused entries are removed, and the maximum bytes of the cache.
AGE = 30 * 86400.0
CAP = 20 << 30
#: Maximum difference in seconds between the clocks of a file system and of its users.
SLACK = 2.0


@dataclass(frozen=True, slots=True)
class Rules:
    """The limits: age in seconds, total size in bytes."""

    age: float = AGE
    cap: int = CAP


def collect(root: Path, build: Path, rules: Rules, events: Events, *, delete: bool, now: float | None = None) -> Report:
    """Return the garbage in the cache `root` and in `build`; with `delete` remove it.

    Entries used by a running task, and files that roost did not make, are kept.
    """
    report = Report(str(root), delete)
    moment = time.time() if now is None else now
    _scratch(root, build, report, delete=delete)
    if not root.is_dir():
        return report
    renamed: list[tuple[Garbage, Path]] = []
    with lease.gate(root):
        since = lease.oldest(root)
        found, strangers = entries.read(root)
        report.total = sum(entry.bytes for entry in found)
        free = [entry for entry in found if not _in_use(entry, since)]
        for entry, why in _chosen(free, report.total, rules, moment):
            item = Garbage(str(entry.path.relative_to(root)), why, entry.bytes)
            report.items.append(item)
            if delete:
                renamed += _set_aside(entry, item)
        if delete and since is None:
            _drop_locks(root)
    for item, path in renamed:
        events.progress("gc", 0, 1)
        _remove(path, item)
    _explain(report, found, strangers, since, rules)
    return report


def _in_use(entry: Entry, since: float | None) -> bool:
    """Return whether a running task may be using an entry."""
    if since is None:
        return False
    return entry.shared or entry.used >= since - SLACK


def _chosen(free: Iterable[Entry], total: int, rules: Rules, now: float) -> Iterator[tuple[Entry, str]]:
    """Yield garbage and the reason: leftovers, old entries, then the least recently used above the size limit."""
    rest = []
    for entry in sorted(free, key=lambda one: (one.used, str(one.path))):
        idle = now - entry.used
        if entry.left:
            yield entry, f"left by {entry.left}"
        elif idle > rules.age:
            yield entry, f"not used for {_long(idle)}"
        else:
            rest.append(entry)
            continue
        total -= entry.bytes
    for entry in rest:
        if total <= rules.cap:
            return
        if entry.capped:
            yield (
                entry,
                f"least recently used ({_long(now - entry.used)} ago),"
                f" and the cache is larger than {format_size(rules.cap)}",
            )
            total -= entry.bytes


def _long(seconds: float) -> str:
    for unit, length in (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}s"
    return f"{max(0.0, seconds):.0f} seconds"


@contextmanager
def _locked(lock: Path | None) -> Iterator[bool]:
    """Take a lock if it is free; yield whether it was."""
    if lock is None:
        yield True
        return
    held = FileLock(lock)
    try:
        files.lock_path(lock)
        held.acquire(timeout=0)
    except (Timeout, OSError):
        yield False
        return
    try:
        yield True
    finally:
        held.release()


def _set_aside(entry: Entry, item: Garbage) -> list[tuple[Garbage, Path]]:
    """Rename an entry away, so that no task finds it from now on; return what is to be removed."""
    with _locked(entry.lock) as free:
        now = _used(entry.path)
        if now is None:
            item.state = "gone"
        elif not free or (entry.lock is not None and not entry.left and now > entry.used):
            item.state, item.why = "stays", f"{item.why}; but a task is using it"
        else:
            try:
                return [(item, _renamed(entry.path))]
            except OSError as error:
                _failed(item, error)
        return []


def _renamed(path: Path) -> Path:
    if entries.GONE.fullmatch(path.name):
        return path
    return path.rename(path.with_name(f".gone-{os.getpid()}-{os.urandom(4).hex()}"))


def _used(path: Path) -> float | None:
    try:
        return path.lstat().st_mtime
    except OSError:
        return None


def _remove(path: Path, item: Garbage) -> None:
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        item.state = "gone"
    except FileNotFoundError:
        # Another collection took it.
        item.state = "gone"
    except OSError as error:
        _failed(item, error)


def _failed(item: Garbage, error: OSError) -> None:
    item.state, item.problem = "stays", error.strerror or str(error)


def _drop_locks(root: Path) -> None:
    """Remove the locks of removed entries; no task waits for one, since none uses the cache."""
    for kind in entries.KINDS:
        if kind.locked and not (root / kind.name).is_symlink():
            for lock in (root / kind.name).glob(".*.lock"):
                name = lock.name[1:-5]
                part = lock.with_name(f".{name}.part")
                if entries.LOCKS.fullmatch(lock.name) and not (lock.with_name(name).exists() or part.exists()):
                    with contextlib.suppress(OSError):
                        lock.unlink()


def _scratch(root: Path, build: Path, report: Report, *, delete: bool) -> None:
    """Find leftovers of killed tasks besides the results: work directories, layers of boots, partial images."""
    for directory in [*caches.abandoned(), *scratch.abandoned()]:
        item = Garbage(_shown(directory, root), "left by a task that was killed", entries.size(directory))
        report.items.append(item)
        report.total += item.bytes
    if delete:
        caches.sweep()
        scratch.sweep()
        for item in report.items:
            item.state = "gone"
    for path, lock, name in entries.staged(build):
        with _locked(lock) as free:
            if not free:
                continue
            why = f"an unfinished image, left by a build of {name} that was killed"
            item = Garbage(_shown(path, build.parent), why, entries.size(path))
            report.items.append(item)
            if delete:
                _remove(path, item)


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)


def _explain(report: Report, found: list[Entry], strangers: list[str], since: float | None, rules: Rules) -> None:
    kinds: dict[str, list[Entry]] = {}
    for entry in found:
        kinds.setdefault(entry.kind, []).append(entry)
    removed = {item.what for item in report.items if item.state != "stays"}
    root = Path(report.place)
    for kind, members in kinds.items():
        rest = [one for one in members if str(one.path.relative_to(root)) not in removed]
        report.kept.append({"what": kind, "entries": len(rest), "bytes": sum(one.bytes for one in rest)})
    if since is not None:
        report.note("a task is running: what it uses or may use is kept")
    left = report.total - report.bytes()
    if left > rules.cap:
        report.note(f"{format_size(left)} remain, more than {format_size(rules.cap)}: the rest is in use or small")
    if strangers:
        report.note(f"not written by roost, and not touched: {some(strangers, 5)}")
