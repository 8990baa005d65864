"""A given tree: an existing root tree, in a directory or an archive, as a canonical tar in the cache.

A directory is read as seen in the build's namespace. For a normal user this means: the user's own files belong to root
in the image, files of subordinate ids to the users they were made for, and all others to root.
"""

from __future__ import annotations

import errno
import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from roost.errors import HostError, ImageError, ToolError
from roost.events import Stages
from roost.host import checksum, jsontext, namespace, process, source_date
from roost.recipe.quantities import format_size
from roost.recipe.words import shown
from roost.sources import bounds, canonical, layers
from roost.sources.tree_facts import TreeFacts
from roost.store import keys
from roost.store.cache import Cache, work_directory
from roost.store.stage import Stage

STAGE = Stage("trees", (__name__,), ("tar", "find", "zstd"))
TAR = "tree.tar"
FACTS = "facts.json"
DEADLINE = 3600
_FULL = "No space left on device"


@dataclass(frozen=True, slots=True)
class GivenTree:
    """A canonical tar, its sha256, and the facts of the tree."""

    tar: Path
    sha256: str
    facts: TreeFacts


def of_archive(archive: Path, sha256: str, cache: Cache, stages: Stages, log: Path) -> GivenTree:
    """Return the tree of a tar archive or container image; `sha256` is the archive's."""

    def make(directory: Path) -> None:
        with stages.stage("source", archive.name), _room(directory), work_directory() as work:
            found = layers.layers_of(archive, work, log)
            with _named(archive.name):
                facts = canonical.write(
                    found.paths, directory / TAR, whiteouts=found.whiteouts, epoch=source_date.given()
                )
            # A container may be a single program.
            if not found.container:
                _insist(facts, archive.name, "pack it from inside: tar -C {below} -cf ARCHIVE .")
            _finish(directory, facts)

    return _read(STAGE.stored(cache, {"archive": sha256, "epoch": source_date.given()}, make))


def of_directory(directory: Path, cache: Cache, stages: Stages, log: Path) -> GivenTree:
    """Return the tree in a directory, which is read in the build's namespace and not modified."""

    def make(made: Path) -> None:
        with stages.stage("source", str(directory)), _room(made), work_directory() as work:
            _measure(directory)
            packed = work / "folder.tar"
            process.run(
                namespace.current().argv(
                    [
                        "tar", "-c", "--format=pax", "--pax-option=delete=atime,delete=ctime", "--numeric-owner",
                        "--xattrs", "--xattrs-include=*", "--one-file-system", "--sort=name",
                        "--warning=no-file-ignored", "-C", directory, "-f", packed, ".",
                    ]
                ),
                deadline=DEADLINE,
                log=log,
                what=f"cannot read the tree {directory}",
                hint="did something change it meanwhile? What you may not read must belong to your subordinate ids",
            )  # fmt: skip
            strangers = namespace.current().user
            facts = canonical.write(
                [packed], made / TAR, whiteouts=False, epoch=source_date.given(), strangers=strangers
            )
            _insist(facts, shown(str(directory), 200), "name that directory as os.tree")
            _finish(made, facts)

    seen = keys.fingerprint(directory)
    inputs = {"folder": seen, "user": namespace.current().user, "epoch": source_date.given()}
    return _read(STAGE.stored(cache, inputs, make))


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Put the name of an archive before what is wrong in it: a layer has no name that the user knows."""
    try:
        yield
    except ImageError as error:
        what, hint = error.problem.what, error.problem.hint or "pack the tree again with tar"
        raise ImageError(what if name in what else f"{name}: {what}", hint=hint, log=error.log) from error


@contextmanager
def _room(place: Path) -> Iterator[None]:
    """Report a full disk as such."""
    try:
        yield
    except (OSError, ToolError) as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT} if isinstance(error, OSError) else _FULL in error.tail
        if not full:
            raise
        raise HostError(f"no space left to unpack the source in {place.parents[1]}", hint="free some space") from error


def _insist(facts: TreeFacts, name: str, inside: str) -> None:
    """Raise `ImageError` for what is not laid out as a root tree; `inside` is the hint if a directory in it is."""
    if facts.rooted or facts.names == 0:
        return
    if facts.below is not None:
        below = shown(facts.below)
        raise ImageError(
            f"{name} is not a root tree: the tree is below {below}/ in it",
            hint=inside.replace("{below}", shlex.quote(below)),
        )
    raise ImageError(
        f"{name} is not a root tree: it has no programs in /bin, /sbin, /usr/bin or /usr/sbin",
        hint="a source is a whole system; put single files into one with `files` of the recipe",
    )


def _measure(directory: Path) -> None:
    """Raise `ImageError` for a tree that exceeds `bounds`: tar writes the holes of sparse files out."""
    argv: list[str | Path] = ["find", directory, "-xdev", "-type", "f", "-printf", r"%s %b %n %D:%i %P\0"]
    found = process.run(namespace.current().argv(argv), deadline=600, capture=True, what=f"cannot list {directory}")
    total, stored, largest = 0, 0, (0, "")
    seen = set()
    for line in found.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]:
        size, blocks, links, inode, name = line.split(" ", 4)
        if links != "1":
            if inode in seen:
                continue
            seen.add(inode)
        total, stored = total + int(size), stored + int(blocks) * 512
        largest = max(largest, (int(size), name))
    counted = bounds.Bounds(str(directory), stored)
    if total > counted.limit:
        size_of = f"its files have {format_size(total)}, {shown(largest[1], 200)} {format_size(largest[0])} of them"
        raise counted.too_large(size_of)


def _finish(directory: Path, facts: TreeFacts) -> None:
    if facts.names == 0:
        raise ImageError("the archive is empty: there is no root tree in it")
    text = json.dumps({"sha256": checksum.sha256(directory / TAR), "facts": facts.to_json()})
    (directory / FACTS).write_text(text)


def _read(directory: Path) -> GivenTree:
    found = jsontext.read(directory / FACTS)
    return GivenTree(directory / TAR, found["sha256"], TreeFacts.from_json(found["facts"]))
