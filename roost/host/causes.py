"""Host failures behind an exception or a tool's output: space, quota, limits, memory, permission.

A full disk while a package is unpacked is not a fault of the package, so check here before content is called bad. The
words are those of strerror(3), which every tool prints in the C locale (roost.host.process).
"""

from __future__ import annotations

import errno
import os
import pwd
import re
import shutil
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roost.errors import HostError
from roost.host import safetext


@dataclass(frozen=True, slots=True)
class Cause:
    """One cause: its number (errno(3)), how tools report it, its name in messages, and what to do."""

    number: int
    words: str
    what: str
    hint: str


CAUSES = (
    Cause(errno.ENOSPC, r"No space left on device", "no space left on the disk", "free some space, or build elsewhere"),
    Cause(errno.EDQUOT, r"Disk quota exceeded", "the disk quota is used up", "free some of your space, see quota(1)"),
    Cause(
        errno.EFBIG,
        r"File too large|File size limit exceeded",
        "a file would be larger than the limit of this process or of the file system",
        "raise `ulimit -f`, or build on another file system",
    ),
    Cause(
        errno.EMFILE, r"Too many open files(?! in system)", "the limit of open files is reached", "raise `ulimit -n`"
    ),
    Cause(errno.ENFILE, r"Too many open files in system", "the host has too many files open", "raise fs.file-max"),
    Cause(
        errno.ENOMEM,
        r"Cannot allocate memory|[Oo]ut of memory|memory exhausted|std::bad_alloc|\bMemoryError\b",
        "no memory left",
        "raise `ulimit -v`, or free some memory",
    ),
    Cause(
        errno.EAGAIN,
        r"fork: (?:retry: )?Resource temporarily unavailable|can't start new thread",
        "no more processes may be started",
        "raise `ulimit -u`",
    ),
    Cause(errno.EROFS, r"Read-only file system", "the file system is read-only", "write elsewhere, or mount it rw"),
    Cause(errno.EIO, r"Input/output error", "the host's disk has an error", "see the kernel's log: dmesg"),
)
#: Reported only where nothing but the host's own tools ran.
DENIED = Cause(errno.EACCES, r"Permission denied", "permission denied", "check the owner and mode of that file")
_BY_NUMBER = {cause.number: cause for cause in (*CAUSES, DENIED)}
MEMORY = _BY_NUMBER[errno.ENOMEM]
#: Signs of a program out of memory: messages of the dynamic linker, and signals.
_STARVED = re.compile(rf"{MEMORY.words}|failed to map segment|cannot create shared object|[Nn]ot enough memory")
_STARVED_BY = (signal.SIGSEGV, signal.SIGABRT, signal.SIGKILL, signal.SIGBUS, signal.SIGTRAP)
#: Messages of tools about failed writes, without a reason.
_WRITING = re.compile(
    r"[Ww]rote only|[Ss]hort write|[Dd]isk full|[Ww]rite (?:error|fail)|[Ww]riting .{0,80}failed"
    r"|(?:[Cc]annot|[Cc]ould not|[Ff]ailed to|[Ee]rror while|[Ee]rror) (?:writ|flush|close|closing)"
)
#: What Python puts around the words of the system and of OpenSSL.
_NUMBERS = re.compile(r"\[(?:Errno -?\d+|SSL[^]]*|X509[^]]*)\] ?| ?\(_ssl\.c:\d+\)")
#: Arguments of a failed tool that are examined, and bytes written to find out whether a file system is full.
_WORDS = 64
_PROBE = 64 << 10
#: Tools ended by a signal because of a limit: by the tool's status, as seen directly and through a shell.
_SIGNALS = {
    signal.SIGXFSZ: _BY_NUMBER[errno.EFBIG],
    signal.SIGXCPU: Cause(0, "", "the limit of processor time is reached", "raise `ulimit -t`"),
}


def behind_words(text: str, returncode: int | None = None) -> Cause | None:
    """Return the cause reported in a tool's output (the last one counts) or by its exit status."""
    for number, cause in _SIGNALS.items():
        if returncode in {-number, 128 + number}:
            return cause
    found = [(match.start(), cause) for cause in (*CAUSES, DENIED) for match in re.finditer(cause.words, text)]
    # Permission denied is often harmless; any other cause is what stopped the tool.
    others = [one for one in found if one[1] is not DENIED]
    return max(others or found, key=lambda one: one[0])[1] if found else None


def full(argv: Sequence[str], output: str, directory: Path | None = None) -> Cause | None:
    """Return the cause if a file system in a failed tool's arguments is full, and its output `output` has no reason.

    On a full disk sfdisk prints nothing at all, and other tools only that they could not write. `directory` is the
    tool's working directory.
    """
    if output.strip() and not _WRITING.search(output):
        return None
    devices: set[int] = set()
    for word in argv[1:_WORDS]:
        # The value of an option, or of an argument such as of=FILE, may be the path.
        for name in dict.fromkeys((word, word.rpartition("=")[2])):
            place = _directory(name, directory)
            if place is None or (device := place.stat().st_dev) in devices:
                continue
            devices.add(device)
            if (cause := _refused(place)) is not None:
                return cause
    return None


def _directory(word: str, start: Path | None) -> Path | None:
    """Return the directory of an existing or new file on a tool's command line; None for other words."""
    path = Path(start or "", word)
    if not word or "/" not in str(path):
        return None
    try:
        if path.is_dir():
            return path
        return path.parent if path.parent.is_dir() and (path.is_file() or not path.exists()) else None
    except (OSError, ValueError):
        return None


def _refused(directory: Path) -> Cause | None:
    """Return why a directory's file system accepts no data (no space or quota left), or None if it does."""
    try:
        # Without a name if the file system supports it, and removed with the descriptor.
        with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
            file.write(os.urandom(_PROBE))
            os.fsync(file.fileno())
    except OSError as error:
        return _BY_NUMBER[error.errno] if error.errno in {errno.ENOSPC, errno.EDQUOT} else None
    return None


def is_memory(text: str, returncode: int) -> bool:
    """Return whether a tool with limited memory ran out of it, by its output or exit status."""
    return _STARVED.search(text) is not None or any(returncode in {-one, 128 + one} for one in _STARVED_BY)


def behind(error: BaseException) -> Cause | None:
    """Return the cause of an exception, or of what it was raised from."""
    seen: set[int] = set()
    step: BaseException | None = error
    while step is not None and id(step) not in seen:
        seen.add(id(step))
        if isinstance(step, MemoryError):
            return _BY_NUMBER[errno.ENOMEM]
        if isinstance(step, OSError) and step.errno in _BY_NUMBER:
            return _BY_NUMBER[step.errno]
        if isinstance(step, shutil.Error):
            return behind_words(str(step))
        if isinstance(step, RuntimeError) and "can't start new thread" in str(step):
            return _BY_NUMBER[errno.EAGAIN]
        step = step.__cause__
    return None


def host_error(
    cause: Cause, what: str = "", *, hint: str | None = None, log: Path | None = None, tail: str = ""
) -> HostError:
    """Return the error (exit code 3) for a cause; `what` is what failed, `hint` replaces the default hint."""
    text = f"{what}: {cause.what}" if what else cause.what
    return HostError(text, hint=hint or cause.hint, log=log, tail=tail)


def reason(error: BaseException) -> str:
    """Return why something failed, for the user: in the system's words, without its number or the name of a class."""
    words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    if isinstance(error, TimeoutError) and not words:
        return "no answer in time"
    # ssl.SSLError: "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)".
    return _NUMBERS.sub("", str(words)).strip() or "no reason is given"


def unwritable(path: Path | str, error: OSError) -> HostError:
    """Return the error for a path that cannot be written, with the fix if the cause is known."""
    return HostError(f"{path} cannot be written: {error.strerror or error}", hint=hint(error))


def unreadable(path: Path | str, error: OSError) -> HostError:
    """Return the error for a file of roost's own that cannot be read, with the fix if the cause is known."""
    return HostError(f"{path} cannot be read: {error.strerror or error}", hint=hint(error))


def hint(error: BaseException) -> str | None:
    """Return the fix for the cause of an exception, or of what it was raised from; None if the cause is not known.

    If permission was denied for a file that does not exist, the directory above it is named.
    """
    cause = behind(error)
    if cause is not DENIED:
        return cause.hint if cause else None
    step: BaseException | None = error
    while step is not None and not isinstance(step, PermissionError):
        step = step.__cause__
    return _owner(getattr(step, "filename", None)) or cause.hint


def _owner(name: object) -> str | None:
    """Return the hint that names the owner of a file, or of the nearest existing directory above it."""
    if not isinstance(name, str | bytes) or not name:
        return None
    path = Path(os.fsdecode(name))
    for place in (path, *path.parents):
        try:
            owner = place.stat().st_uid
        except (OSError, ValueError):
            continue
        try:
            who = "you" if owner == os.geteuid() else pwd.getpwuid(owner).pw_name
        except KeyError:
            who = f"the user {owner}"
        return f"check the owner and mode of {safetext.printable(str(place))[:200]}: it belongs to {who}"
    return None


def check(error: BaseException, what: str = "") -> None:
    """Raise `HostError` when the host, not the content, caused an exception; `what` defaults to the file's name.

    Permission errors are left to the caller: the call may have named the wrong file.
    """
    cause = behind(error)
    if cause is not None and cause is not DENIED:
        named = getattr(error, "filename", None)
        raise host_error(cause, what or (str(named) if named else "")) from error
