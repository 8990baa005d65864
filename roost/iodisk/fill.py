"""Copy inputs to the directory that becomes an io disk; a file that changes while it is read is refused.

Only plain files are opened, and they are read up to the size they had then: one that grows, shrinks, changes or
never ends is an error, not a partial copy. Errors name the file being read; the copy belongs to the host.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from roost.errors import ImageError, RoostError
from roost.host.files import open_regular, remedy
from roost.iodisk.inputs import Input, walk
from roost.recipe.words import shown

_BLOCK = 1 << 20


def fill(directory: Path, chosen: Iterable[Input], epoch: int) -> None:
    """Copy the items below `directory`; times are limited to `epoch`, modes to rwx.

    Raises `ImageError` for an input that cannot be read or changes meanwhile, `OSError` when `directory` is not
    writable.
    """
    for item in chosen:
        try:
            found = list(walk(item.source, follow=item.within is None))
        except OSError as error:
            raise _unreadable(Path(os.fsdecode(error.filename or item.source)), error) from error
        for path, status in found:
            _copy(path, status, directory / item.target / path.relative_to(item.source))
    for path, status in sorted(walk(directory), key=lambda one: len(one[0].parts), reverse=True):
        if not stat.S_ISLNK(status.st_mode):
            path.chmod(status.st_mode & 0o777 | (0o700 if stat.S_ISDIR(status.st_mode) else 0o400))
        when = min(int(status.st_mtime), epoch)
        os.utime(path, (when, when), follow_symlinks=False)


def _copy(source: Path, status: os.stat_result, target: Path) -> None:
    if stat.S_ISDIR(status.st_mode):
        target.mkdir()
        target.chmod(status.st_mode & 0o777 | 0o700)
    elif stat.S_ISLNK(status.st_mode):
        try:
            to = source.readlink()
        except OSError as error:
            raise _unreadable(source, error) from error
        target.symlink_to(to)
        return
    else:
        try:
            file = open_regular(source)
        except OSError as error:
            raise _unreadable(source, error) from error
        with file, target.open("xb") as copy:
            status = _copy_bytes(source, file, copy)
        # Extended attributes are dropped: the guest has other owners and security modules.
        target.chmod(status.st_mode & 0o777 | 0o400)
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))


def _copy_bytes(source: Path, file: BinaryIO, copy: BinaryIO) -> os.stat_result:
    """Copy a file, preserving holes; return its status. Raises `ImageError` if it changed meanwhile."""
    before = os.fstat(file.fileno())
    left = before.st_size
    while left > 0:
        block = read_block(source, file, min(_BLOCK, left))
        if not block:
            break
        left -= len(block)
        if block.count(0) == len(block):
            copy.seek(len(block), os.SEEK_CUR)
        else:
            copy.write(block)
    copy.truncate(before.st_size)
    after = os.fstat(file.fileno())
    if (
        left
        or read_block(source, file, 1)
        or (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
    ):
        raise ImageError(
            f"{shown(str(source), 200)} changed while it was read, or has no end",
            hint="rerun when nothing writes to it; a file of /proc or /sys is copied to a plain file first",
        )
    return after


def read_block(source: Path, file: BinaryIO, size: int) -> bytes:
    """Return at most `size` bytes of an input file, none at its end. Raises `ImageError`."""
    try:
        # A file of /proc that would block gives None.
        return file.read(size) or b""
    except OSError as error:
        raise _unreadable(source, error) from error


def _unreadable(source: Path, error: OSError) -> RoostError:
    return ImageError(f"{shown(str(source), 200)} cannot be read: {error.strerror}", hint=remedy(source))
