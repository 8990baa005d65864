"""Staging: an image's directory appears whole or not at all, and two builds of one image wait for each other.

A build writes into a hidden directory next to the final one, on the same file system, and renames it at the end. An
earlier result is exchanged, not removed first, so that a reader always finds a whole directory.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from roost.errors import HostError
from roost.host import files, holder, temporary
from roost.host.paths import display

_RENAME_EXCHANGE = 2
_AT_FDCWD = -100


def exchange(one: Path, other: Path) -> None:
    """Exchange two paths in one step (renameat2(2), RENAME_EXCHANGE; Linux 3.15).

    Raises `OSError`, also if the file system does not support it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(one))


def _require_directory(final: Path) -> None:
    if not final.is_dir():
        raise files.UnfitFileError(errno.ENOTDIR, f"{files.kind(final.stat().st_mode)}, not a directory", str(final))


def _place(staging: Path, final: Path) -> None:
    if not final.exists():
        staging.rename(final)
        return
    _require_directory(final)
    try:
        exchange(staging, final)
    except OSError:
        # Some file systems cannot exchange (network, overlay): then the directory is missing for a moment, but never
        # incomplete.
        old = staging.with_name(f"{staging.name}.old")
        final.rename(old)
        staging.rename(final)
        shutil.rmtree(old)


def _lock_file(directory: Path) -> Path:
    return directory.parent / f".{directory.name}.lock"


def in_use(directory: Path) -> str:
    """Return the message shown while waiting for an image's directory that another command has locked."""
    by = holder.command(_lock_file(directory))
    return f"{display(directory)} is in use by another command{f' ({by})' if by else ''}: waiting for it"


def changing(directory: Path) -> str | None:
    """Return the command that has an image's directory locked to build or boot it; None if it is not locked."""
    path = _lock_file(directory)
    try:
        with files.open_regular(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return holder.command(path) or "another command"
    except OSError:
        pass
    return None


@contextmanager
def lock(directory: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of an image's directory; call `waiting` once if it is held elsewhere."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(files.lock_path(_lock_file(directory)))
    try:
        held.acquire(timeout=0)
    except Timeout:
        waiting()
        held.acquire()
    try:
        yield
    finally:
        held.release()


@contextmanager
def passing_lock(directory: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock of a result directory named by a user, as `lock` does, but leave no lock file next to it.

    It is removed while it is held: a waiter then has a file without a name, which `FileLock` notices.
    """
    with lock(directory, waiting):
        try:
            yield
        finally:
            _lock_file(directory).unlink(missing_ok=True)


@contextmanager
def reading(directory: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a shared lock of an image's directory against changes; call `waiting` once if it is being changed now."""
    directory.parent.mkdir(parents=True, exist_ok=True)
    # The same file, and the same lock of flock(2), as `lock` has: shared here, exclusive there.
    with files.lock_path(_lock_file(directory)).open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(file, fcntl.LOCK_SH)
        yield


def place(final: Path) -> Path:
    """Return the hidden directory of this process that becomes `final`; it exists while `staged` lasts."""
    final = _followed(final)
    return final.parent / f".{final.name}.staging-{os.getpid()}"


def _followed(final: Path) -> Path:
    return final.resolve() if final.is_symlink() else final


@contextmanager
def staged(final: Path) -> Iterator[Path]:
    """Yield an empty directory that becomes `final` when the block succeeds, and is removed when it fails.

    The caller holds `lock(final)`, so leftovers of an earlier, killed build are stale and removed. If `final` is a
    link, perhaps to a larger disk, it stays and the directory that it names is replaced.
    """
    final = _followed(final)
    if final.exists():
        _require_directory(final)
    for stale in final.parent.glob(f".{final.name}.staging-*"):
        shutil.rmtree(stale, ignore_errors=True)
    _sweep(final.parent)
    staging = place(final)
    try:
        staging.mkdir(parents=True)
    except FileExistsError as error:
        # In a container every build is process 1.
        what = f"{staging} is left over from a killed build of another user"
        raise HostError(what, hint="remove it as that user") from error
    held = os.open(staging, os.O_RDONLY | os.O_DIRECTORY)
    try:
        temporary.locked(held)
        yield staging
        _sync(staging)
        _place(staging, final)
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(staging)
        os.close(held)


def _sweep(parent: Path) -> None:
    """Remove leftovers next to this image, of killed builds of others: the process is gone and the lock is free."""
    for stale in parent.glob(".*.staging-*"):
        number = stale.name.rpartition("-")[2]
        if number.isdigit() and not Path("/proc", number).exists():
            temporary.remove_if_free(stale)


def _sync(directory: Path) -> None:
    # Names reach the disk before the rename does; the data of large images may follow, checksums reveal its loss.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


#: Prefix of file names while `write_atomically` writes them.
WRITING = ".roost-"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file of roost's own so that readers see either the old or the new content.

    Raises `files.UnfitFileError` if the path is anything but a file: roost must not replace or follow it. Paths named
    by a user go through `roost.host.output`.
    """
    files.require_replaceable(path)
    temporary = path.with_name(f"{WRITING}{os.getpid()}-{os.urandom(6).hex()}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
