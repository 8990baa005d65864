"""Rules about vm_disk: fields, file names, permissions, formats (docs/vm-universe.md, section 2).

Each item is read as three programs do: condor_submit counts colons, condor_vm-gahp drops empty fields and trims,
the awk script that writes libvirt's XML does neither. The first program that fails decides the effect.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from roost.condor.rules.model import Effect, Finding, Severity, check, rule, shown
from roost.condor.rules.view import JobView, is_cd
from roost.condor.vm_disk import DiskItem, Field, scan
from roost.errors import Location
from roost.recipe.words import counted

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_OK, _HASVM = Effect.OK, Effect.HASVM_FALSE
_SECTION = "docs/vm-universe.md, section 2"
_AWK = "libvirt_simple_script.awk"

DISK_MISSING = rule(
    "disk-missing", _E, Effect.REJECTED, hint="write vm_disk = file:device:permission:format",
    source="docs/vm-universe.md, section 1; condor_submit: '<vm>_disk' cannot be found.",
)  # fmt: skip
DISK_FIELDS = rule(
    "disk-fields", _E, Effect.REJECTED, hint="write file:device:permission:format, with a comma between disks",
    source=f"{_SECTION}; condor_submit: 'vm_disk' has incorrect format.",
)  # fmt: skip
DISK_EMPTY_ITEM = rule(
    "disk-empty-item", _E, _HASVM, hint="remove the comma",
    source=f"{_SECTION}: no leading, trailing or double comma; {_AWK} writes an empty <disk>",
)  # fmt: skip
DISK_EMPTY_FIELD = rule(
    "disk-empty-field", _E, Effect.HELD, hint="write all four fields: file:device:permission:format",
    source="docs/vm-universe.md, section 4, errors 7 and 10: not 3 or 4 fields",
)  # fmt: skip
DISK_BLANK_FIELD = rule(
    "disk-blank-field", _E, _HASVM, hint="remove the blanks around the colon",
    source=f"{_AWK}: fields are split at the colon and not trimmed",
)  # fmt: skip
DISK_QUOTES = rule(
    "disk-quotes", _E, Effect.HELD, hint="remove the quotes: they become part of the file name",
    source=f"{_SECTION}; condor_submit keeps the quotes of vm_disk",
)  # fmt: skip
DISK_COMMENT = rule(
    "disk-inline-comment", _E, _HASVM, hint="put the comment on a line of its own",
    source="HTCondor manual, Submit File Syntax: a comment is a whole line",
)  # fmt: skip
DISK_NAME = rule(
    "disk-name-chars", _E, _HASVM, hint="use only letters, digits, . _ + and - in file names",
    source=f"{_SECTION}: no blank, comma, colon, quote, & or <; no XML escaping is done",
)  # fmt: skip
PERM_CANONICAL = rule(
    "perm-canonical", _N, _OK, hint="write w",
    source="condor_vm-gahp/xen_type.linux.cpp: w and rw in any case are writable",
)  # fmt: skip
PERM_CASE = rule(
    "perm-case", _E, Effect.WRONG_DATA, hint="write r in lower case",
    source=f"{_SECTION}: only `r` emits <readonly/>, anything else opens read-write",
)  # fmt: skip
PERM_UNKNOWN = rule(
    "perm-unknown", _E, Effect.WRONG_DATA, hint="write r or w",
    source=f"{_SECTION}: exactly r or w; anything else opens read-write, and may not come back",
)  # fmt: skip
FMT_CASE = rule(
    "fmt-case", _E, _HASVM, hint="write the format in lower case",
    source=f"{_SECTION}; libvirt: unknown driver format value",
)  # fmt: skip
FMT_UNKNOWN = rule(
    "fmt-unknown", _E, _HASVM, hint="write raw or qcow2",
    source=f"{_SECTION}; libvirt: unknown driver format value",
)  # fmt: skip
FMT_UNUSUAL = rule(
    "fmt-unusual", _W, _OK, hint="convert the disk to qcow2 or raw with qemu-img convert",
    source=f"{_SECTION}: raw or qcow2 are what is known to work",
)  # fmt: skip
FMT_MISSING = rule(
    "fmt-missing", _E, Effect.RUNS_FOREVER, hint="write the format as fourth field: raw or qcow2",
    source=f"{_SECTION}: omitted means raw, nothing is probed; qcow2 without format boots nothing",
)  # fmt: skip
FMT_MISMATCH = rule(
    "fmt-mismatch", _E, Effect.RUNS_FOREVER, hint="declare the format that `qemu-img info` shows",
    source="docs/condor-pool.md: a wrong format boots nothing, raw declared qcow2 is refused",
)  # fmt: skip
XEN_FORMAT = rule(
    "xen-format-raw", _E, Effect.RUNS_FOREVER, hint="convert the disk: qemu-img convert -O raw; declare raw",
    source=f"{_SECTION}: raw only for xen, the script writes no driver there",
)  # fmt: skip

DEVICE_LIKE = re.compile(r"(?:vd|sd|hd|xvd)[a-z]+\d*", re.IGNORECASE)
_PERMISSION_LIKE = {"r", "w", "rw"}
#: Other formats of libvirt 9.0's virStorageFileFormat that a disk can have.
_LIBVIRT_FORMATS = {"bochs", "cloop", "dmg", "vpc", "vdi", "fat", "vhd", "ploop", "cow", "qcow", "qed", "vmdk"}
#: File name extensions of disk images that are not raw; a -flat.vmdk is raw, and a .vhd can be.
_IMAGES = {"qcow2", "qcow", "qed", "vmdk", "vdi", "vhdx", "ova"}
#: File name extensions of compressed files, which neither libvirt nor QEMU unpacks.
_PACKED = {"gz", "xz", "zst", "zstd", "bz2", "lz4", "lzma", "zip", "7z", "tgz", "txz"}
_SAFE = re.compile(r"[A-Za-z0-9._+/-]*")


@check
def disk_list(view: JobView) -> Iterator[Finding]:
    """Apply the rules about the list as a whole."""
    if not view.is_vm or not view.hypervisor:
        return
    command = view.get("vm_disk")
    if command is None:
        if not view.description.incomplete:
            yield DISK_MISSING.at(view.place_of("vm_disk"), "there is no vm_disk")
        return
    if command.unknown:
        return
    items = scan(command.text)
    if not view.disks:
        yield DISK_FIELDS.at(command.where, f"vm_disk = {shown(command.text)} names no disk")
        return
    for item in items:
        if not item.text:
            yield DISK_EMPTY_ITEM.at(view.disk_place(item.start), "vm_disk has an empty item")
    if command.text[0] in "'\"":
        yield DISK_QUOTES.at(command.where, "vm_disk is in quotes")
        items = tuple(item for item in items if len(item.fields) not in (3, 4))
    for item in items:
        if item.text:
            yield from _item(view, item)


def _item(view: JobView, item: DiskItem) -> Iterator[Finding]:
    where = view.disk_place(item.start)
    count = len(item.fields)
    if count not in (3, 4):
        colon = count > 4 and DEVICE_LIKE.fullmatch(item.fields[-3].text) and item.fields[-2].text in _PERMISSION_LIKE
        if colon and not re.search(r"[\s;]", item.text):
            bad = DISK_NAME.but(_E, Effect.REJECTED)
            yield bad.at(where, f"{shown(item.text)} has a colon in the file name")
        else:
            yield DISK_FIELDS.at(where, f"{shown(item.text)} has {counted(count, 'field')}, not 3 or 4")
        return
    comment = re.search(r"\s#", item.text)
    if comment:
        yield _comment(view, item, comment.start() + 1)
        return
    filled = [field for field in item.fields if field.text]
    if len(filled) < count:
        yield from _empty_field(view, item, filled)
        return
    file, device, permission = item.fields[:3]
    if count == 4 and DEVICE_LIKE.fullmatch(permission.text) and item.fields[3].text in _PERMISSION_LIKE:
        lost = not view.maybe_transferred(file.text) and not file.text.startswith("/")
        bad = DISK_NAME.but(_E, Effect.HELD if lost else _HASVM)
        yield bad.at(
            where, f"{shown(item.text)} has a colon in the file name, and is read as the file {shown(file.text)}"
        )
        return
    yield from _file_name(view, item, file)
    yield from _blanks(view, item)
    yield from _permission(view, permission, device)
    yield from _format(view, item)


def _comment(view: JobView, item: DiskItem, offset: int) -> Finding:
    place = item.start + offset
    hit = next(index for index, field in enumerate(item.fields) if place <= field.end or index == len(item.fields) - 1)
    effect = Effect.WRONG_DATA if hit == 2 else _HASVM
    words = f"the comment becomes part of the {('file', 'device', 'permission', 'format')[hit]}"
    return DISK_COMMENT.but(_E, effect).at(view.disk_place(place), words)


def _empty_field(view: JobView, item: DiskItem, filled: list[Field]) -> Iterator[Finding]:
    names = ("file", "device", "permission", "format")
    empty = [names[index] for index, field in enumerate(item.fields) if not field.text]
    verb = "is" if len(empty) == 1 else "are"
    message = f"the {' and the '.join(empty)} of {shown(item.text)} {verb} empty"
    where = view.disk_place(item.start)
    present = len(filled) >= 3 and (filled[0].text.startswith("/") or view.maybe_transferred(filled[0].text))
    if not present:
        yield DISK_EMPTY_FIELD.at(where, message)
    elif empty == ["permission"]:
        yield DISK_EMPTY_FIELD.but(_E, Effect.WRONG_DATA).at(where, message)
    elif empty == ["format"] and view.hypervisor == "xen":
        yield DISK_EMPTY_FIELD.but(_W, _OK).at(where, message)
    else:
        yield DISK_EMPTY_FIELD.but(_E, _HASVM).at(where, message)


def _file_name(view: JobView, item: DiskItem, file: Field) -> Iterator[Finding]:
    where = view.disk_place(file.start)
    name = file.text
    if name[0] in "'\"":
        yield DISK_QUOTES.at(where, f"the file name {shown(name)} is in quotes")
    elif re.search(r"\s\s|[\t\n\r\f\v]", name):
        yield DISK_NAME.at(where, f"the blanks in {shown(name)} become one, so libvirt looks for another file")
    elif any(char in "&<\"'\\" for char in name):
        yield DISK_NAME.at(where, f"{shown(name)} has a character that breaks libvirt's XML")
    elif not _SAFE.fullmatch(name):
        yield DISK_NAME.but(_W, _OK).at(where, f"{shown(name)} has characters that not every tool on the way handles")


def _blanks(view: JobView, item: DiskItem) -> Iterator[Finding]:
    text = item.text
    for index, field in enumerate(item.fields):
        left = text[: field.start - item.start]
        right = text[field.end - item.start :]
        before, after = left != left.rstrip() and index > 0, right != right.lstrip() and right.lstrip()[:1] == ":"
        if not (before or after):
            continue
        name = ("file", "device", "permission", "format")[index]
        where = view.disk_place(field.start)
        message = f"the blank beside the {name} {shown(field.text)} becomes part of it"
        if index == 2:
            effect = Effect.WRONG_DATA if field.text == "r" else _OK
            yield DISK_BLANK_FIELD.but(_E if effect != _OK else _W, effect).at(where, message)
        elif index == 3 and view.hypervisor == "xen":
            yield DISK_BLANK_FIELD.but(_W, _OK).at(where, message)
        else:
            yield DISK_BLANK_FIELD.at(where, message)


def _permission(view: JobView, permission: Field, device: Field) -> Iterator[Finding]:
    where = view.disk_place(permission.start)
    text = permission.text
    if text in ("r", "w"):
        return
    if text.lower() in ("w", "rw"):
        yield PERM_CANONICAL.at(where, f"the permission {shown(text)} is taken as w")
    elif text == "R":
        yield PERM_CASE.at(where, f"the permission R leaves {device.text} writable")
    else:
        yield PERM_UNKNOWN.at(
            where, f"{shown(text)} is not a permission; {device.text} is writable and may not come back"
        )


def declared_format(item: DiskItem) -> str | None:
    """Return an item's fourth field, or None when it is omitted."""
    field = item.field(3)
    return field.text if field and field.text else None


def _format(view: JobView, item: DiskItem) -> Iterator[Finding]:
    declared = declared_format(item)
    file = item.fields[0].text
    where = view.disk_place(item.fields[3].start if declared else item.start)
    extension = file.rpartition(".")[2].lower() if "." in file and not file.lower().endswith("-flat.vmdk") else ""
    boot = item == view.boot_disk
    unread = Effect.RUNS_FOREVER if boot else Effect.WRONG_DATA
    if extension in _PACKED and (boot or declared == "qcow2") and declared in (None, "raw", "qcow2"):
        effect = _HASVM if declared == "qcow2" and view.hypervisor == "kvm" else unread
        what = f"{shown(file)} is read as {declared or 'raw'}, but its name says {extension}"
        yield FMT_MISMATCH.but(_E, effect).at(where, what)
    elif view.hypervisor == "xen":
        yield from _xen_format(declared, extension, shown(file), where, unread)
    elif declared is None:
        if extension in _IMAGES:
            what = f"without a format {shown(file)} is read as raw, not as {extension}"
            yield FMT_MISSING.but(_E, unread).at(where, what)
        elif not is_cd(item):
            yield FMT_MISSING.but(_W, _OK).at(where, f"without a format {shown(file)} is read as raw")
    elif declared in ("raw", "qcow2"):
        what = f"{shown(file)} is declared {declared}, but its name says {extension}"
        if declared == "raw" and extension in _IMAGES:
            yield FMT_MISMATCH.but(_E, unread).at(where, what)
        elif declared == "qcow2" and extension in (_IMAGES | {"raw"}) - {"qcow2"}:
            yield FMT_MISMATCH.but(_E, _HASVM).at(where, what)
    elif declared in _LIBVIRT_FORMATS:
        yield FMT_UNUSUAL.at(where, f"the format {shown(declared)} is rarely used")
    elif declared.lower() in ("raw", "qcow2"):
        yield FMT_CASE.at(where, f"libvirt does not know the format {shown(declared)}, only {declared.lower()}")
    else:
        yield FMT_UNKNOWN.at(where, f"libvirt does not know the format {shown(declared)}")


def _xen_format(declared: str | None, extension: str, file: str, where: Location, unread: Effect) -> Iterator[Finding]:
    if declared not in (None, "raw"):
        known = str(declared).lower() in _LIBVIRT_FORMATS | {"qcow2"}
        found = XEN_FORMAT.but(_E, unread) if known else XEN_FORMAT.but(_W, _OK)
        yield found.at(where, f"xen reads {file} as raw, whatever its format {shown(str(declared))} says")
    elif extension in _IMAGES:
        yield XEN_FORMAT.but(_E, unread).at(where, f"xen reads {file} as raw, but its name says {extension}")
