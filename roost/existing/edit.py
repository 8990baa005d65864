"""Customizes an existing image like a tree: files, users, services, job and commands, through libguestfs."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import PurePosixPath

from roost.customize import overlay
from roost.errors import ImageError
from roost.existing import commands, sealing, serial_console, settings, users
from roost.existing.editor import Editor
from roost.existing.inspection import System
from roost.host.guestfs import GuestfsError
from roost.kernel.facts import Facts
from roost.kernel.inspect import KernelFiles, version_order

_SYSTEMD = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")
_OPENRC = ("/sbin/openrc", "/usr/sbin/openrc", "/sbin/openrc-run")
_INITRDS = ("/boot/initrd.img-{0}", "/boot/initramfs-{0}.img", "/boot/initrd-{0}", "/boot/initramfs-{0}")


@dataclass(frozen=True, slots=True)
class Edited:
    """The result: the image's root, its newest kernel if it has one, and notes for the user."""

    system: System
    root_uuid: str | None
    kernel: KernelFiles | None
    notes: tuple[str, ...]
    facts: Facts | None = None


def edit(editor: Editor) -> Edited:
    """Apply the recipe; return the resulting image."""
    kernel = _kernel(editor)
    init = _init(editor)
    elsewhere = overlay.mounted_elsewhere(editor.recipe)
    files = overlay.file_items(editor.loaded, kernel.version if kernel else "")
    here = [item for item in files if not overlay.below(item.path, elsewhere)]
    editor.lay([*settings.settings(editor), *settings.job(editor, init), *here])
    users.add(editor)
    commands.services(editor, init)
    commands.run(editor)
    _require(editor)
    serial_console.add(editor, kernel)
    sealing.seal(editor, init)
    sealing.untie(editor)
    uuid = editor.guest.blkid(editor.system.root.device).get("UUID")
    for part in editor.system.parts:
        try:
            editor.guest.trim(part.mount)
        except GuestfsError:
            # vfat and others do not support it.
            continue
    return Edited(editor.system, uuid, kernel, tuple(editor.notes))


def _kernel(editor: Editor) -> KernelFiles | None:
    """Return the image's newest kernel, by its release."""
    names = [name.removeprefix("vmlinuz-") for name in editor.guest.names("/boot") if name.startswith("vmlinuz-")]
    names = [name for name in names if re.fullmatch(r"[\w.+~-]+", name) and "rescue" not in name]
    for version in sorted(names, key=version_order, reverse=True):
        seen = editor.guest.stat(f"/boot/vmlinuz-{version}")
        if seen is not None and stat.S_ISREG(seen.mode):
            initrds = [name.format(version) for name in _INITRDS]
            return KernelFiles(
                version, f"/boot/vmlinuz-{version}", next((one for one in initrds if editor.guest.exists(one)), None)
            )
    return None


def _init(editor: Editor) -> str:
    """Return the image's service manager: systemd, openrc, busybox, sysv, or empty if unknown."""
    if any(editor.guest.exists(path) for path in _SYSTEMD):
        return "systemd"
    if any(editor.guest.exists(path) for path in _OPENRC):
        return "openrc"
    real = editor.inside.resolve("/sbin/init", last=True)
    if PurePosixPath(real).name == "busybox":
        return "busybox"
    return "sysv" if ":initdefault:" in (editor.read("/etc/inittab") or "") else ""


def _require(editor: Editor) -> None:
    """Raise unless the image has what the recipe's settings require."""
    zone = f"/usr/share/zoneinfo/{editor.recipe.timezone}"
    if editor.recipe.timezone != "UTC" and not editor.exists(zone):
        raise ImageError(f"the image has no {zone}", hint="install tzdata with `run`, or check timezone")
