"""Facts about a finished root tree: its system, its init, its kernels. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from roost.customize import ties
from roost.sources import attributes
from roost.sources.oci import Node, Tree, pieces

Init = Literal["systemd", "busybox", "other", "none"]


@dataclass(frozen=True, slots=True)
class TreeFacts:
    """Facts about a root tree.

    `kernels` and `initrds` are names in /boot, `os` the fields of os-release, `dropped` device nodes. `rooted` says
    whether it is laid out as a root tree, `below` names the directory in it that is, if any. `machine` is the ELF
    machine number of its programs; None when unknown. `notes` are for the user, `labels` counts files with an SELinux
    label, `highest` is the largest owner's number. `ties` is what ties the tree to another machine, as notes for a
    machine without a network and for one with.
    """

    epoch: int
    names: int
    dropped: int
    init: Init
    kernels: tuple[str, ...]
    initrds: tuple[str, ...]
    os: Mapping[str, str]
    shell: bool
    systemd: bool
    rooted: bool = True
    below: str | None = None
    machine: int | None = None
    labels: int = 0
    enforcing: bool = False
    highest: int = 0
    notes: tuple[str, ...] = ()
    ties: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON; `from_json` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TreeFacts:
        """Return the facts of `to_json`."""
        names = {key: tuple(value[key]) for key in ("kernels", "initrds", "notes")}
        alone, connected = value["ties"]
        return cls(**{**value, **names, "ties": (tuple(alone), tuple(connected))})


SYSTEMD = ("usr/lib/systemd/systemd", "lib/systemd/systemd")
BUSYBOX = ("bin/busybox", "usr/bin/busybox", "sbin/busybox")


#: Directories of commands in a tree.
COMMANDS = ("bin", "sbin", "usr/bin", "usr/sbin")
#: Directories of a root besides its commands; and how deep, and in how many directories, a root is searched for.
_BESIDE = ("etc", "usr", "lib", "sbin", "dev", "proc")
_DEEP, _MANY = 5, 2000


@dataclass(frozen=True, slots=True)
class Shape:
    """Whether a tree is laid out as a root, and if not, which directory in it is."""

    rooted: bool
    below: str | None


def shape(tree: Tree) -> Shape:
    """Return how a tree is laid out, before anything is added to it."""
    if _is_root(tree, ()):
        return Shape(True, None)
    level: list[tuple[str, ...]] = [()]
    for _ in range(_DEEP):
        level = [(*above, name) for above in level for name in _directories(tree, above)][:_MANY]
        found = next((parts for parts in level if _is_root(tree, parts)), None)
        if found is not None:
            return Shape(False, "/".join(found))
    return Shape(False, None)


def _directories(tree: Tree, parts: tuple[str, ...]) -> list[str]:
    node = tree.find(parts, last=False)
    below = node.below if node is not None else {}
    return sorted(name for name, child in below.items() if child.info.isdir())


def _is_root(tree: Tree, parts: tuple[str, ...]) -> bool:
    """Return whether a directory has commands, and some of the other directories of a root."""
    node = tree.find(parts, last=False)
    if node is None or sum(name in node.below for name in _BESIDE) == 0:
        return False
    for path in COMMANDS:
        # A link such as bin → usr/bin stands for another entry of this list.
        directory = tree.find([*parts, *pieces(path)], last=False)
        commands = directory.below.values() if directory is not None else ()
        if any(one.info.issym() or (one.info.isreg() and one.info.mode & 0o111) for one in commands):
            return True
    return False


def facts_of(
    tree: Tree, read: Callable[[Node, int], bytes], epoch: int, seen: Shape, notes: tuple[str, ...]
) -> TreeFacts:
    """Return the facts of a tree; `read` returns a file's first bytes, `seen` is its original shape."""
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
        rooted=seen.rooted,
        below=seen.below,
        machine=_machine(tree, read),
        labels=sum(attributes.LABEL in node.info.pax_headers for _, node in tree.walk()),
        enforcing=_enforcing(tree, read),
        highest=max(max(node.info.uid, node.info.gid) for _, node in tree.walk()),
        notes=notes,
        ties=(_ties(tree, read, network=False), _ties(tree, read, network=True)),
    )


def _ties(tree: Tree, read: Callable[[Node, int], bytes], *, network: bool) -> tuple[str, ...]:
    """Return what ties a tree to another machine; its fstab does not, for an image gets its own."""

    def names(directory: str) -> list[str]:
        node = tree.find(pieces(directory))
        return list(node.below) if node is not None else []

    def text(path: str) -> str | None:
        node = _file(tree, path)
        if node is None or node.info.size > ties.MOST_BYTES:
            return None
        return read(node, ties.MOST_BYTES).decode("utf-8", "surrogateescape")

    return tuple(ties.look(ties.Places(names, text), ties.Machine(network=network), ("/etc/fstab",)))


def _machine(tree: Tree, read: Callable[[Node, int], bytes]) -> int | None:
    """Return the e_machine of the first program found (elf(5)), in its byte order."""
    for path in ("sbin/init", "bin/sh", *BUSYBOX, "usr/bin/env"):
        node = _file(tree, path)
        head = read(node, 20) if node is not None else b""
        if head.startswith(b"\x7fELF") and len(head) == 20:
            return int.from_bytes(head[18:20], "big" if head[5] == 2 else "little")
    return None


def _enforcing(tree: Tree, read: Callable[[Node, int], bytes]) -> bool:
    """Return whether SELinux is enforcing in the tree: configured, and with a policy."""
    config = _file(tree, "etc/selinux/config")
    text = read(config, 65536).decode("utf-8", "replace") if config is not None else ""
    kind = re.search(r"^\s*SELINUXTYPE\s*=\s*([\w.-]+)", text, re.MULTILINE)
    policy = tree.find(["etc", "selinux", kind[1], "policy"]) if kind else None
    return policy is not None and re.search(r"^\s*SELINUX\s*=\s*enforcing\b", text, re.MULTILINE) is not None


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
