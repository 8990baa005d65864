"""Paths of the recipe's files that are invalid, or would hide or replace one another.

Limits of names are Linux's (path_resolution(7), limits.h): 255 bytes for a name, 4095 for a path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from roost.disk.check import KERNEL_MOUNTS
from roost.errors import Problem
from roost.preflight.placed import Placed, placed
from roost.recipe.loader import Loaded
from roost.recipe.words import shown

NAME_BYTES = 255
PATH_BYTES = 4095


def problems(loaded: Loaded) -> list[Problem]:
    """Return every invalid path, at its place in the recipe."""
    found: dict[int, Problem] = {}
    for number, entry in enumerate(loaded.recipe.files):
        for what, hint in _impossible(entry.path):
            found.setdefault(number, loaded.problem(("files", number, "path"), what, hint))
        if entry.link is not None and (not entry.link or len(entry.link.encode("utf-8", "replace")) > PATH_BYTES):
            what = f"a link's target has 1 to {PATH_BYTES} bytes"
            found.setdefault(number, loaded.problem(("files", number, "link"), what))
    everything = [one for one in placed(loaded) if one.number not in found]
    for number, problem in [*_deep(loaded, everything), *_together(loaded, everything), *_mounts(loaded, everything)]:
        found.setdefault(number, problem)
    return [found[number] for number in sorted(found)]


def _impossible(path: str) -> Iterator[tuple[str, str | None]]:
    parts = path.split("/")[1:]
    if path.strip("/") == "":
        yield "/ is the root itself: name a file below it", None
    elif path.endswith("/"):
        yield f"the path '{shown(path)}' ends with a slash", f"write '{shown(path.rstrip('/'))}'"
    elif "" in parts or "." in parts or ".." in parts:
        yield f"'{shown(path)}' is not a plain path", "write it without //, . or .."
    for top in KERNEL_MOUNTS:
        if path == top or path.startswith(f"{top}/"):
            yield (
                f"{shown(path)} would not be visible in the guest: its kernel mounts {top} over it",
                "put it elsewhere",
            )


def _deep(loaded: Loaded, everything: Sequence[Placed]) -> Iterator[tuple[int, Problem]]:
    for one in everything:
        parts = [len(part.encode("utf-8", "surrogateescape")) for part in one.path.split("/")]
        key = "path" if one.path == loaded.recipe.files[one.number].path else "source"
        where = ("files", one.number, key)
        if max(parts) > NAME_BYTES:
            what = f"a name in '{shown(one.path)}' has {max(parts)} bytes: Linux allows {NAME_BYTES}"
            yield one.number, loaded.problem(where, what)
        elif sum(parts) + len(parts) - 1 > PATH_BYTES:
            yield one.number, loaded.problem(where, f"the path has more than {PATH_BYTES} bytes: Linux allows no more")


def _together(loaded: Loaded, everything: Sequence[Placed]) -> Iterator[tuple[int, Problem]]:
    """Yield entries in conflict with an earlier one: another type, below a file, or a second entry for a file."""
    seen: dict[str, Placed] = {}
    #: Directories that exist because something is placed below them.
    implied: dict[str, Placed] = {}
    for one in everything:
        before = seen.get(one.path)
        holder = implied.get(one.path) if before is None and one.kind != "directory" else None
        where = ("files", one.number, "path")
        if before is not None and before.number != one.number:
            first = loaded.where(("files", before.number, "path"))
            if (one.kind == "directory") != (before.kind == "directory"):
                what = f"{shown(one.path)} is a {one.kind} here, and a {before.kind} in {first}"
                yield one.number, loaded.problem(where, what, "remove one of them")
            elif one.kind != "directory" and first.file == loaded.where(where).file:
                # An entry of a base recipe may be replaced.
                yield (
                    one.number,
                    loaded.problem(where, f"a second {one.kind} at {shown(one.path)} (the first: {first})"),
                )
        elif holder is not None and holder.number != one.number:
            what = f"{shown(one.path)} is a {one.kind} here, and {shown(holder.path)} lies below it"
            yield one.number, loaded.problem(where, f"{what}: {loaded.where(('files', holder.number, 'path'))}")
        parent = one.path.rpartition("/")[0]
        while parent:
            above = seen.get(parent)
            if above is not None and above.kind == "file" and above.number != one.number:
                what = f"{shown(one.path)} lies below {shown(parent)}, which is a file"
                yield one.number, loaded.problem(where, f"{what}: {loaded.where(('files', above.number, 'path'))}")
                break
            if parent in implied:
                break
            implied[parent] = one
            parent = parent.rpartition("/")[0]
        seen[one.path] = one


def _mounts(loaded: Loaded, everything: Sequence[Placed]) -> Iterator[tuple[int, Problem]]:
    """Yield files on a mount point, or above one."""
    mounts = [area.mount for disk in loaded.recipe.disks for area in disk.areas if area.mount not in {None, "/"}]
    for one in everything:
        if one.kind == "directory":
            continue
        for mount in mounts:
            assert mount is not None
            if mount == one.path or (one.kind == "file" and mount.startswith(f"{one.path}/")):
                what = f"{shown(one.path)} is a {one.kind}, and a file system is mounted on {shown(mount)}"
                yield one.number, loaded.problem(("files", one.number, "path"), what, "put it elsewhere")
