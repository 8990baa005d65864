"""Existing images: inspected before any tool opens them, opened read-only, and used below a layer of roost's own.

An untrusted qcow2 image can name files of this host: as its backing file or its data file. So its header is parsed here
first, qemu-img gets an explicit format (a probed raw disk can turn itself into a qcow2), and it runs with limits on
time and memory.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roost.disk import foreign, qemu_img
from roost.errors import HostError, ImageError, ToolError
from roost.host import checksum, files, process, qcow2, temporary
from roost.host.qcow2 import NotQcow2Error
from roost.recipe.base import DiskFormat
from roost.recipe.quantities import format_size
from roost.recipe.words import shown

#: Limits of qemu-img on an untrusted image: bytes of memory, and seconds for a check.
MEMORY = 4 << 30
DEADLINE = 900.0
#: The name of a base that roost made: it contains the beginning of its sha256.
BASE = re.compile(r"base-([0-9a-f]{12})\.qcow2")
SECTOR = 512


@dataclass(frozen=True, slots=True)
class Original:
    """An inspected existing image: `size` is the virtual size, `base` the base that roost put below it, if any."""

    path: Path
    format: DiskFormat
    size: int
    base: Path | None = None


def format_of(image: Path, declared: DiskFormat | None = None) -> DiskFormat:
    """Return the format of an image: as declared, else qcow2 if it begins as one, else raw."""
    return declared or ("qcow2" if qcow2.is_qcow2(_head(image)) else "raw")


def look(image: Path, declared: DiskFormat | None = None) -> Original:
    """Inspect an image by its first bytes alone; raise `ImageError` if roost does not support it.

    Only these bytes are read: no tool and no other file is involved.
    """
    head = _head(image)
    kind = declared or ("qcow2" if qcow2.is_qcow2(head) else "raw")
    if kind == "raw" or not qcow2.is_qcow2(head):
        refused = foreign.refused(image, head, _tail(image))
        if refused is not None:
            raise refused
    if kind == "raw":
        size = image.stat().st_size
        if size < SECTOR:
            raise ImageError(f"{image.name} is not a disk: it has {size} bytes", hint="is it complete?")
        return Original(image, "raw", -(-size // SECTOR) * SECTOR)
    try:
        header = qcow2.read(head)
    except NotQcow2Error as error:
        old = foreign.refused(image, head, b"")
        if old is not None:
            raise old from error
        hint = "is it complete? For a raw disk write `format: raw`"
        raise ImageError(f"{image.name} cannot be read as qcow2: {error}", hint=hint) from error
    if header.external_data:
        raise ImageError(f"{image.name} keeps its data in another file, which is not supported", hint=_FLATTEN)
    if header.encrypted:
        raise ImageError(f"{image.name} is encrypted: roost has no key for it", hint="decrypt it with qemu-img convert")
    if header.corrupt:
        raise ImageError(
            f"{image.name} is marked as corrupt", hint="run `qemu-img check -r all` on a copy, or use another image"
        )
    base = _own_base(image, header.backing, header.backing_format) if header.backing is not None else None
    return Original(image, "qcow2", header.size, base)


_FLATTEN = "flatten it where all of its files are: qemu-img convert -O qcow2 OLD NEW"


def _head(image: Path) -> bytes:
    try:
        if not stat.S_ISREG(image.stat().st_mode):
            raise ImageError(f"{image} is not a regular file")
        with files.open_regular(image) as file:
            return file.read(qcow2.HEAD)
    except OSError as error:
        raise ImageError(files.unreadable(image, error)) from error


def _tail(image: Path) -> bytes:
    """Return the last sector of a file."""
    with image.open("rb") as file:
        file.seek(max(0, image.stat().st_size - SECTOR))
        return file.read(SECTOR)


def snapshots(original: Original) -> int:
    """Return the number of snapshots in a qcow2 image."""
    return 0 if original.format == "raw" else qcow2.read(_head(original.path)).snapshots


def firmware(original: Original, log: Path) -> Literal["uefi", "none"] | None:
    """Return what keeps a BIOS from starting a disk: it needs UEFI, or has no boot code. None if a BIOS may start it.

    Its first sectors are read as a guest sees them.
    """
    if original.format == "raw":
        head = _head(original.path)
    elif process.which("qemu-img") is None:
        # A recipe can be checked on a host that cannot build.
        return None
    else:
        with temporary.directory("head") as directory:
            target = Path(directory, "head")
            argv = ["qemu-img", "dd", "-f", "qcow2", "-O", "raw", f"bs={foreign.TABLE}", "count=1"]
            argv += [f"if={original.path.absolute()}", f"of={target}"]
            done = process.run(process.bounded(argv, memory=MEMORY), deadline=60, check=False, log=log)
            if done.returncode != 0:
                # `check` reports what qemu-img cannot read.
                return None
            head = target.read_bytes()
    if foreign.uefi_only(head):
        return "uefi"
    return None if foreign.has_boot_sector(head) else "none"


def _own_base(image: Path, backing: str, kind: str | None) -> Path:
    """Return the base below an image if roost made it; raise `ImageError` for any other backing file.

    Such a base is next to the image, is a plain file named after its own sha256, and has no backing file.
    """
    refused = ImageError(f"{image.name} has the backing file {shown(backing)}, which is not supported", hint=_FLATTEN)
    named = BASE.fullmatch(backing)
    if named is None or kind not in {None, "qcow2"}:
        raise refused
    base = image.parent / backing
    if base.is_symlink() or not base.is_file():
        raise ImageError(
            f"{image.name} has the backing file {backing}, which is not beside it", hint="copy both, or flatten it"
        )
    try:
        header = qcow2.read(_head(base))
    except NotQcow2Error as error:
        raise refused from error
    if header.backing is not None or header.external_data or header.encrypted:
        raise refused
    if not checksum.sha256(base).startswith(named[1]):
        raise ImageError(f"{backing} does not have the sha256 in its name", hint="build the image again")
    return base


def check(original: Original, log: Path) -> None:
    """Let qemu-img check all tables of an image; raise `ImageError` if a cluster is not in its place."""
    if original.format == "raw":
        return
    for image in filter(None, (original.base, original.path)):
        argv = ["qemu-img", "check", "--force-share", "-f", "qcow2", str(image.absolute())]
        try:
            done = process.run(
                process.bounded(argv, memory=MEMORY),
                deadline=DEADLINE,
                check=False,
                log=log,
                capture=True,
            )
        except ToolError as error:
            raise ImageError(f"{image.name}: {error.problem.what}", hint="its tables are not valid", log=log) from error
        if done.returncode != 0:
            kind = "has leaked clusters" if done.returncode == 3 else "is not consistent"
            raise ImageError(
                f"{image.name} {kind}",
                hint="is it complete? `qemu-img check -r all` may fix a copy",
                log=log,
                tail=process.tail(done.stdout, 4),
            )


def layer(original: Original, path: Path, *, size: int | None, log: Path) -> None:
    """Make a qcow2 layer at `path` over an image, which does not change; `size` in bytes enlarges the disk."""
    if size is not None and size < original.size:
        raise ImageError(
            f"the image's disk has {format_size(original.size)}: it cannot be made smaller ({format_size(size)})",
            hint="leave `size` out, or give the disk partitions to have it laid out again",
        )
    _run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(original.path.absolute()), "-F", original.format,
         str(path.absolute()), *([str(-(-size // SECTOR) * SECTOR)] if size is not None else [])],
        path,
        log,
        f"cannot create an overlay over {original.path.name}",
    )  # fmt: skip


def flatten(image: Path, target: Path, format: DiskFormat, *, compress: str = "none", log: Path) -> None:
    """Write a layer and everything below it as one image of `format`; it appears whole or not at all."""
    options = ["compat=1.1"] if format == "qcow2" else []
    if format == "qcow2" and compress != "none":
        options.append(f"compression_type={compress}")
    argv = ["qemu-img", "convert", "-f", "qcow2", "-O", format, "-t", "unsafe"]
    argv += ["-o", ",".join(options)] if options else []
    argv += ["-c"] if format == "qcow2" and compress != "none" else []
    _whole(argv, image, target, log)


def overlay(image: Path, base: Path, target: Path, *, log: Path) -> None:
    """Write a layer's changes relative to `base`, a qcow2 next to `target`, which refers to it by file name only."""
    argv = ["qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", "-o", "compat=1.1", "-t", "unsafe"]
    _whole([*argv, "-B", base.name, "-F", "qcow2"], image, target, log)


def _whole(argv: list[str], image: Path, target: Path, log: Path) -> None:
    partial = target.with_name(f".{target.name}.partial")
    try:
        # In the target's directory, where a base is found by its file name.
        _run([*argv, str(image.absolute()), str(partial.absolute())], target, log, f"cannot write {target.name}")
        partial.chmod(0o644)
        partial.rename(target)
    finally:
        partial.unlink(missing_ok=True)


def _run(argv: list[str], target: Path, log: Path, what: str) -> None:
    try:
        process.run(
            process.bounded(argv, memory=MEMORY), deadline=qemu_img.DEADLINE, log=log, cwd=target.parent, what=what
        )
    except ToolError as error:
        if "No space left on device" in error.tail:
            raise HostError(f"no space left for {target.name} in {target.parent}", hint="free some space") from error
        raise
