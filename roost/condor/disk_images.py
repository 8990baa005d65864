"""Inspect the local files that a description names: format, backing file, state, size, mode.

The format of an untrusted image is never left to qemu-img's detection: roost detects it from the first bytes, and
opens the image in that format only if its header names no other file.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from roost.condor import backing
from roost.condor.rules.disks import FMT_MISMATCH, FMT_MISSING, XEN_FORMAT, declared_format
from roost.condor.rules.files import (
    CORRUPT,
    DATA_FILE,
    DIRTY,
    ENCRYPTED,
    FILE_EMPTY,
    FILE_KIND,
    FILE_MISSING,
    FILE_READONLY,
    FILE_UNREADABLE,
    NOT_CHECKED,
    REQUEST_DISK_SMALL,
    REQUEST_DISK_THIN,
)
from roost.condor.rules.machine import mebibytes
from roost.condor.rules.model import Effect, Finding, Severity, shown
from roost.condor.rules.view import JobView, Transfer
from roost.condor.vm_disk import DiskItem
from roost.errors import Location, RoostError
from roost.host import files, jsontext, magic, process, qcow2

_E, _W = Severity.ERROR, Severity.WARNING
_OK, _HASVM = Effect.OK, Effect.HASVM_FALSE

_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What is known of a disk's file: detected format, sizes in bytes, and fields of its qcow2 header.

    `unopened` is why it cannot be opened as qcow2; `unchecked` is set when qemu-img is not installed.
    """

    format: str
    size: int
    virtual: int
    features: int = 0
    encrypted: bool = False
    backing: str | None = None
    backing_format: str | None = None
    unopened: str | None = None
    unchecked: bool = False


def check_files(view: JobView, directory: Path, findings: Iterable[Finding]) -> list[Finding]:
    """Return `findings` plus those of the files; a finding based on the file itself replaces one based on its name."""
    kept = list(findings)
    if not view.is_vm:
        return kept
    home = _home(view, directory)
    if home is None:
        return kept
    for transfer in view.transfers:
        kept += _transfer(transfer, home)
    images: list[tuple[DiskItem, ImageFacts]] = []
    for item in view.usable_disks:
        path = _path_of(view, item, home)
        if path is None:
            continue
        where = view.disk_place(item.fields[0].start)
        try:
            image = inspect(path)
        except OSError:
            if os.path.isdir(path):  # noqa: PTH112 - never raises
                kept.append(FILE_KIND.at(where, f"{shown(item.fields[0].text)} is a directory, not a disk"))
            continue
        images.append((item, image))
        guesses = {FMT_MISSING.code, FMT_MISMATCH.code, XEN_FORMAT.code}
        span = (view.disk_place(item.start), view.disk_place(item.end))
        kept = [one for one in kept if not (one.rule.code in guesses and _within(one.where, span))]
        kept += [*_format(view, item, image), *_state(view, item, image, path, home)]
    kept += _space(view, images, home)
    return kept


def _within(where: Location, span: tuple[Location, Location]) -> bool:
    return (span[0].line, span[0].column) <= (where.line, where.column) <= (span[1].line, span[1].column)


def _home(view: JobView, directory: Path) -> Path | None:
    """Return the directory of a job's files, or None when it is decided at submit time."""
    command = view.get("initialdir", "iwd", "initial_dir")
    if command is None or "\0" in command.text:
        return directory
    return None if command.unknown else directory / command.text


def _transfer(transfer: Transfer, home: Path) -> Iterator[Finding]:
    if transfer.is_url or "\0" in transfer.text:
        return
    try:
        mode = (home / transfer.text).stat().st_mode
    except OSError:
        yield FILE_MISSING.at(transfer.where, f"{shown(transfer.text)} is not here")
        return
    if not mode & 0o444:
        yield FILE_UNREADABLE.at(
            transfer.where, f"{shown(transfer.text)} has mode {mode & 0o777:04o}: nobody may read it"
        )


def _path_of(view: JobView, item: DiskItem, home: Path) -> Path | None:
    path = item.fields[0].text
    for transfer in view.transfers:
        if transfer.name == path.rpartition("/")[2]:
            return None if transfer.is_url else home / transfer.text
    return Path(path) if path.startswith("/") else None


def inspect(path: Path) -> ImageFacts:
    """Return the facts about a file, from its first bytes and from qemu-img; raises OSError when it cannot be read."""
    size = path.stat().st_size
    with files.open_regular(path) as file:
        head = file.read(qcow2.HEAD)
    found = _format_of(head)
    if found != "qcow2":
        return ImageFacts(found, size, size)
    try:
        header = qcow2.read(head)
    except qcow2.NotQcow2Error as error:
        return ImageFacts(found, size, size, unopened=str(error))
    image = ImageFacts(
        found, size, header.size, header.incompatible, header.encrypted, header.backing, header.backing_format
    )
    return image if header.external_data else _with_info(path, image)


#: Compressed formats, which neither libvirt nor QEMU unpacks.
PACKED = frozenset({"gzip", "xz", "zstd", "bzip2", "lz4", "lzma", "zip", "7z"})
#: Formats of disk images, with qemu-img's names for them.
_IMAGES = {"qcow2": "qcow2", "vmdk": "vmdk", "vhdx": "vhdx", "vhd": "vpc", "vdi": "vdi"}


def _format_of(head: bytes) -> str:
    found = magic.kind(head, (*sorted(PACKED), *_IMAGES))
    return "raw" if found is None else _IMAGES.get(found, found)


def _with_info(path: Path, image: ImageFacts) -> ImageFacts:
    """Return `image` completed with qemu-img's information, opened strictly as qcow2."""
    if process.which("qemu-img") is None:
        return replace(image, unchecked=True)
    return _opened(path.absolute(), image, _version(path))


def _version(path: Path) -> tuple[int, ...]:
    """Return the identity of a file's contents, for the cache: thousands of nodes may name the same image."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@functools.lru_cache(maxsize=256)
def _opened(path: Path, image: ImageFacts, _version: tuple[int, ...]) -> ImageFacts:
    argv = ["qemu-img", "info", "--output=json", "-U", "-f", "qcow2", str(path)]
    try:
        output = process.run(argv, deadline=_SECONDS, capture=True)
        info = jsontext.loads(output.text)
    except (RoostError, ValueError) as error:
        words = error.tail.strip() if isinstance(error, RoostError) and error.tail else str(error)
        return replace(image, unopened=words.splitlines()[-1][:200] if words else "qemu-img failed")
    below = info.get("backing-filename")
    return ImageFacts(
        image.format, image.size, int(info.get("virtual-size", image.virtual)), image.features,
        bool(info.get("encrypted", image.encrypted)), below if isinstance(below, str) else None,
        info.get("backing-filename-format"),
    )  # fmt: skip


def _format(view: JobView, item: DiskItem, image: ImageFacts) -> Iterator[Finding]:
    declared = declared_format(item)
    file = shown(item.fields[0].text)
    where = view.disk_place(item.fields[3].start if declared else item.fields[0].start)
    unread = Effect.RUNS_FOREVER if item == view.boot_disk else Effect.WRONG_DATA
    if view.hypervisor == "xen":
        if image.format in PACKED and item != view.boot_disk:
            found = XEN_FORMAT.but(_W, _OK)
            yield found.at(
                where, f"{file} is {image.format}: the guest gets the packed bytes, and must unpack them itself"
            )
        elif image.format != "raw":
            yield XEN_FORMAT.but(_E, unread).at(where, f"xen reads {file} as raw, but it is {image.format}")
    elif declared is None and image.format == "raw":
        yield FMT_MISSING.but(_W, _OK).at(where, f"{file} has no declared format")
    elif declared is None and image.format in PACKED and item != view.boot_disk:
        yield FMT_MISSING.but(_W, _OK).at(where, f"{file} has no declared format, and is {image.format}")
    elif declared is None:
        yield FMT_MISSING.but(_E, unread).at(where, f"without a format {file} is read as raw, but it is {image.format}")
    elif declared == "raw" and image.format in PACKED and item != view.boot_disk:
        found = FMT_MISMATCH.but(_W, _OK)
        yield found.at(where, f"{file} is {image.format}: the guest gets the packed bytes, and must unpack them itself")
    elif declared == "raw" and image.format != "raw":
        yield FMT_MISMATCH.but(_E, unread).at(where, f"{file} is declared raw, but it is {image.format}")
    elif declared == "qcow2" and image.format != "qcow2":
        yield FMT_MISMATCH.but(_E, _HASVM).at(where, f"{file} is declared qcow2, but it is {image.format}")


def _state(view: JobView, item: DiskItem, image: ImageFacts, path: Path, home: Path) -> Iterator[Finding]:
    file, where = shown(item.fields[0].text), view.disk_place(item.fields[0].start)
    mode = path.stat().st_mode
    if mode & 0o444 and not mode & 0o222 and item.fields[2].text != "r":
        yield FILE_READONLY.at(where, f"{file} has mode {mode & 0o777:04o}, but is declared writable")
    if not image.size:
        yield FILE_EMPTY.at(where, f"{file} is empty")
    if image.format != "qcow2":
        return
    for bit, broken, words in (
        (qcow2.CORRUPT, CORRUPT, "is marked corrupt"),
        (qcow2.DIRTY, DIRTY, "was not closed cleanly"),
        (qcow2.EXTERNAL_DATA, DATA_FILE, "keeps its data in another file"),
    ):
        if image.features & bit:
            yield broken.at(where, f"{file} {words}")
    if image.encrypted:
        yield ENCRYPTED.at(where, f"{file} is encrypted")
    look = functools.partial(_below, view, home)
    yield from backing.findings(view, item.fields[0].text, image, where, look)
    if image.unchecked:
        yield NOT_CHECKED.at(where, f"{file} was not checked: qemu-img is not installed")
    elif image.unopened:
        yield CORRUPT.at(where, f"{file} cannot be opened as qcow2: {image.unopened}")
    elif not image.features & (qcow2.EXTERNAL_DATA | qcow2.CORRUPT):
        yield from _checked(path, file, where)


def _below(view: JobView, home: Path, name: str) -> ImageFacts | None:
    transfer = next((one for one in view.transfers if one.name == name and not one.is_url), None)
    try:
        return inspect(home / transfer.text) if transfer is not None else None
    except OSError:
        return None


def _checked(path: Path, file: str, where: Location) -> Iterator[Finding]:
    code = _check_status(path.absolute(), _version(path))
    # qemu-img check exits with 2 for corruption, 3 for leaked clusters, 63 for an unsupported format and 1 when it
    # could not check, such as for a backing file that is not here.
    if code == 2:
        yield CORRUPT.at(where, f"{file} is corrupt")
    elif code == 3:
        yield DIRTY.at(where, f"{file} has leaked clusters")


@functools.lru_cache(maxsize=256)
def _check_status(path: Path, _version: tuple[int, ...]) -> int | None:
    """Return the exit status of qemu-img check, or None where it did not finish."""
    argv = ["qemu-img", "check", "-q", "-U", "--output=json", "-f", "qcow2", str(path)]
    try:
        return process.run(argv, deadline=_SECONDS, capture=True, check=False).returncode
    except RoostError:
        return None


def _space(view: JobView, images: list[tuple[DiskItem, ImageFacts]], home: Path) -> Iterator[Finding]:
    moved = [(item, image) for item, image in images if view.transferred(item.fields[0].text)]
    need = sum(image.virtual for _, image in moved)
    command = view.get("request_disk", "RequestDisk")
    if not moved or (command and command.unknown):
        return
    if command is None:
        memory = view.get("vm_memory") or view.get("request_memory", "RequestMemory")
        have = sum(_size(home / transfer.text) for transfer in view.transfers if not transfer.is_url)
        have += ((mebibytes(memory.text) if memory else 0) or 0) << 20
        if need > have:
            largest = max(moved, key=lambda pair: pair[1].virtual - pair[1].size)[0]
            yield REQUEST_DISK_THIN.at(
                view.disk_place(largest.start), f"the disks can grow to {need >> 20} MiB, the job gets {have >> 20} MiB"
            )
        return
    # request_disk is in KiB, vm_memory in MiB.
    asked = mebibytes(command.text)
    bare = command.text.strip("+").replace(".", "", 1).isdigit()
    if asked is not None and (asked << (10 if bare else 20)) < need:
        yield REQUEST_DISK_SMALL.at(
            command.where,
            f"request_disk = {shown(command.text)} is less than the {need >> 20} MiB that the disks can take",
        )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):
        return 0
