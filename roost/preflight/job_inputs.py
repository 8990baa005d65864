"""The inputs of the test boot, checked as by `inv io`: each can be stored, names are unique, all of them fit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from roost.errors import Problem
from roost.iodisk import inputs
from roost.iodisk.inputs import Input
from roost.recipe.loader import Loaded
from roost.recipe.quantities import format_size
from roost.recipe.words import shown


def problems(loaded: Loaded) -> Iterator[Problem]:
    """Yield inputs that cannot be put into the job's input/, with their place.

    The loader reports inputs that are missing or unreadable themselves.
    """
    key = ("boot_test", "inputs")
    taken: dict[str, str] = {}
    size = 0
    for number, (name, items, found) in enumerate(_each(loaded)):
        yield from found
        for item in items:
            if item.target in taken:
                what = f"'{shown(name)}' and '{shown(taken[item.target])}' both give {shown(item.target)}"
                yield loaded.problem((*key, number), what, "two inputs cannot have one name: rename one")
            taken[item.target] = name
            size += _size(item.source)
    disk = loaded.recipe.io_disk
    room = disk.areas[0].size if disk is not None else None
    if room is not None and size > room:
        what = f"the inputs have {format_size(size)}, and the io disk {format_size(room)}"
        yield loaded.problem(key, what, "give the io disk a larger size")


def _each(loaded: Loaded) -> Iterator[tuple[str, list[Input], list[Problem]]]:
    for number, name in enumerate(loaded.recipe.boot_test.inputs):
        try:
            where = loaded.where(("boot_test", "inputs", number))
            path = loaded.directory / name
            readable = path.exists() and os.access(path, os.R_OK)
            yield name, *(inputs.items([name], loaded.directory, where) if readable else ([], []))
        except (OSError, ValueError) as error:
            what = f"'{shown(name)}' cannot be read: {getattr(error, 'strerror', None) or error}"
            yield name, [], [loaded.problem(("boot_test", "inputs", number), what)]


def _size(path: Path) -> int:
    try:
        files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file() and not one.is_symlink()]
        return sum(one.stat().st_size for one in files)
    except (OSError, ValueError):
        return 0
