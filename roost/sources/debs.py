"""The .deb files of a selection, in a cache shared by recipes, each with the sha256 of the signed index."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from roost.errors import HostError, ImageError
from roost.host import checksum, numbers
from roost.sources import solver
from roost.sources.bootstrap import Bootstrap
from roost.sources.packages import Package
from roost.store import keys
from roost.store.cache import Cache, work_directory

#: deb(5): an ar(5) archive whose first member has the package's build time in these bytes.
_AR, _TIME = b"!<arch>\n", slice(24, 36)
#: 2106: a later time does not fit into an ext4 with small inodes, and no package has one.
_LATEST = 1 << 32
#: Errors of link(2): a file of another user (proc(5), protected_hardlinks), a file system without links, too many
#: links.
_NO_LINKS = frozenset({errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP})


def shared_directory(cache: Cache, wanted: Bootstrap) -> Path:
    """Return the directory of downloaded packages shared by all recipes with the same repositories."""
    name: str = wanted.debian.architecture
    if wanted.repositories:
        name += "-" + keys.digest([extra.inputs() for extra in wanted.repositories])[:16]
    directory = cache.root / "packages" / name
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@contextmanager
def held(wanted: Bootstrap, cache: Cache, log: Path, which: Sequence[Package] | None = None) -> Iterator[list[Path]]:
    """Yield the packages of a selection, or `which` of these and of its tools, in a directory of their own.

    They are sorted by name; the directory is temporary.

    Packages that are not in the cache, or have a different checksum there, are downloaded; the cache only ever gets
    whole files.
    """
    shared = shared_directory(cache, wanted)
    with work_directory() as work:
        mine = work / "packages"
        mine.mkdir()
        chosen = wanted.selection.packages if which is None else which
        missing = [one for one in chosen if not taken(shared / one.file, mine / one.file, one.sha256)]
        if missing:
            fetched = solver.download(wanted, missing, work, log)
            for one in missing:
                path = fetched / one.file
                if not path.is_file() or checksum.sha256(path) != one.sha256:
                    what = f"{one.file} does not match the archive's index"
                    raise ImageError(what, hint="build again: a mirror may be changing", log=log)
                path.replace(shared / one.file)
                if not taken(shared / one.file, mine / one.file, one.sha256):
                    raise HostError(f"{shared / one.file} was removed while it was in use", hint="build again")
        yield [mine / one.file for one in chosen]


def taken(path: Path, target: Path, sha256: str) -> bool:
    """Link a package to a place where it stays while in use, if it is valid; return whether it is.

    A package that is not a file, or cannot be read, is removed.
    """
    # Garbage collection may remove an unused one at any time.
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(path.lstat().st_mode):
            _remove(path)
            return False
        try:
            link(path, target)
            whole = checksum.sha256(target) == sha256
        except PermissionError:
            _remove(path)
            whole = False
        if whole:
            os.utime(target)
            return True
        target.unlink()
    return False


def link(path: Path, target: Path) -> None:
    """Link a file; copy it where it cannot be linked."""
    try:
        os.link(path, target)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copyfile(path, target)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def epoch(packages: Sequence[Path]) -> int:
    """Return when the newest of some packages was built, in seconds since 1970."""
    return max((time for path in packages if 0 < (time := _built(path)) < _LATEST), default=1)


def _built(path: Path) -> int:
    with path.open("rb") as file:
        head = file.read(_TIME.stop)
    text = head[_TIME].decode("ascii", "replace").strip()
    return numbers.whole(text) or 0 if head.startswith(_AR) else 0
