"""Writing to a path that a user names: atomic for files, through devices and FIFOs, never replacing them.

rename(2) replaces whatever is at a path: a device such as /dev/null for the whole machine, a FIFO with a reader, a link
whose target was meant. So the path is examined first. A link stays and its target is written; a character device or a
FIFO gets the bytes; /dev/stdout and /dev/fd/N are this process's own open files. A block device, a socket and a
directory are refused: as the target of a text or an io disk they are a mistake.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from roost.errors import HostError, UsageError
from roost.host import causes, files

#: Seconds to wait for a FIFO's reader, and for a reader that reads nothing.
READER, STALLED = 10.0, 60.0
_BLOCK = 1 << 20
#: Errors of the path itself, independent of the host.
NO_PATH = frozenset({errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG})
_LINKS = 40


def write(path: Path, data: bytes) -> None:
    """Write `data` to the path that a user named.

    Raises `UsageError` for a path that cannot be written by its nature, `HostError` when the host refuses.
    """
    with _reported(path):
        stream = _stream(path)
        if stream is not None:
            with stream as descriptor:
                _pour(descriptor, (data[at : at + _BLOCK] for at in range(0, len(data), _BLOCK)))
            return
        target = _target(path)
        with _temporary(target) as (temporary, descriptor):
            with os.fdopen(descriptor, "wb", closefd=False) as file:
                file.write(data)
            os.fsync(descriptor)
            temporary.rename(target)


def place(made: Path, path: Path) -> None:
    """Move a finished file to the path that a user named; `made` is gone afterwards unless it was copied.

    Raises as `write` does. Holes are kept if the path is a file.
    """
    with _reported(path):
        stream = _stream(path)
        if stream is not None:
            with stream as descriptor, made.open("rb") as file:
                _pour(descriptor, iter(lambda: file.read(_BLOCK), b""))
            return
        target = _target(path)
        if target.exists():
            _take_after(made, target)
        if made.stat().st_dev == target.parent.stat().st_dev:
            with contextlib.suppress(OSError):
                made.rename(target)
                return
        with _temporary(target) as (temporary, descriptor):
            _copy(made, descriptor)
            temporary.chmod(stat.S_IMODE(made.stat().st_mode))
            temporary.rename(target)


def directory(path: Path) -> Path | None:
    """Return the directory in which to make the file for `place`; None if the path is a device or a FIFO.

    Raises as `write` does for a path that cannot be written, so that no work is wasted.
    """
    with _reported(path):
        if files.own_descriptor(path) is not None:
            return None
        target = _target(path)
        try:
            mode = target.stat().st_mode
        except FileNotFoundError:
            return target.parent
        return target.parent if stat.S_ISREG(mode) else None


def is_standard_output(path: Path) -> bool:
    """Return whether a path is this process's standard output; then nothing else may be written there."""
    return files.own_descriptor(path) == 1


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno in NO_PATH:
            raise UsageError(f"{path!s:.200} cannot be written: {why}", hint="name another file") from error
        hint = causes.hint(error)
        if error.errno == errno.ENOSPC and _is_device(path):
            hint = "the device takes no more data: name a file"
        raise HostError(f"{path} cannot be written: {why}", hint=hint) from error
    except ValueError as error:
        raise UsageError(f"{path!s:.100} is not a valid file name", hint="leave out the zero byte") from error


def _is_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _stream(path: Path) -> contextlib.AbstractContextManager[int] | None:
    """Return an open descriptor when the path is not that of a file in the file system, else None."""
    own = files.own_descriptor(path)
    if own is not None:
        for text in (sys.stdout, sys.stderr):
            if text is not None:
                text.flush()
        os.fstat(own)
        return contextlib.nullcontext(own)
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, PermissionError):
        # `_target` gives the reason: the kernel itself may refuse to follow a link (fs.protected_symlinks).
        return None
    if stat.S_ISREG(mode):
        return None
    if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
        raise UsageError(f"{path} is {files.kind(mode)}, not a file")
    return _opened(path)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Yield a device or a FIFO open for writing; wait a limited time for a FIFO's reader."""
    until = time.monotonic() + READER
    while True:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            break
        except OSError as error:
            if error.errno != errno.ENXIO or not path.is_fifo():
                raise
            if time.monotonic() > until:
                raise UsageError(
                    f"{path} is a FIFO that nobody reads", hint=f"waited {READER:g} s: start its reader first"
                ) from error
            time.sleep(0.05)
    try:
        mode = os.fstat(descriptor).st_mode
        if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
            raise UsageError(f"{path} is {files.kind(mode)}, it was something else before")
        yield descriptor
    finally:
        os.close(descriptor)


def _pour(descriptor: int, blocks: Iterable[bytes]) -> None:
    """Write all blocks to a descriptor that may not be ready; fail when nothing is read for long."""
    for block in blocks:
        left = memoryview(block)
        while left:
            _readable, ready, _failed = select.select([], [descriptor], [], STALLED)
            if not ready:
                raise OSError(errno.ETIMEDOUT, f"nothing read the data for {STALLED:g} s")
            try:
                # At most what a pipe takes at once: a blocking one would otherwise wait without limit.
                left = left[os.write(descriptor, left[: select.PIPE_BUF]) :]
            except BlockingIOError:
                continue


def _target(path: Path) -> Path:
    """Return the file that a path leads to, links followed; raise unless it is, or may become, a regular file."""
    seen = path.absolute()
    for _ in range(_LINKS):
        try:
            status = seen.lstat()
        except FileNotFoundError:
            if not seen.parent.is_dir():
                raise UsageError(f"no such directory: '{seen.parent}'", hint=f"mkdir -p {seen.parent}") from None
            return seen
        if not stat.S_ISLNK(status.st_mode):
            if stat.S_ISDIR(status.st_mode) or stat.S_ISBLK(status.st_mode) or stat.S_ISSOCK(status.st_mode):
                raise UsageError(f"{path} is {files.kind(status.st_mode)}, not a file")
            if stat.S_ISREG(status.st_mode) and not os.access(seen, os.W_OK, effective_ids=True):
                os.close(os.open(seen, os.O_WRONLY | os.O_CLOEXEC))  # raises the reason
            return seen
        _require_followable(seen, status)
        seen = seen.parent / seen.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _require_followable(link: Path, status: os.stat_result) -> None:
    """Refuse another user's link in a world-writable directory, as the kernel does (proc(5), protected_symlinks)."""
    parent = link.parent.stat()
    sticky = parent.st_mode & stat.S_ISVTX and parent.st_mode & stat.S_IWOTH
    if sticky and status.st_uid not in {os.geteuid(), parent.st_uid}:
        raise OSError(errno.EACCES, f"{link} is a symbolic link of another user in a world-writable directory")


@contextmanager
def _temporary(target: Path) -> Iterator[tuple[Path, int]]:
    """Yield a new file next to the target, with the target's mode and owner if it exists."""
    temporary = target.with_name(f".roost-{os.getpid()}-{os.urandom(6).hex()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        if target.exists():
            _take_after(temporary, target)
        yield temporary, descriptor
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)


def _take_after(new: Path, old: Path) -> None:
    status = old.stat()
    new.chmod(stat.S_IMODE(status.st_mode) & 0o777)
    if status.st_uid != os.geteuid():
        with contextlib.suppress(OSError):
            os.chown(new, status.st_uid, status.st_gid)


def _copy(source: Path, descriptor: int) -> None:
    with source.open("rb") as file:
        while block := file.read(_BLOCK):
            if block.count(0) == len(block):
                os.lseek(descriptor, len(block), os.SEEK_CUR)
            else:
                left = memoryview(block)
                while left:
                    left = left[os.write(descriptor, left) :]
        os.ftruncate(descriptor, os.lseek(descriptor, 0, os.SEEK_CUR))
    os.fsync(descriptor)
