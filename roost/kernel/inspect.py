"""Which kernels a tree holds, and which modules a driver needs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from roost.errors import ImageError

_NUMBER = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class KernelFiles:
    """A kernel in a tree: its release, and paths in the image; `initrd` is None when there is none yet."""

    version: str
    kernel: str
    initrd: str | None


def version_order(version: str) -> tuple[tuple[int, int | str], ...]:
    """Return a sort key that puts 6.10 after 6.9."""
    return tuple((1, int(part)) if part.isdigit() else (0, part) for part in _NUMBER.split(version) if part)


def newest(tree: Path) -> KernelFiles:
    """Return the newest kernel below a tree's /boot; raise `ImageError` when there is none."""
    found = sorted(
        (path.name.removeprefix("vmlinuz-") for path in (tree / "boot").glob("vmlinuz-*") if path.is_file()),
        key=version_order,
    )
    if not found:
        raise ImageError("the root tree has no kernel in /boot", hint="name one in kernel.use, or add its package")
    version = found[-1]
    initrd = f"/boot/initrd.img-{version}"
    return KernelFiles(version, f"/boot/vmlinuz-{version}", initrd if (tree / initrd[1:]).is_file() else None)


def _module_name(path: str) -> str:
    return PurePosixPath(path).name.split(".ko")[0].replace("-", "_")


def closure(modules: Path, wanted: Iterable[str]) -> list[str]:
    """Return the files of the modules `wanted` with all they need, in loading order, relative to `modules`.

    `modules` is lib/modules/VERSION; modules.dep (depmod(8)) says what needs what. Names that are no module are
    left out: they are built in, or this kernel has none; `missing` tells which.
    """
    needs: dict[str, list[str]] = {}
    where: dict[str, str] = {}
    for line in (modules / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        needs[path] = rest.split()
        where[_module_name(path)] = path
    order: list[str] = []

    def add(path: str) -> None:
        for needed in reversed(needs.get(path, [])):
            if needed not in order:
                add(needed)
        if path not in order:
            order.append(path)

    for name in wanted:
        found = where.get(name.replace("-", "_"))
        if found is not None:
            add(found)
    return order


def missing(modules: Path, wanted: Iterable[str]) -> list[str]:
    """Return those names of `wanted` that are neither a module nor built into the kernel."""
    builtin = {_module_name(line) for line in (modules / "modules.builtin").read_text().splitlines()}
    loadable = {_module_name(line.partition(":")[0]) for line in (modules / "modules.dep").read_text().splitlines()}
    return [name for name in wanted if name.replace("-", "_") not in builtin | loadable]
