"""The kernels in a tree, and the dependencies of their modules."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from roost.errors import ImageError
from roost.host import bzimage, rooted

_NUMBER = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class KernelFiles:
    """A kernel in a tree: its release, and paths in the image; `initrd` is None when there is none yet."""

    version: str
    kernel: str
    initrd: str | None


def version_order(version: str) -> tuple[tuple[int, int | str], ...]:
    """Return a sort key that orders 6.10 after 6.9."""
    return tuple((1, int(part)) if part.isdigit() else (0, part) for part in _NUMBER.split(version) if part)


def newest(tree: Path) -> KernelFiles:
    """Return the newest kernel in a tree's /boot; links are followed inside the tree only.

    Its release is taken from its header, not its name, because it locates the modules. Raises `ImageError` when there
    is no kernel.
    """
    found = []
    for name in rooted.names(tree, "boot"):
        if name.startswith("vmlinuz") and rooted.is_file(tree, f"boot/{name}"):
            image = bzimage.read(rooted.resolve(tree, f"boot/{name}"))
            if image is not None:
                # vmlinuz and vmlinuz-VERSION are often the same file; prefer the longer name.
                found.append((version_order(image.release), len(name), image.release, name))
    if not found:
        raise ImageError("the root tree has no kernel in /boot", hint="name one in kernel.use, or add its package")
    _, _, version, name = max(found)
    return KernelFiles(version, f"/boot/{name}", _initrd(tree, name.removeprefix("vmlinuz").removeprefix("-"), version))


def _initrd(tree: Path, suffix: str, version: str) -> str | None:
    """Return the initrd that belongs to a kernel, by the names that distributions use."""
    for end in dict.fromkeys([suffix, version]):
        for name in (f"initrd.img-{end}", f"initramfs-{end}.img", f"initrd-{end}", f"initramfs-{end}"):
            if rooted.is_file(tree, f"boot/{name}"):
                return f"/boot/{name}"
    return None


def _listed(modules: Path, name: str) -> str:
    """Return one of depmod's lists; empty when there is none."""
    path = rooted.resolve(modules, name)
    return path.read_text("utf-8", "replace") if path.is_file() else ""


def _module_name(path: str) -> str:
    return PurePosixPath(path).name.split(".ko")[0].replace("-", "_")


def closure(modules: Path, wanted: Iterable[str]) -> list[str]:
    """Return the files of the modules `wanted` with all dependencies, in loading order, relative to `modules`.

    `modules` is lib/modules/VERSION; modules.dep (depmod(8)) lists the dependencies. Names that are not modules are
    left out: they are built in or do not exist; `missing` returns the latter.
    """
    needs: dict[str, list[str]] = {}
    where: dict[str, str] = {}
    for line in _listed(modules, "modules.dep").splitlines():
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
    builtin = {_module_name(line) for line in _listed(modules, "modules.builtin").splitlines()}
    loadable = {_module_name(line.partition(":")[0]) for line in _listed(modules, "modules.dep").splitlines()}
    return [name for name in wanted if name.replace("-", "_") not in builtin | loadable]
