"""Files at untrusted paths: opened only if regular, and read up to a limit.

open(2) waits at a FIFO, a device may never end, and either can be at a path named by a recipe or a catalogue. The type
is therefore checked before the file is opened and again afterwards (it may have been exchanged in between), the
descriptor never blocks, and every reader gives a size limit. Errors are `OSError`s whose `strerror` is a readable
reason, as for any other unreadable file.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

#: Maximum bytes of a text written by people or tools (a recipe's file, a key, a manifest).
TEXT = 16 << 20
_BLOCK = 1 << 20

_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a block device"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISLNK, "a link"),
)


class UnfitFileError(OSError):
    """The path is not a regular file, or the file is larger than its reader's limit; `strerror` says which."""


def unreadable(name: Path | str, error: OSError, kind: str = "file") -> str:
    """Return why a file that the user named cannot be read: `no such file: 'X'`, or the reason of the system."""
    if isinstance(error, FileNotFoundError):
        return f"no such {kind}: '{name}'"
    return f"{name} cannot be read: {error.strerror or error}"


def kind(mode: int) -> str:
    """Return the file type of an `st_mode` in words: "a file", "a FIFO", "a directory" ..."""
    return next((words for test, words in _KINDS if test(mode)), "a file")


@contextlib.contextmanager
def _as_name(path: Path) -> Iterator[None]:
    """Raise `UnfitFileError` for names that no file system allows: with a NUL byte or a lone surrogate."""
    try:
        yield
    except ValueError as error:
        raise UnfitFileError(errno.EINVAL, "not a valid file name", str(path)) from error


def _refuse(error: OSError) -> None:
    raise error


def walk(top: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walk a directory as os.walk does, but raise `OSError` for one that cannot be listed: os.walk leaves it out."""
    return os.walk(top, onerror=_refuse)


def remedy(path: Path) -> str:
    """Return how to make a file or directory readable, as a hint."""
    try:
        directory = path.is_dir()
    except OSError:
        # It is in a directory that cannot be searched.
        directory = True
    return f"chmod {'+rx' if directory else '+r'}, or leave it out"


def unfit(path: Path) -> str | None:
    """Return why `path` (links are followed) is not a regular file, such as "a FIFO, not a file", else None.

    Raises `OSError` when it cannot be examined.
    """
    with _as_name(path):
        mode = path.stat().st_mode
    return None if stat.S_ISREG(mode) else f"{kind(mode)}, not a file"


def _require_regular(mode: int, path: Path) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "a directory, not a file", str(path))
    if not stat.S_ISREG(mode):
        raise UnfitFileError(errno.EINVAL, f"{kind(mode)}, not a file", str(path))


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading; links are followed. Never blocks.

    Raises `OSError`: `UnfitFileError` for a FIFO, a device or a socket, `IsADirectoryError` for a directory.
    """
    with _as_name(path):
        _require_regular(path.stat().st_mode, path)
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _require_regular(os.fstat(descriptor).st_mode, path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def require_replaceable(path: Path) -> None:
    """Raise `UnfitFileError` unless a path is a regular file or does not exist; a link is judged by itself."""
    with contextlib.suppress(FileNotFoundError), _as_name(path):
        _require_regular(path.lstat().st_mode, path)


def lock_path(path: Path) -> Path:
    """Return the path of a lock file; raise as `require_replaceable` does if opening it would truncate a file."""
    require_replaceable(path)
    return path


def size_in_words(size: int) -> str:
    """Return a size limit as messages show it: "16 MiB", "64 KiB"."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= unit and size % unit == 0:
            return f"{size // unit} {name}"
    return f"{size} bytes"


def read_stream(stream: BinaryIO, limit: int, name: str) -> bytes:
    """Return the content of a stream; raise `UnfitFileError` when it is more than `limit` bytes."""
    held = bytearray()
    while len(held) <= limit:
        block = stream.read(min(_BLOCK, limit + 1 - len(held)))
        if not block:
            return bytes(held)
        held += block
    raise UnfitFileError(errno.EFBIG, f"larger than {size_in_words(limit)}", name)


def read_bytes(path: Path, limit: int = TEXT) -> bytes:
    """Return the content of a regular file of at most `limit` bytes; raise `OSError` (see `open_regular`)."""
    with open_regular(path) as file:
        return read_stream(cast(BinaryIO, file), limit, str(path))


def read_text(path: Path, limit: int = TEXT, *, errors: str = "strict") -> str:
    """Return the UTF-8 text of a regular file; raise `OSError` (see `read_bytes`) or `UnicodeDecodeError`."""
    return read_bytes(path, limit).decode("utf-8", errors)


def own_descriptor(path: Path) -> int | None:
    """Return N if a path is this process's open file N (/dev/stdin, /dev/fd/N, /proc/self/fd/N), else None."""
    ours = {"/dev/fd", "/proc/self/fd", "/proc/thread-self/fd", f"/proc/{os.getpid()}/fd"}
    seen = os.path.abspath(path)  # noqa: PTH100 - resolve would follow the link that is looked for
    for _ in range(40):
        directory, _slash, name = seen.rpartition("/")
        if (directory in ours or os.path.realpath(directory) == f"/proc/{os.getpid()}/fd") and name.isdecimal():
            return int(name)
        try:
            seen = os.path.join(directory, os.readlink(seen))  # noqa: PTH115, PTH118
        except (OSError, ValueError):
            return None
    return None


def read_argument(name: str, limit: int = TEXT) -> bytes:
    """Read a command-line argument: a regular file, or standard input for `-`, /dev/stdin, /dev/fd/N.

    The caller's shell may have opened a pipe: it is read to its end, up to `limit`. Raises `OSError`.
    """
    descriptor = 0 if name == "-" else own_descriptor(Path(name))
    if descriptor is None:
        return read_bytes(Path(name), limit)
    if descriptor == 0 and sys.stdin is not None:
        return read_stream(cast(BinaryIO, sys.stdin.buffer), limit, "standard input")
    with os.fdopen(os.dup(descriptor), "rb") as stream:
        return read_stream(cast(BinaryIO, stream), limit, name)
