"""A directory of saved machines: one command at a time saves, few are kept, and after a failure none for an hour.

A machine is a directory whose name is the digest of all that it depends on; it is complete once it has that name.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from roost.errors import RoostError
from roost.host import process, temporary
from roost.host.appliance import GIVEN_UP

#: The name of such a directory, and how many machines it keeps, of about 100 MB each.
DIRECTORY = "machines"
KEPT = 4


class UnusableError(RoostError):
    """A saved or restored machine is not as expected."""


class BusyError(Exception):
    """Another command is saving a machine."""


def identity(qemu: Path) -> list[object]:
    """Return what a saved machine depends on besides its arguments: this QEMU and this host's processor.

    The kernel of the machine has measured the rate of the processor's counter. Raises `OSError` where there is no QEMU.
    """
    status = qemu.resolve(strict=True).stat()
    parts: list[object] = [str(qemu.resolve()), status.st_size, status.st_mtime_ns]
    for of_host in ("/proc/cpuinfo", "/etc/machine-id"):
        with contextlib.suppress(OSError), Path(of_host).open(errors="replace") as file:
            parts += [line for line in file.read(4096).splitlines() if ":" not in line or line.startswith("model name")]
    return parts


def given_up(place: Path) -> bool:
    """Return whether a machine of this name failed within the last hour. Raises `OSError` if that is unknown."""
    try:
        return time.time() - place.with_suffix(".unusable").stat().st_mtime < GIVEN_UP
    except FileNotFoundError:
        return False


def give_up(place: Path) -> None:
    """Remove a machine that failed, and save no other of its name for an hour."""
    with contextlib.suppress(OSError):
        place.parent.mkdir(mode=0o700, exist_ok=True)
        place.with_suffix(".unusable").touch()
        shutil.rmtree(place, ignore_errors=True)


def complain(why: str, what: str, log: Path) -> None:
    """Append to `log` why `what` is not used."""
    with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as file:
        file.write(f"{what} is not used: {process.tail(why, 3)}\n")


@contextmanager
def saving(place: Path) -> Iterator[Path]:
    """Yield an empty directory, which takes its name `place` when the block has filled it.

    Raises `BusyError` when another command is saving.
    """
    machines = place.parent
    machines.mkdir(mode=0o700, exist_ok=True)
    with _alone(machines), temporary.directory("machine", machines, hidden=True) as work:
        machine = work / "machine"
        machine.mkdir(mode=0o700)
        yield machine
        # Another process may have been first, where there are no locks.
        with contextlib.suppress(OSError):
            machine.rename(place)
        _drop_others(machines)


@contextmanager
def _alone(machines: Path) -> Iterator[None]:
    """Hold the lock for saving; raise `BusyError` when another command has it."""
    descriptor = os.open(machines, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if temporary.locked(descriptor) is False:
            raise BusyError
        yield
    finally:
        os.close(descriptor)


def _drop_others(machines: Path) -> None:
    """Remove the least recently used machines beyond `KEPT`, and old marks."""
    found = [entry for entry in machines.iterdir() if not entry.name.startswith(".")]
    found.sort(key=lambda entry: entry.stat().st_mtime, reverse=True)
    for directory in [entry for entry in found if entry.is_dir()][KEPT:]:
        shutil.rmtree(directory, ignore_errors=True)
    for mark in [entry for entry in found if entry.suffix == ".unusable"]:
        if time.time() - mark.stat().st_mtime >= GIVEN_UP:
            mark.unlink(missing_ok=True)
