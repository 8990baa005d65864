"""The entries of the cache that roost made: their last use, and how they are locked.

Only names that roost gives are entries. Everything else there, and every link, belongs to the user and is not touched.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

SHA = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Kind:
    """A directory of the cache: the names of its entries and what they are.

    Each `locked` entry has a lock and is marked as used under it; others are kept while any task uses the cache.
    `depth` is the number of directories in between. `capped` entries are removed when the cache is too large; others
    only by age.
    """

    name: str
    entries: re.Pattern[str]
    directory: bool
    locked: bool = False
    depth: int = 0
    capped: bool = True


#: A package without compression: the sha256 of the original, and its own.
UNCOMPRESSED = re.compile(r"([0-9a-f]{64})-([0-9a-f]{64})[.]deb")

KINDS = (
    Kind("rootfs", SHA, directory=True, locked=True),
    Kind("essential", SHA, directory=True, locked=True),
    Kind("selections", SHA, directory=True, locked=True, capped=False),
    Kind("grub", SHA, directory=True, locked=True),
    Kind("lists", SHA, directory=True, locked=True, capped=False),
    Kind("apt", SHA, directory=True, locked=True),
    Kind("trees", SHA, directory=True, locked=True),
    Kind("bases", SHA, directory=True, locked=True),
    Kind("xen-dom0", SHA, directory=True, locked=True),
    Kind("site-probe", SHA, directory=True, locked=True),
    Kind("downloads", SHA, directory=True, locked=True),
    Kind("sources", SHA, directory=True, locked=True, capped=False),
    Kind("packages", re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*_[^/_]+_[a-z0-9-]+[.]deb"), directory=False, depth=1),
    Kind("uncompressed", UNCOMPRESSED, directory=False),
    Kind("inrelease", SHA, directory=False, capped=False),
    Kind("digests", SHA, directory=False, capped=False),
    Kind("kernels", re.compile(r"[A-Za-z0-9].*-(?:[0-9a-f]{12}|[0-9a-f]{64})[.]json"), directory=False, capped=False),
    Kind("log", re.compile(r".+-[0-9a-f]{8}"), directory=True, capped=False),
    Kind("probe", re.compile(r"(?:kvm|tcg)-[0-9a-f]{24}\.json"), directory=False, capped=False),
    Kind("appliance", re.compile(r"[0-9a-f]{32}"), directory=True),
    Kind("libguestfs", re.compile(r"\.guestfs-\d+"), directory=True),
)

#: Leftovers of killed builds, by directory. Their locks show who owns them.
LEFT = {
    **{kind.name: re.compile(r"\.[0-9a-f]{64}\.making") for kind in KINDS if kind.locked},
    "packages": re.compile(r"\.chosen-[0-9a-f]{64}"),
    "appliance": re.compile(r"\.building-\w+"),
}
#: A partial download is resumed; it expires by age, together with the server's version identifier.
PARTS = re.compile(r"\.[0-9a-f]{64}\.(?:part|version)")
#: Files among the log directories: reports of internal errors, and logs that do not belong to an image.
REPORTS = re.compile(r"bug-\d{8}T\d{6}-\d+[.]log|(?:extract|originals)[.]log")
LOCKS = re.compile(r"\.[0-9a-f]{64}\.lock")
#: What a killed collection had set aside.
GONE = re.compile(r"\.gone-\d+-[0-9a-f]+")
#: Files of tools among the entries that are not reported: the locks, apt's lock and its directory of partial downloads.
QUIET = frozenset({"lock", "partial"})
#: Directories swept by their own tasks, or with only locks or one small file.
OTHERS = frozenset({"work", "boot", "using", "factory"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the cache: `used` is its last use, in seconds since 1970; `left` names the owner of a leftover."""

    kind: str
    path: Path
    used: float
    bytes: int
    lock: Path | None = None
    left: str = ""
    capped: bool = True

    @property
    def shared(self) -> bool:
        """Whether tasks read it without locking it."""
        return self.lock is None and not GONE.fullmatch(self.path.name)


def size(path: Path) -> int:
    """Return the bytes that a file or a tree takes on the disk; links are not followed, unreadable files count 0."""
    total = 0
    pending = [path]
    while pending:
        one = pending.pop()
        try:
            status = one.lstat()
            total += status.st_blocks * 512
            if stat.S_ISDIR(status.st_mode):
                pending += one.iterdir()
        except OSError:
            continue
    return total


def read(root: Path) -> tuple[list[Entry], list[str]]:
    """Return the entries of a cache, and the paths (relative to it) of anything that is not roost's."""
    entries: list[Entry] = []
    strangers: list[str] = []
    kinds = {kind.name: kind for kind in KINDS}
    for path in _listed(root):
        kind = kinds.get(path.name)
        if kind is None or path.is_symlink() or not path.is_dir():
            if path.name not in OTHERS or path.is_symlink():
                strangers.append(path.name)
            continue
        for one in _below(path, kind.depth, strangers):
            found = _entry(kind, one)
            if found is not None:
                entries.append(found)
            elif not LOCKS.fullmatch(one.name) and one.name not in QUIET:
                strangers.append(str(one.relative_to(root)))
    return entries, strangers


def _listed(directory: Path) -> list[Path]:
    try:
        return sorted(directory.iterdir())
    except OSError:
        return []


def _below(directory: Path, depth: int, strangers: list[str]) -> Iterator[Path]:
    for one in _listed(directory):
        if depth and one.name not in QUIET and one.is_dir() and not one.is_symlink() and not GONE.fullmatch(one.name):
            yield from _below(one, depth - 1, strangers)
        else:
            yield one


def _entry(kind: Kind, path: Path) -> Entry | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    directory = stat.S_ISDIR(status.st_mode)
    if not directory and not stat.S_ISREG(status.st_mode):
        return None
    used = status.st_mtime if directory else max(status.st_atime, status.st_mtime)
    left, lock, capped = "", None, kind.capped
    key = path.name.removeprefix(".")[:64]
    if GONE.fullmatch(path.name):
        left = "a collection that was killed"
    elif kind.name in LEFT and LEFT[kind.name].fullmatch(path.name):
        left = "a build that was killed"
    elif kind.name == "downloads" and not directory and PARTS.fullmatch(path.name):
        capped = False
    elif kind.name == "log" and not directory and REPORTS.fullmatch(path.name):
        pass
    elif directory != kind.directory or not kind.entries.fullmatch(path.name):
        return None
    if kind.locked and not GONE.fullmatch(path.name):
        lock = path.with_name(f".{key}.lock")
    return Entry(kind.name, path, used, size(path), lock, left, capped)


def staged(build: Path) -> Iterator[tuple[Path, Path, str]]:
    """Yield leftovers of killed builds in a directory of images: the path, the lock of its image, the image's name."""
    for path in _listed(build):
        found = re.fullmatch(r"\.(.+)\.staging-\d+(?:\.old)?", path.name)
        if found and path.is_dir() and not path.is_symlink():
            yield path, path.with_name(f".{found[1]}.lock"), found[1]
