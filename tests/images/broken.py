"""Broken images, made of `smoke` by cheap edits: a few files of its root file system, or bytes of its disk."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from roost.condor.machine import VirtualMachine, VmDisk
from roost.recipe import loader
from roost.recipe.model import Recipe
from tests.images.calls import PROJECT

#: Where the root partition of smoke begins.
OFFSET = 1 << 20

Content = bytes | Callable[[bytes], bytes]


@dataclass(frozen=True)
class Edit:
    """What is done to smoke: `files` are new contents (None: removed; a function: made of the old), `modes` modes.

    `requests` are further ones for debugfs, `disk` changes the bytes of the whole disk.
    """

    files: Mapping[str, Content | None] = field(default_factory=dict)
    requests: tuple[str, ...] = ()
    disk: Callable[[bytearray], None] | None = None


def debugfs(image: Path, *requests: str, write: bool = False) -> bytes:
    """Run debugfs on an ext4 image and return what it printed."""
    script = "".join(f"{request}\n" for request in requests)
    argv = ["debugfs", *(["-w"] if write else []), "-f", "-", str(image)]
    return subprocess.run(argv, input=script.encode(), capture_output=True, check=True).stdout


def paths(image: Path, directory: str, begin: str) -> str:
    """Return the path of the file in `directory` of an ext4 image whose name begins so."""
    listed = debugfs(image, f"ls -p {directory}").decode()
    names = [line.split("/")[5] for line in listed.splitlines() if line.count("/") >= 6]
    return f"{directory}/{next(name for name in names if name.startswith(begin))}"


def smoke_disk(smoke: Path, directory: Path, edit: Edit) -> tuple[VirtualMachine, Recipe]:
    """Write root.raw and io.raw into `directory`: smoke's disks with an edit; return the machine and smoke's recipe.

    A path that ends with `*` is completed.
    """
    root, part = directory / "root.raw", directory / "part.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(smoke / "root.qcow2"), str(root)], check=True)
    content = bytearray(root.read_bytes())
    part.write_bytes(content[OFFSET:])
    requests = list(edit.requests)
    for number, (name, new) in enumerate(edit.files.items()):
        path = paths(part, *name.removesuffix("*").rsplit("/", 1)) if name.endswith("*") else name
        data = new
        if callable(new):
            debugfs(part, f"dump {path} {directory}/old")
            data = new((directory / "old").read_bytes())
        requests.append(f"rm {path}")
        if data is not None:
            assert isinstance(data, bytes)
            (directory / f"new{number}").write_bytes(data)
            requests += [f"write {directory}/new{number} {path}", f"set_inode_field {path} mode 0100755"]
    debugfs(part, *requests, write=True)
    content[OFFSET:] = part.read_bytes()
    part.unlink()
    if edit.disk:
        edit.disk(content)
    root.write_bytes(content)
    (directory / "io.raw").write_bytes((smoke / "io.raw").read_bytes())
    recipe = loader.load("smoke", PROJECT).recipe
    disks = (VmDisk("root.raw", "vda", "w", "raw"), VmDisk("io.raw", "vdb", "w", "raw"))
    return VirtualMachine("smoke", "kvm", recipe.machine.memory >> 20, 1, disks), recipe


def replaced(old: str, new: str) -> Callable[[bytes], bytes]:
    """Return a function that replaces a text that must be there."""

    def replace(content: bytes) -> bytes:
        assert old.encode() in content, content
        return content.replace(old.encode(), new.encode())

    return replace
