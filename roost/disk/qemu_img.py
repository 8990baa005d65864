"""qemu-img: raw to qcow2, and image information. The format is always given, never probed.

An untrusted file that is probed can name other files of the host as its backing file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.errors import HostError, ImageError, ToolError
from roost.host import jsontext, process
from roost.recipe.base import DiskFormat

DEADLINE = 3600


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Information about an image; sizes in bytes. `allocated` is its space on the host, `file_size` the transfer size.

    `compression` is qcow2's type (`zlib`, `zstd`: of compressed clusters, if any), None for raw.
    """

    format: DiskFormat
    virtual: int
    allocated: int
    file_size: int
    backing_file: str | None
    backing_format: str | None
    encrypted: bool
    dirty: bool
    corrupt: bool
    compression: str | None


def convert_argv(raw: Path, qcow2: Path, compress: str) -> list[str]:
    """Return the command line of `convert`: in order (no -W), so that the result is always the same bytes."""
    options = ["compat=1.1"]
    if compress != "none":
        # zstd needs QEMU 5.1 on the execution point.
        options.append(f"compression_type={compress}")
    argv = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", ",".join(options), "-t", "unsafe"]
    if compress != "none":
        argv.append("-c")
    return [*argv, _local(raw), _local(qcow2)]


def convert(raw: Path, qcow2: Path, *, compress: str = "none", log: Path | None = None) -> None:
    """Write the qcow2 image of a raw disk; `compress` is none, zstd or zlib. Appears whole or not at all."""
    partial = qcow2.with_name(f".{qcow2.name}.partial")
    try:
        _write(convert_argv(raw, partial, compress), qcow2, log, f"cannot convert {raw.name} to qcow2")
        partial.rename(qcow2)
    finally:
        partial.unlink(missing_ok=True)


def fill(raw: Path, image: Path, format: DiskFormat, *, log: Path | None = None) -> None:
    """Write the content of an image of roost's own into an empty raw disk of its size; zeros stay holes.

    Another QEMU may have the disk open for reading: it is not locked.
    """
    name = _local(raw).replace(",", ",,")
    argv = ["qemu-img", "convert", "-f", format, "-t", "unsafe", "-n", "--target-is-zero", "--target-image-opts"]
    argv += [_local(image), f"driver=raw,file.driver=file,file.locking=off,file.filename={name}"]
    _write(argv, raw, log, f"cannot copy {image.name}")


def _write(argv: list[str], target: Path, log: Path | None, what: str) -> None:
    """Run a qemu-img that writes `target`; raise `HostError` when the host's disk is full."""
    try:
        process.run(argv, deadline=DEADLINE, log=log, what=what)
    except ToolError as error:
        if "No space left on device" in error.tail:
            raise HostError(f"no space left for {target.name} in {target.parent}", hint="free some space") from error
        raise


def info(image: Path, format: DiskFormat) -> ImageInfo:
    """Return information about `image` of the given format. Raises `ImageError` when it is not in that format."""
    done = process.run(
        ["qemu-img", "info", "--force-share", "-f", format, "--output=json", _local(image)],
        deadline=60,
        capture=True,
        check=False,
        env={"QEMU_AUDIO_DRV": "none"},
    )
    if done.returncode != 0:
        raise ImageError(f"{image.name} cannot be read as {format}", hint="is it complete, and of that format?")
    return parse_info(jsontext.loads(done.stdout), image.stat())


def parse_info(data: dict[str, Any], status: os.stat_result) -> ImageInfo:
    """Return the information in `qemu-img info --output=json` with the file's own sizes."""
    specific = data.get("format-specific", {}).get("data", {})
    return ImageInfo(
        format=data["format"],
        virtual=int(data["virtual-size"]),
        allocated=status.st_blocks * 512,
        file_size=status.st_size,
        backing_file=data.get("backing-filename"),
        backing_format=data.get("backing-filename-format"),
        encrypted=bool(data.get("encrypted")),
        dirty=bool(data.get("dirty-flag")),
        corrupt=bool(specific.get("corrupt")),
        compression=specific.get("compression-type"),
    )


def same_content(one: Path, one_format: DiskFormat, other: Path, other_format: DiskFormat) -> bool:
    """Return whether a guest sees the same disk in both images: the same size and the same bytes."""
    if info(one, one_format).virtual != info(other, other_format).virtual:
        return False
    done = process.run(
        ["qemu-img", "compare", "-f", one_format, "-F", other_format, _local(one), _local(other)],
        deadline=DEADLINE,
        check=False,
    )
    # qemu-img(1): 1 means different, 2 and more are errors.
    if done.returncode > 1:
        raise ImageError(f"cannot compare {one.name} with {other.name}")
    return done.returncode == 0


def check(image: Path, log: Path | None = None) -> None:
    """Raise `ImageError` unless the qcow2 image is consistent: no errors and no leaked clusters."""
    done = process.run(
        ["qemu-img", "check", "-f", "qcow2", _local(image)], deadline=DEADLINE, check=False, log=log, capture=True
    )
    if done.returncode != 0:
        raise ImageError(
            f"{image.name} is not consistent", hint="write it again", log=log, tail=process.tail(done.stdout)
        )


def _local(path: Path) -> str:
    """Return a name that QEMU does not parse as a protocol (`nbd:`, `json:`): a path starting with `/` is not one."""
    return str(path.absolute())
