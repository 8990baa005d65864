"""What a finished root tree is: which system, what its init is, which kernels it brings. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from roost.rootfs.layers import Node, Tree, pieces

Init = Literal["systemd", "busybox", "other", "none"]


@dataclass(frozen=True, slots=True)
class TreeFacts:
    """`kernels` and `initrds` are names in /boot, `os` the fields of os-release, `dropped` device nodes."""

    epoch: int
    names: int
    dropped: int
    init: Init
    kernels: tuple[str, ...]
    initrds: tuple[str, ...]
    os: Mapping[str, str]
    shell: bool
    systemd: bool

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON; `from_json` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TreeFacts:
        """Return the facts of `to_json`."""
        return cls(**{**value, "kernels": tuple(value["kernels"]), "initrds": tuple(value["initrds"])})


SYSTEMD = ("usr/lib/systemd/systemd", "lib/systemd/systemd")
BUSYBOX = ("bin/busybox", "usr/bin/busybox", "sbin/busybox")


def facts_of(tree: Tree, read: Callable[[Node, int], bytes], epoch: int) -> TreeFacts:
    """Return what a tree is; `read` gives a file's first bytes."""
    boot = tree.find(["boot"])
    present = sorted(name for name in (boot.below if boot else {}) if _file(tree, f"boot/{name}"))
    kernels = tuple(name for name in present if name.startswith("vmlinuz"))
    initrds = tuple(name for name in present if name.startswith(("initrd", "initramfs")))
    release = _file(tree, "etc/os-release") or _file(tree, "usr/lib/os-release")
    text = read(release, 65536).decode("utf-8", "replace") if release is not None else ""
    system = {key: value.strip("\"'") for key, value in re.findall(r"^([A-Z_]+)=(.*)$", text, re.MULTILINE)}
    return TreeFacts(
        epoch=epoch,
        names=tree.count,
        dropped=tree.devices,
        init=_init(tree),
        kernels=kernels,
        initrds=initrds,
        os=system,
        shell=_file(tree, "bin/sh") is not None,
        systemd=any(_file(tree, path) for path in SYSTEMD),
    )


def _file(tree: Tree, path: str) -> Node | None:
    """Return the regular file at a path, links followed."""
    node = tree.find(pieces(path))
    return node if node is not None and node.info.isreg() else None


def _init(tree: Tree) -> Init:
    init = _file(tree, "sbin/init")
    if init is None:
        return "none"
    kinds: dict[Init, tuple[str, ...]] = {"systemd": SYSTEMD, "busybox": BUSYBOX}
    for kind, paths in kinds.items():
        if any(init.content == node.content for path in paths if (node := _file(tree, path))):
            return kind
    return "other"
