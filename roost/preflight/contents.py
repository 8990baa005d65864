"""What the disks' file systems cannot store of the recipe's files: names, sizes, links, or too much content."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from roost.disk import vfat_limits
from roost.errors import Problem
from roost.preflight.placed import Placed, placed
from roost.recipe.loader import Loaded
from roost.recipe.model import Partition
from roost.recipe.quantities import format_size
from roost.recipe.words import shown

_PACKED = frozenset({"squashfs", "erofs"})


@dataclass(frozen=True, slots=True)
class _Area:
    """A mounted file system, its keys in the recipe, and the recipe's files on it."""

    area: Partition
    key: tuple[str | int, ...]
    mount: str
    contents: tuple[Placed, ...]

    def below(self, one: Placed) -> str:
        """Return a path relative to the file system."""
        return one.path[len(self.mount.rstrip("/")) :].strip("/")


def problems(loaded: Loaded) -> list[Problem]:
    """Return all files that cannot be stored on their file system."""
    found: list[Problem] = []
    for area in _areas(loaded, placed(loaded)):
        if area.area.filesystem == "vfat":
            found += _vfat(loaded, area)
        found += _too_much(loaded, area)
    return found


def _areas(loaded: Loaded, everything: Sequence[Placed]) -> Iterator[_Area]:
    known: list[tuple[str, Partition, tuple[str | int, ...]]] = []
    for number, disk in enumerate(loaded.recipe.disks):
        for index, area in enumerate(disk.areas):
            if area.mount is not None:
                key: tuple[str | int, ...] = ("disks", number)
                key = (*key, "partitions", index) if disk.partitions else key
                known.append((area.mount, area, key))
    mounts = sorted((mount for mount, _, _ in known), key=len, reverse=True)

    def home(path: str) -> str | None:
        return next((mount for mount in mounts if path == mount or path.startswith(f"{mount.rstrip('/')}/")), None)

    # A later file at a path replaces an earlier one.
    last = {one.path: one for one in everything}
    homes: dict[str, list[Placed]] = {}
    for one in last.values():
        if (at := home(one.path)) is not None:
            homes.setdefault(at, []).append(one)
    for mount, area, key in known:
        yield _Area(area, key, mount, tuple(homes.get(mount, [])))


def _vfat(loaded: Loaded, area: _Area) -> Iterator[Problem]:
    where = f"the vfat file system on {shown(area.mount)}"
    for one in area.contents:
        place = _place(loaded, one)
        if one.kind == "link":
            yield loaded.problem(place, f"{shown(one.path)} is a link: {where} has none", "copy the file, or use ext4")
        if one.size > vfat_limits.FILE:
            what = f"{shown(one.path)} has {format_size(one.size)}: vfat files must be smaller than 4 GiB"
            yield loaded.problem(place, what, "use ext4, or split the file")
        for name in area.below(one).split("/"):
            if (why := vfat_limits.bad_name(name)) is not None:
                yield loaded.problem(place, f"{shown(one.path)}: {why}", "rename it, or use ext4")
                break
    paths = {area.below(one): one for one in area.contents if area.below(one)}
    firsts: dict[str, Placed] = {}
    for path, one in paths.items():
        firsts.setdefault(path.split("/")[0], one)
    size = area.area.size
    if size is not None and (last := vfat_limits.beyond_root(firsts, size, area.area.label)) is not None:
        one = firsts[last]
        what = f"the root directory of {where} has {vfat_limits.ROOT} entries, and no room for {shown(last)}"
        hint = "a long name takes several: put the files into a directory, or use ext4"
        yield loaded.problem(_place(loaded, one), what, hint)
    root = area.mount.rstrip("/")
    for again, first in vfat_limits.twins(paths):
        one = next(one for path, one in paths.items() if path == again or path.startswith(f"{again}/"))
        what = f"{shown(f'{root}/{first}')} and {shown(f'{root}/{again}')} differ only in case"
        yield loaded.problem(_place(loaded, one), f"{what}: {where} treats them as the same name", "rename one of them")


def _place(loaded: Loaded, one: Placed) -> tuple[str | int, ...]:
    entry = loaded.recipe.files[one.number]
    return ("files", one.number, "path" if one.path == entry.path else "source")


def _too_much(loaded: Loaded, area: _Area) -> Iterator[Problem]:
    """Yield a problem if the recipe's files alone exceed the file system's fixed size."""
    kind, size = area.area.filesystem, area.area.size
    if size is None or kind in _PACKED:
        return
    # ext4, xfs and btrfs keep holes; FAT does not.
    sizes = [one.size if kind == "vfat" else min(one.size, one.allocated) for one in area.contents]
    total = sum(sizes)
    if total > size:
        largest = area.contents[max(range(len(sizes)), key=sizes.__getitem__)]
        what = (
            f"the files of the recipe on {shown(area.mount)} take {format_size(total)}, more than {format_size(size)}; "
            f"the largest is {shown(largest.path)}"
        )
        yield loaded.problem((*area.key, "size"), what, "make the file system larger, or write `free:` for `size:`")
