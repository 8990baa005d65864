"""The local files that a recipe names: their locations, and whether they exist.

A relative name is relative to the recipe file that contains it. In a base it is rewritten relative to the recipe
that extends it, so that all names in the merged recipe start from the recipe's own directory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from roost.errors import Problem
from roost.host import files
from roost.recipe.nodes import Node
from roost.recipe.os import SOURCES
from roost.recipe.words import near, shown

#: The keys that name local files, and the required type of each. `*` is every element of a list.
PLACES: Mapping[tuple[str, ...], str] = {
    ("files", "*", "source"): "file or directory",
    ("files", "*", "template"): "file",
    ("users", "*", "ssh_keys", "*"): "file",
    ("users", "*", "password", "file"): "file",
    ("cloud_init", "user_data"): "file",
    ("cloud_init", "network_config"): "file",
    ("boot_test", "inputs", "*"): "file or directory",
}


def places() -> dict[tuple[str, ...], str]:
    """Return PLACES with those of the sources that `os` may name."""
    found = dict(PLACES)
    for key, source in SOURCES.items():
        found |= {("os", key, *place): kind for place, kind in source.places.items()}
    return found


def relocated(tree: Node, held_in: Path, seen_from: Path) -> Node:
    """Return a base's tree with its local names rewritten relative to another directory."""
    if held_in == seen_from:
        return tree
    for place in places():
        tree = _relocated(tree, place, held_in, seen_from)
    return tree


def _relocated(node: Node, place: tuple[str, ...], held_in: Path, seen_from: Path) -> Node:
    if not place:
        name = node.text
        if not name or name.startswith("/") or "\0" in name:
            return node
        # A trailing slash means the contents of the directory.
        slash = "/" if name.endswith(("/", "/.")) or name in {".", ".."} else ""
        return replace(node, value=os.path.relpath(held_in / name, seen_from) + slash)
    if place[0] == "*":
        if not isinstance(node.value, tuple):
            return node
        return replace(node, value=tuple(_relocated(child, place[1:], held_in, seen_from) for child in node.value))
    child = node.items.get(place[0])
    if child is None:
        return node
    return replace(node, value={**node.items, place[0]: _relocated(child, place[1:], held_in, seen_from)})


def _named(node: Node, place: tuple[str, ...]) -> Iterator[Node]:
    if not place:
        yield node
    elif place[0] == "*":
        for child in node.elements:
            yield from _named(child, place[1:])
    elif place[0] in node.items:
        yield from _named(node.items[place[0]], place[1:])


def names(tree: Node) -> Iterator[str]:
    """Yield the names of all local files and directories in a recipe, relative to the recipe's directory."""
    for place in places():
        yield from (node.text for node in _named(tree, place) if node.text)


def problems(tree: Node, directory: Path) -> Iterator[Problem]:
    """Yield a problem for each named file that is missing, of the wrong type or unreadable."""
    for place, kind in places().items():
        for node in _named(tree, place):
            if node.text is not None:
                what, hint = _trouble(node.text, directory, kind)
                if what:
                    yield Problem(what, node.where, hint)


def _trouble(name: str, directory: Path, kind: str) -> tuple[str | None, str | None]:
    if not name or "\0" in name:
        return "the name of a file is empty" if not name else "the name of a file holds a zero byte", None
    path = directory / name
    try:
        if not path.exists():
            near_name = near(path.name, _siblings(path))
            hint = (
                f"did you mean {shown(str(Path(name).with_name(near_name)), 400)}?"
                if near_name
                else f"looked for {_plain(path)}"
            )
            return f"no such {kind}: '{shown(name)}'", hint
        mode = path.stat().st_mode
        if not (stat.S_ISDIR(mode) if kind == "directory" else stat.S_ISREG(mode)) and not (
            kind == "file or directory" and stat.S_ISDIR(mode)
        ):
            return f"'{shown(name)}' is {files.kind(mode)}, not a {kind}", None
        if not os.access(path, os.R_OK):
            return f"'{shown(name)}' cannot be read", f"check the permissions of {_plain(path)}"
    except OSError as error:
        return files.unreadable(shown(name), error, kind), None
    return None, None


def _plain(path: Path) -> str:
    """Return a path for a message, without `..`."""
    return shown(os.path.abspath(path), 400)  # noqa: PTH100 - links stay as they are named


def _siblings(path: Path) -> list[str]:
    try:
        return [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return []
