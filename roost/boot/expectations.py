"""The recipe's expectations compared with the console, the disks, the job's status and the times. Pure.

Each kind of expectation has its own judge, which returns what was found instead, or what met it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from roost.boot.evidence import Expected
from roost.host.safetext import clean
from roost.recipe.boot_test import Expectation, SizeRange
from roost.recipe.patterns import Searches, TooSlowError, compiled
from roost.recipe.quantities import format_size
from roost.recipe.words import some
from roost.verify.evidence import FoundFile

_TOO_SLOW = "not known: the search for this regular expression takes too long; avoid nested repetitions"
#: At most this many names of failed units are shown.
_NAMES = 5


@dataclass(frozen=True, slots=True)
class Actual:
    """All that expectations are compared with.

    `matched` has the console line in which each pattern was first seen, `status` is the job's status.json (None: there
    is none), `exits` are the exit statuses on the console, `seconds` how long each phase took, `factor` how much slower
    the accelerator is than the one that the recipe's times assume, `find` returns a file by (path, disk). `slow` are
    the patterns whose search on the console was abandoned, `searches` the time limit for those in files.
    """

    matched: Mapping[str, str]
    status: Mapping[str, Any] | None
    exits: Sequence[int]
    seconds: Mapping[str, float]
    factor: float
    find: Callable[[str, str | None], FoundFile]
    slow: Collection[str] = ()
    searches: Searches = field(default_factory=Searches)


def judge(wanted: Sequence[Expectation], actual: Actual) -> tuple[Expected, ...]:
    """Return each expectation and whether it was met."""
    return tuple(_JUDGES[one.kind](one, actual) for one in wanted)


def _serial(wanted: Expectation, actual: Actual) -> Expected:
    assert wanted.serial is not None
    line = actual.matched.get(wanted.serial)
    if wanted.serial in actual.slow:
        return Expected(f"console{', not' if wanted.absent else ''}: {wanted.serial}", False, _TOO_SLOW)
    if wanted.absent:
        return Expected(f"console, not: {wanted.serial}", line is None, line or "not on the console")
    return Expected(f"console: {wanted.serial}", line is not None, line if line is not None else "not on the console")


def _file(wanted: Expectation, actual: Actual) -> Expected:
    path = wanted.file or ""
    found = actual.find(path, wanted.on)
    parts = [path]
    if wanted.on:
        parts.append(f"on {wanted.on}")
    if wanted.absent:
        return Expected(" ".join([*parts, "is absent"]), not found.exists, found.seen, True)
    if wanted.matches is not None:
        parts.append(f"matches {wanted.matches}")
    if wanted.size is not None:
        parts.append(f"has {_size_words(wanted.size)}")
    if wanted.mode is not None:
        parts.append(f"has mode {wanted.mode.zfill(4)}")
    what = " ".join(parts)
    if found.content is None:
        return Expected(what, False, found.seen, True)
    text = found.content.decode("utf-8", "replace")
    # The first check that fails gives what was found instead.
    if wanted.size is not None and not _fits(found.size, wanted.size):
        return Expected(what, False, f"{found.size} bytes", True)
    if wanted.mode is not None and found.mode != int(wanted.mode, 8):
        return Expected(what, False, f"mode {found.mode:04o}", True)
    try:
        met = wanted.matches is None or actual.searches.search(compiled(wanted.matches, lines=True), text)
    except TooSlowError:
        return Expected(what, False, _TOO_SLOW, True)
    return Expected(what, met, clean(found.content[:200].replace(b"\n", b" ")) or "(empty)", True)


def _fits(size: int, wanted: int | SizeRange) -> bool:
    if isinstance(wanted, int):
        return size == wanted
    return wanted.min <= size and (wanted.max is None or size <= wanted.max)


def _size_words(wanted: int | SizeRange) -> str:
    if isinstance(wanted, int):
        return f"{wanted} bytes"
    least = [f"at least {format_size(wanted.min)}"] if wanted.min else []
    most = [f"at most {format_size(wanted.max)}"] if wanted.max is not None else []
    return " and ".join([*least, *most]) or "any size"


def _exit(wanted: Expectation, actual: Actual) -> Expected:
    what = f"the job's exit status is {wanted.exit}"
    code = job_exit(actual.status, actual.exits)
    return Expected(what, code == wanted.exit, "the job did not finish" if code is None else f"exit status {code}")


def job_exit(status: Mapping[str, Any] | None, exits: Sequence[int]) -> int | None:
    """Return the job's exit status: the one on the disk, else the last on the console; None if it did not finish."""
    if status and status.get("state") == "finished":
        code = status.get("exit_code")
        return code if isinstance(code, int) else None
    return exits[-1] if exits else None


def _within(wanted: Expectation, actual: Actual) -> Expected:
    limit = wanted.within or 0.0
    scaled = limit * actual.factor
    slower = f", here {scaled:.1f} s" if actual.factor > 1 else ""
    what = f"{wanted.phase or 'the whole boot'} within {limit:g} s{slower}"
    if wanted.phase and wanted.phase not in actual.seconds:
        return Expected(what, False, f"the guest never reached {wanted.phase}")
    taken = actual.seconds[wanted.phase] if wanted.phase else sum(actual.seconds.values())
    return Expected(what, taken <= scaled, f"{taken:.1f} s")


def _failed_units(wanted: Expectation, actual: Actual) -> Expected:
    allowed = wanted.failed_units if isinstance(wanted.failed_units, tuple) else ()
    what = f"no failed unit except {', '.join(allowed)}" if allowed else "no failed unit"
    reported = (actual.status or {}).get("failed_units")
    if not isinstance(reported, list):
        return Expected(what, False, _unreported(actual, "it has no systemd"))
    failed = [clean(str(unit).encode()) for unit in reported]
    bad = [unit for unit in failed if unit not in allowed]
    return Expected(what, not bad, f"failed: {some(bad, _NAMES)}" if bad else "none failed")


def _memory_free(wanted: Expectation, actual: Actual) -> Expected:
    what = f"{format_size(wanted.memory_free or 0)} of memory left when the job has ended"
    left = (actual.status or {}).get("memory_available")
    if not isinstance(left, int) or isinstance(left, bool):
        return Expected(
            what, False, _unreported(actual, "the image was built by an older roost, which did not record this")
        )
    return Expected(what, left >= (wanted.memory_free or 0), f"{format_size(left)} left")


def _unreported(actual: Actual, why: str) -> str:
    if actual.status is None:
        return "the guest left no status.json"
    return (
        "the job did not finish" if actual.status.get("state") != "finished" else f"the guest did not report it: {why}"
    )


_JUDGES: Mapping[str, Callable[[Expectation, Actual], Expected]] = {
    "serial": _serial,
    "file": _file,
    "exit": _exit,
    "within": _within,
    "failed_units": _failed_units,
    "memory_free": _memory_free,
}
