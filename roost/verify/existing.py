"""The read-back of an edited image: the recipe does not describe its layout, so the layout is detected.

The root is detected independently of the editor; what cannot be found here, a machine would not find either.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from roost.host.guestfs import Guest, GuestfsError
from roost.host.guestfs_calls import JOURNALLED
from roost.recipe.words import shown
from roost.verify import booting, texts
from roost.verify.booting import Mount

#: Options of fstab lines that do not keep a machine from starting.
_OPTIONAL = frozenset({"nofail", "noauto"})
_GRUB = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
_OTHERS = ("/boot/extlinux/extlinux.conf", "/boot/extlinux.conf", "/extlinux.conf", "/boot/syslinux/syslinux.cfg")
_MODULES = ("/usr/lib/modules", "/lib/modules")


@dataclass(frozen=True, slots=True)
class Seen:
    """A file system of the image: its device in libguestfs, its type, and its mount point, if any."""

    device: str
    type: str
    uuid: str
    label: str
    partition: str
    mount: str | None = None
    #: The path of a btrfs subvolume; None for the default one, which is mounted without options.
    subvolume: str | None = None

    @property
    def names(self) -> frozenset[str]:
        """The names that an fstab may use for it."""
        found = {f"uuid={self.uuid.lower()}"} if self.uuid else set()
        found |= {f"label={self.label}"} if self.label else set()
        return frozenset(found | ({f"partuuid={self.partition.lower()}"} if self.partition else set()))


def look(guest: Guest, devices: Iterable[str]) -> list[Seen]:
    """Return the file systems and swap areas on these devices, none of them mounted."""
    found = []
    for device in devices:
        seen = guest.blkid(device)
        if seen.get("TYPE") and seen["TYPE"] not in {"LVM2_member", "crypto_LUKS"}:
            partition = seen.get("PART_ENTRY_UUID") or seen.get("PARTUUID") or ""
            subvolume = guest.split(device)[1]
            found.append(
                Seen(device, seen["TYPE"], seen.get("UUID", ""), seen.get("LABEL", ""), partition, subvolume=subvolume)
            )
    return found


def root(guest: Guest, systems: Iterable[Seen]) -> Seen | None:
    """Return the file system with accounts and programs, or None; nothing is mounted afterwards.

    A btrfs may hold snapshots besides the root, which look alike: then the root is the one that its own fstab mounts on
    /.
    """
    found: list[tuple[Seen, str]] = []
    known = list(systems)
    for seen in known:
        if seen.type == "swap":
            continue
        try:
            guest.mount_readonly(seen.device, journal=seen.type in JOURNALLED)
        except GuestfsError:
            continue
        try:
            if guest.exists("/etc/passwd") and (guest.exists("/usr/bin") or guest.exists("/bin")):
                found.append((seen, texts.text(guest, "/etc/fstab") or ""))
        finally:
            guest.unmount_all()
    for seen, text in found:
        lines = [line for line in booting.mounts(text) if line.target == "/"]
        if lines and chosen(lines[0], known) is seen:
            return seen
    return found[0][0] if found else None


def chosen(line: Mount, systems: Iterable[Seen]) -> Seen | None:
    """Return what a line of fstab mounts: for a btrfs the subvolume in its options, or the default one."""
    found = [entry for entry in systems if key(line.source) in entry.names]
    named = [word.partition("=")[2].strip("/") for word in line.options if word.startswith("subvol=")]
    for entry in found:
        if (entry.subvolume or "").strip("/") == (named[0] if named else ""):
            return entry
    # The default subvolume has a name, too, which libguestfs does not list.
    default = [entry for entry in found if entry.subvolume is None]
    return default[0] if default and named and not any(entry.subvolume == named[0] for entry in found) else None


def key(source: str) -> str:
    """Return an fstab's source in the form of `Seen.names`."""
    word, equals, value = source.replace('"', "").partition("=")
    if not equals:
        by = re.fullmatch(r"/dev/disk/by-(uuid|label|partuuid)/(.+)", source)
        word, value = (by[1], by[2]) if by else ("", source)
    word = word.lower()
    return f"{word}={value.lower() if word in {'uuid', 'partuuid'} else value}" if word else value


def absent(lines: Iterable[Mount], known: frozenset[str]) -> Iterator[str]:
    """Yield what a machine would wait for: file systems in its fstab that are on no disk."""
    for line in lines:
        source = key(line.source)
        named = source.partition("=")[0] in {"uuid", "label", "partuuid"}
        if named and source not in known and not _OPTIONAL & {*line.options}:
            yield f"/etc/fstab mounts {shown(line.source)}, which is not on any disk"
        elif re.fullmatch(r"/dev/(sd|vd|xvd|hd)[a-z]+\d*", line.source) and not _OPTIONAL & {*line.options}:
            yield f"/etc/fstab names {shown(line.source)}, not a UUID: devices change their names"


def boots(guest: Guest, root: Seen, own_boot: bool) -> tuple[list[str], list[dict[str, Any]], str]:
    """Return faults in how the image starts, its kernels, and a one-line summary."""
    text = next((text for path in _GRUB if (text := texts.text(guest, path)) is not None), None)
    entries = booting.menu(text) if text is not None else []
    if not entries:
        kernels = [{"path": f"/boot/{name}", "version": name.partition("-")[2]} for name in _kernels(guest)]
        other = next((path for path in _OTHERS if guest.exists(path)), "no configuration of GRUB or syslinux")
        return [], kernels, f"boot: {other}; {len(kernels)} kernels in /boot"
    wrong: list[str] = []
    above = guest.subvolumes() if root.type == "btrfs" else ()
    started: list[dict[str, Any]] = []
    for entry in entries:
        path = _on_boot(guest, entry.kernel, own_boot, above) if entry.kernel is not None else ""
        head = texts.head(guest, path, 32768) if path else None
        version = booting.kernel_version(head) if head else None
        if version is None:
            continue
        initrds = [_on_boot(guest, name, own_boot, above) for name in entry.initrds]
        wrong += [f"grub.cfg: the initrd {shown(name)} is missing" for name in initrds if not guest.exists(name)]
        wrong += [
            f"grub.cfg: '{shown(word)}' is not root=UUID={root.uuid}"
            for word in entry.command_line
            if word.startswith("root=UUID=") and word.lower() != f"root=uuid={root.uuid}".lower()
        ]
        wrong += [
            f"grub.cfg: '{shown(word)}' is found on one kind of machine only"
            for word in entry.command_line
            if initrds and re.fullmatch(r"root=/dev/(sd|vd|xvd|hd)[a-z]+\d*", word)
        ]
        flags = [word for word in entry.command_line if word.startswith("rootflags=")]
        if root.subvolume is not None and not any("subvol" in word for word in flags):
            wrong.append(f"grub.cfg starts {shown(version)} without rootflags=subvol={shown(root.subvolume)}")
        started.append({"path": path, "version": version, "initrds": initrds})
    if not started:
        wrong.append("grub.cfg starts no kernel that is in the image")
    return (
        list(dict.fromkeys(wrong)),
        started,
        f"grub.cfg: {len(entries)} entries, {len(started)} of them start a kernel",
    )


def _on_boot(guest: Guest, path: str, own_boot: bool, above: Iterable[str]) -> str:
    """Return the system's path for GRUB's `path`; `above` are subvolumes, which GRUB sees as directories."""
    plain = re.sub(r"^\([^)]*\)|^\$\{?root\}?", "", path)
    plain = plain if plain.startswith("/boot/") or not own_boot else f"/boot{plain}"
    shorter = [plain.removeprefix(f"/{name}") for name in above if plain.startswith(f"/{name}/")]
    return next((one for one in [plain, *shorter] if guest.exists(one)), plain)


def _kernels(guest: Guest) -> list[str]:
    return sorted(name for name in guest.names("/boot") if name.startswith("vmlinuz-"))
