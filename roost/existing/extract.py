"""A kernel and its initrd, extracted from an existing image by libguestfs, opened read-only.

The image is untrusted. Its file systems are mounted in libguestfs' appliance, never by this host's kernel; links are
followed inside it; the output is bounded bytes, and text that is trusted only as far as it is verified.
"""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roost.errors import ImageError, UsageError
from roost.host import bzimage
from roost.host.accelerator import Kind
from roost.host.guestfs import Guest, GuestfsError, open_readonly
from roost.host.guestfs_calls import NO_FILES
from roost.kernel import facts
from roost.kernel.drivers import Modules
from roost.kernel.facts import CONFIGS, Facts
from roost.kernel.inspect import version_order
from roost.recipe.words import listed, shown
from roost.verify import booting

KERNEL, INITRD, RECORD = "vmlinuz", "initrd.img", "kernel.json"
#: Bytes: the largest initrd, the largest text.
MAX_INITRD = 1 << 30
MAX_TEXT = 16 << 20
_CHUNK = 8 << 20
_DIRECTORIES = ("/boot", "/")
_NAMES = re.compile(r"(vmlinuz|bzImage|kernel)([-.].+)?")
_GRUB = ("grub/grub.cfg", "grub2/grub.cfg")


@dataclass(frozen=True, slots=True)
class ExtractedKernel:
    """The extracted files: `kernel` and `initrd` are files of the host, `source` is the kernel's path in the image.

    `root` is root= of the boot loader's configuration, else the file system that looks like a root; `command_line` is
    None if no configuration has one.
    """

    kernel: Path
    initrd: Path | None
    source: str
    root: str | None
    command_line: str | None
    facts: Facts
    #: All kernel releases in the image, newest first.
    releases: tuple[str, ...]

    def moved(self, directory: Path) -> ExtractedKernel:
        """Return the same with its files in another directory."""
        initrd = directory / self.initrd.name if self.initrd else None
        return replace(self, kernel=directory / self.kernel.name, initrd=initrd)

    def to_json(self) -> dict[str, Any]:
        """Return the output of `inv kernels --extract --json`."""
        return {
            **self.facts.to_json(),
            "kernel": str(self.kernel),
            "initrd": str(self.initrd) if self.initrd else None,
            "source": self.source,
            "root": self.root,
            "command_line": self.command_line,
            "releases": list(self.releases),
        }


@dataclass(frozen=True, slots=True)
class _Place:
    """A file system of the image: its device in libguestfs, its type and its UUID."""

    device: str
    kind: str
    uuid: str | None


@dataclass(frozen=True, slots=True)
class _Candidate:
    place: _Place
    directory: str
    name: str
    image: bzimage.BzImage
    size: int

    @property
    def path(self) -> str:
        return f"{self.directory.rstrip('/')}/{self.name}"


def extract(
    image: Path,
    format: str,
    out: Path,
    version: str | None = None,
    *,
    accelerator: Kind,
    log: Path,
) -> ExtractedKernel:
    """Write vmlinuz, initrd.img and kernel.json of an image into the empty directory `out`; return their facts.

    The newest kernel is taken, or the one of `version` (a release, or the end of its file's name). The caller must have
    verified that the image refers to no other file. Raises `ImageError` when it has no kernel, `UsageError` for a
    version that it does not have.
    """
    with open_readonly([(image, format)], accelerator=accelerator, log=log, deadline=900) as guest:
        places = list(_places(guest))
        if not places:
            raise ImageError(f"{image.name} has no file system", hint="is its format right?")
        found: list[_Candidate] = []
        root: _Place | None = None
        for place in places:
            if not _mounted(guest, place):
                continue
            found += _candidates(guest, place)
            if root is None and guest.exists("/etc") and (guest.exists("/usr") or guest.exists("/lib")):
                root = place
            guest.unmount_all()
        chosen = _choose(found, version, image.name)
        return _take(guest, chosen, root, out, _releases(found))


def _places(guest: Guest) -> Iterator[_Place]:
    """Yield the file systems, including those on logical volumes and in btrfs subvolumes."""
    for device, kind in guest.filesystems().items():
        if kind not in NO_FILES:
            yield _Place(device, kind, guest.blkid(device).get("UUID"))


def _mounted(guest: Guest, place: _Place) -> bool:
    """Mount a file system without replaying its journal; return False when that fails."""
    options = {"ext3": "ro,noload", "ext4": "ro,noload", "xfs": "ro,norecovery"}.get(place.kind, "ro")
    try:
        guest.mount(place.device, "/", options)
    except GuestfsError:
        return False
    return True


def _candidates(guest: Guest, place: _Place) -> Iterator[_Candidate]:
    for directory in _DIRECTORIES:
        for name in guest.names(directory):
            if not _NAMES.fullmatch(name) or not name.isprintable() or "\N{REPLACEMENT CHARACTER}" in name:
                continue
            path = f"{directory.rstrip('/')}/{name}"
            seen = guest.stat(path)
            if seen is None or not stat.S_ISREG(seen.mode) or not 0 < seen.size <= bzimage.MAX_PACKED:
                continue
            head = bzimage.parse(guest.read(path, bzimage.HEAD))
            if head is not None:
                yield _Candidate(place, directory, name, head, seen.size)


def _releases(found: list[_Candidate]) -> tuple[str, ...]:
    return tuple(sorted({one.image.release for one in found}, key=version_order, reverse=True))


def _choose(found: list[_Candidate], version: str | None, name: str) -> _Candidate:
    if not found:
        raise ImageError(f"{name} has no kernel in /boot or /", hint="is it encrypted, or without a kernel of its own?")
    wanted = [
        one
        for one in found
        if version in {None, one.image.release, one.image.version} or one.name.endswith(f"-{version}")
    ]
    if not wanted:
        raise UsageError(f"{name} has no kernel {shown(version or '')}", hint=f"it has {listed(_releases(found))}")
    # Of vmlinuz and vmlinuz-VERSION, often the same file, the second has its initrd next to it.
    return max(wanted, key=lambda one: (version_order(one.image.release), len(one.name)))


def _take(
    guest: Guest, chosen: _Candidate, root: _Place | None, out: Path, releases: tuple[str, ...]
) -> ExtractedKernel:
    if not _mounted(guest, chosen.place):
        raise ImageError(f"the file system of {shown(chosen.path)} cannot be mounted a second time")
    kernel = out / KERNEL
    _copy(guest, chosen.path, kernel, bzimage.MAX_PACKED)
    found = _initrd(guest, chosen)
    initrd = out / INITRD if found else None
    if found and initrd:
        _copy(guest, found, initrd, MAX_INITRD)
    command_line = _command_line(guest, chosen)
    system = chosen.place
    if root is not None and root != chosen.place:
        guest.unmount_all()
        system = root if _mounted(guest, root) else chosen.place
    release = chosen.image.release
    lists = [_text(guest, f"/lib/modules/{release}/{name}") or "" for name in ("modules.builtin", "modules.dep")]
    configs = [text for form in CONFIGS if (text := _text(guest, f"/{form.format(release)}")) is not None]
    if not configs and system != chosen.place:
        guest.unmount_all()
        if _mounted(guest, chosen.place):
            configs = [text for text in (_text(guest, f"/config-{release}"),) if text is not None]
    image = bzimage.read(kernel)
    if image is None or image.release != release:
        raise ImageError(f"{shown(chosen.path)} changed while it was read")
    pv = facts.xen_pv(configs[0] if configs else None, lambda: bzimage.starts_under_xen(kernel))
    seen = facts.of(image, kernel.stat().st_size, Modules.of(*lists), pv)
    words = (command_line or "").split()
    named = next((word for word in words if word.startswith("root=")), None)
    if named is None and root is not None and root.uuid is not None:
        named = f"root=UUID={root.uuid}"
    taken = ExtractedKernel(kernel, initrd, chosen.path, named, command_line, seen, releases)
    record = {key: value for key, value in taken.to_json().items() if key not in {"kernel", "initrd"}}
    (out / RECORD).write_text(json.dumps(record, indent=1) + "\n")
    return taken


def _copy(guest: Guest, path: str, target: Path, limit: int) -> None:
    offset = 0
    with target.open("wb") as file:
        while data := guest.read(path, _CHUNK, offset):
            offset += len(data)
            if offset > limit:
                raise ImageError(f"{shown(path)} is larger than {limit >> 20} MiB")
            file.write(data)
    target.chmod(0o644)


def _text(guest: Guest, path: str) -> str | None:
    seen = guest.stat(path)
    if seen is None or not stat.S_ISREG(seen.mode) or seen.size > MAX_TEXT:
        return None
    return guest.read(path, seen.size).decode("utf-8", "replace")


def _initrd(guest: Guest, chosen: _Candidate) -> str | None:
    """Return the initrd next to a kernel, by the names that distributions use."""
    suffix = _NAMES.fullmatch(chosen.name)
    end = (suffix[2] or "").lstrip("-.") if suffix else ""
    ends = dict.fromkeys(filter(None, [end, chosen.image.release]))
    names = [
        name.format(one)
        for one in ends
        for name in ("initrd.img-{}", "initramfs-{}.img", "initrd-{}", "initrd-{}.img", "initramfs-{}")
    ]
    names += ["initrd.img", "initrd", "initramfs.img", "initramfs-linux.img"] if not end else []
    for name in names:
        path = f"{chosen.directory.rstrip('/')}/{name}"
        seen = guest.stat(path)
        if seen is not None and stat.S_ISREG(seen.mode) and 0 < seen.size <= MAX_INITRD:
            return path
    return None


def _command_line(guest: Guest, chosen: _Candidate) -> str | None:
    """Return the kernel's parameters in the boot loader's configuration next to it: GRUB's, or a loader entry."""
    base = chosen.directory.rstrip("/")
    for path in _GRUB:
        for entry in booting.menu(_text(guest, f"{base}/{path}") or ""):
            if entry.kernel is not None and entry.kernel.rpartition("/")[2] == chosen.name:
                return " ".join(word for word in entry.command_line if "$" not in word)
    for name in sorted(guest.names(f"{base}/loader/entries")):
        text = _text(guest, f"{base}/loader/entries/{name}") or ""
        lines = dict(line.split(None, 1) for line in text.splitlines() if len(line.split(None, 1)) == 2)
        if lines.get("linux", "").rpartition("/")[2] == chosen.name:
            return " ".join(word for word in lines.get("options", "").split() if "$" not in word)
    return None
