"""Catalogues to collect in, made of many small versions and of overlays that share a base."""

from __future__ import annotations

import subprocess
from pathlib import Path

from roost.host import checksum
from tests.publish import lab

SMALL = {"root.qcow2": 40_000, "io.raw": 20_000}


def versions(root: Path, url: str, count: int, *, first: int = 0, untested: bool = False) -> list[str]:
    """Publish `count` versions of smoke, v00 and on, an hour after one another."""
    names = []
    for number in range(first, first + count):
        directory = lab.built(root, number)
        if not untested:
            lab.booted(directory, finished=f"2026-11-{number // 24 + 1:02}T{number % 24:02}:00:00Z")
        name = f"{'u' if untested else 'v'}{number:02}"
        lab.publish(root, url, version=name, allow_untested=untested)
        names.append(name)
    return names


def base(work: Path, seed: int = 7, size: str = "1M") -> Path:
    """Make a qcow2 with something in it."""
    work.mkdir(parents=True, exist_ok=True)
    path = work / "base.qcow2"
    path.unlink(missing_ok=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(path), "4M"], check=True)
    argv = ["qemu-io", "-c", f"write -P {seed} 0 {size}", "-f", "qcow2", str(path)]
    subprocess.run(argv, check=True, capture_output=True)
    return path


def overlay(root: Path, base: Path, seed: int, *, name: str = lab.NAME, booted: bool = True) -> Path:
    """Make build/NAME whose root disk is an overlay of `base` with something of its own; booted, ready to publish."""
    work = base.parent
    path = work / "root.qcow2"
    path.unlink(missing_ok=True)
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base.name, path.name]
    subprocess.run(argv, cwd=work, check=True)
    write = ["qemu-io", "-c", f"write -P {seed} 0 64k", "-f", "qcow2", path.name]
    subprocess.run(write, cwd=work, check=True, capture_output=True)
    content = {one.name: one.read_bytes() for one in (path, base)}
    directory = lab.built(root, name=name, files={**content, "io.raw": bytes(4096)}, backing={"root.qcow2": base.name})
    if booted:
        lab.booted(directory, finished=f"2026-10-{1 + seed // 24:02}T{seed % 24:02}:00:00Z")
    return directory


def sha(path: Path) -> str:
    """Return a file's sha256."""
    return checksum.sha256(path)
