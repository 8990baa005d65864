"""Digests for keys: values, files, directories, the host's tools.

Everything that can change a byte of an image is in the key under which it is built, so that a stale result is never
taken for a fresh one and nothing is built twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from roost.errors import UsageError
from roost.host import checksum, files, jsontext, namespace, paths, process
from roost.store.staging import write_atomically


def digest(value: object) -> str:
    """Return the sha256 of a JSON value, keys sorted: the form of every key."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(directory: Path) -> str:
    """Return a digest of all names below a directory with type, mode, owner, size and times: no file is read.

    It differs for another copy of the directory, even an unchanged one. Files of the user's subordinate ids are seen in
    the namespace only.
    """
    argv = ["find", str(directory), "(", "-type", "d", "-printf", r"%P\0%y %m %U %G %T@ %C@\0", ")", "-o",
            "-printf", r"%P\0%y %m %U %G %T@ %C@ %s %l\0"]  # fmt: skip
    done = process.run(namespace.current().argv(argv), deadline=600, capture=True, what=f"cannot list {directory}")
    fields = done.stdout.split(b"\0")
    hashed = hashlib.sha256()
    for name, facts in sorted(zip(fields[::2], fields[1::2], strict=False)):
        hashed.update(name + b"\0" + facts + b"\0")
    return hashed.hexdigest()


def large_digest(path: Path) -> str:
    """Return the sha256 of a file, which is read again only when its size or times have changed."""
    seen = path.stat()
    state = [seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns, seen.st_ino, seen.st_dev]
    note = paths.cache_root() / "digests" / hashlib.sha256(os.fsencode(path.absolute())).hexdigest()
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        earlier = jsontext.read(note)
        if earlier["state"] == state:
            return str(earlier["sha256"])
    found = checksum.sha256(path)
    # A file written a moment ago could be written again within the clock's resolution.
    if time.time_ns() - seen.st_mtime_ns > 2_000_000_000 and path.stat() == seen:
        note.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(note, json.dumps({"state": state, "sha256": found}).encode())
    return found


def walk(path: Path) -> Iterator[Path]:
    """Yield a file, or a directory with everything below it, sorted; links are not followed.

    Raises `UsageError` for a directory that cannot be listed: changes in it would go unnoticed.
    """
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    try:
        for directory, directories, names in files.walk(path):
            directories.sort()
            yield Path(directory)
            yield from (Path(directory, name) for name in sorted(names))
    except OSError as error:
        refused = Path(os.fsdecode(error.filename or path))
        raise UsageError(files.unreadable(paths.display(refused), error), hint=files.remedy(refused)) from error


def tools(names: Iterable[str]) -> dict[str, str]:
    """Return tool → identity of its file, for those that are installed; a name with / is any file.

    Size and time stand for the version, which would take longer to find out.
    """
    found = {}
    for name in names:
        path = name if "/" in name else process.which(name)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            if path is not None:
                status = Path(path).stat()
                found[name] = f"{status.st_size}-{status.st_mtime_ns}"
    return found
