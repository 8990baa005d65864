"""Masks units and generators that init runs before a job and that are useless in HTCondor's machine.

A job waits until systemd has mounted, loaded and searched everything that its units request: encrypted and verified
disks, LVM, pstore, crash dumps of firmware, logins on a screen. HTCondor's machine has none of these, and a fresh disk
for each job has nothing to rotate or back up. Units that the image uses are kept: those that the recipe enables or has
a file for, that another unit requires, or whose configuration exists.

Runs chrooted into the tree, with the standard library only (`roost.customize.apply`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path, PurePosixPath

#: Directories of units and generators; a link to /dev/null in the first masks (systemd.unit(5), systemd.generator(7)).
OWN, VENDOR = "etc/systemd/system", "usr/lib/systemd/system"
GENERATORS = "systemd/system-generators"

#: Units, each with the files that show that the tree uses it: patterns of pathlib.
UNITS: dict[str, tuple[str, ...]] = {
    # And their dependencies: modprobe of configfs, dm_mod, efi_pstore, fuse, loop. Opening /dev/fuse, /dev/loop-control
    # or /dev/mapper/control loads the module (kmod static-nodes).
    "sys-fs-fuse-connections.mount": (),
    "sys-kernel-config.mount": (),
    "sys-kernel-debug.mount": (),
    "sys-kernel-tracing.mount": (),
    "systemd-pstore.service": (),
    "systemd-repart.service": ("etc/repart.d/*", "usr/lib/repart.d/*", "usr/local/lib/repart.d/*"),
    # It only shows progress; systemd-fsck checks the file systems.
    "systemd-fsckd.service": (),
    "systemd-fsckd.socket": (),
    # Debian's trees have only an entry for Python's byte code there.
    "proc-sys-fs-binfmt_misc.automount": ("etc/binfmt.d/*", "usr/local/lib/binfmt.d/*", "usr/lib/binfmt.d/[!p]*"),
    "systemd-binfmt.service": ("etc/binfmt.d/*", "usr/local/lib/binfmt.d/*", "usr/lib/binfmt.d/[!p]*"),
    "e2scrub_reap.service": ("usr/sbin/lvm",),
    "e2scrub_all.timer": ("usr/sbin/lvm",),
    "apt-daily.timer": (),
    "apt-daily-upgrade.timer": (),
    "dpkg-db-backup.timer": (),
    "systemd-update-utmp-runlevel.service": (),
    # The image is sealed: there is no seed to load, and its disk is discarded with the job.
    "systemd-random-seed.service": (),
    "modprobe@drm.service": (),
}
#: Generators, as above.
GENERATORS_UNUSED: dict[str, tuple[str, ...]] = {
    "systemd-cryptsetup-generator": ("etc/crypttab",),
    "systemd-integritysetup-generator": ("etc/integritytab",),
    "systemd-veritysetup-generator": ("etc/veritytab",),
    # All mounts are in fstab.
    "systemd-gpt-auto-generator": (),
    "systemd-hibernate-resume-generator": (),
    "systemd-system-update-generator": (),
    "systemd-rc-local-generator": ("etc/rc.local",),
}

#: Devices that udev has nothing to do for, and that are the most numerous: virtual terminals, processors, memory.
#: Modules for processor features (nested virtualization, ciphers) are loaded by their users.
_NOT_PLUGGED = (
    "tty", "cpu", "memory", "machinecheck", "msr", "cpuid", "vc", "vtconsole", "workqueue", "clocksource",
    "clockevents", "event_source", "bdi", "wakeup",
)  # fmt: skip
COLDPLUG = f"""\
# Written by roost: the devices of a virtual machine that udev has something to do for.
[Service]
ExecStart=
ExecStart=-udevadm trigger --type=devices --action=add --prioritized-subsystem=block,net,input \
{" ".join(f"--subsystem-nomatch={name}" for name in _NOT_PLUGGED)}
ExecStart=-udevadm trigger --type=devices --action=add --subsystem-match=tty --sysname-match=ttyS[0-3] \
--sysname-match=hvc0
"""
_COLDPLUG = f"{OWN}/systemd-udev-trigger.service.d/roost.conf"
#: The image's own rules may concern any device.
_RULES = ("etc/udev/rules.d/*.rules", "usr/local/lib/udev/rules.d/*.rules")

#: Types of units that the job waits for, all types (systemd.unit(5)), and units that wait for the job themselves.
_AWAITED = (".service", ".socket", ".mount", ".path")
_TYPES = frozenset(
    {"service", "socket", "device", "mount", "automount", "swap", "target", "path", "timer", "slice", "scope"}
)
_LATER = re.compile(r"^After=(?:.*\s)?roost-job\.service\b", re.MULTILINE)
_AFTER = f"{OWN}/roost-job.service.d/services.conf"
_NEEDS = re.compile(r"^(?:Requires|Requisite|BindsTo)=(.*)$", re.MULTILINE)
_MOUNTS = re.compile(r"^RequiresMountsFor=(.*)$", re.MULTILINE)


def rest(root: Path, enabled: Collection[str] = (), *, screen: bool = False, cmdline: str = "") -> tuple[str, ...]:
    """Mask unused units and generators in the tree at `root`; return what was masked.

    `enabled` are the units that the recipe enables, `screen` says whether the machine has one, `cmdline` are the kernel
    parameters of the recipe.
    """
    masked = []
    kept = _required(root) | {_unit(name) for name in enabled}
    for unit, has_use in _units(root, screen):
        own = root / OWN / unit
        present = any((root / VENDOR / name).exists() for name in _names(unit))
        touched = own.exists() or own.is_symlink() or (root / OWN / f"{unit}.d").exists()
        if present and not (touched or unit in kept or _any(root, has_use)):
            masked.append(f"{OWN}/{unit}")
    for name, wanted in _generators(root, cmdline):
        vendor, own = root / "usr/lib" / GENERATORS / name, root / "etc" / GENERATORS / name
        if vendor.exists() and not (own.exists() or own.is_symlink() or wanted):
            masked.append(f"etc/{GENERATORS}/{name}")
    for path in masked:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to("/dev/null")
    drop_in = root / _COLDPLUG
    if (root / VENDOR / "systemd-udev-trigger.service").exists() and not (
        drop_in.parent.exists() or (root / OWN / drop_in.parent.name.removesuffix(".d")).exists() or _any(root, _RULES)
    ):
        drop_in.parent.mkdir(parents=True)
        drop_in.write_text(COLDPLUG)
        masked.append(_COLDPLUG)
    return tuple(masked)


def await_services(root: Path, enabled: Collection[str]) -> None:
    """Make the job of the tree at `root` start after the enabled units, except those ordered after it."""
    names = dict.fromkeys(map(_unit, enabled))
    awaited = [unit for unit in names if unit.endswith(_AWAITED) and not _LATER.search(_text(root, unit))]
    if awaited and (root / OWN / "roost-job.service").exists():
        (root / _AFTER).parent.mkdir(exist_ok=True)
        text = "".join(f"After={unit}\n" for unit in awaited)
        (root / _AFTER).write_text(f"# The recipe enables these.\n[Unit]\n{text}")


def _unit(name: str) -> str:
    """Return the name of a unit as systemctl(1) interprets it: without a type it is a service."""
    return name if name.rpartition(".")[2] in _TYPES else f"{name}.service"


def _names(unit: str) -> tuple[str, str]:
    """Return the possible file names of a unit: its own, and that of its template."""
    return unit, re.sub(r"@[^.]*\.", "@.", unit)


def _text(root: Path, unit: str) -> str:
    """Return the text of a unit, or of its template; the image's own file takes precedence."""
    places = [root / directory / name for directory in (OWN, VENDOR) for name in _names(unit)]
    return next((path.read_text("utf-8", "replace") for path in places if path.is_file()), "")


def _units(root: Path, screen: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield units that may be masked, each with the files that show that it is used."""
    yield from UNITS.items()
    if not screen:
        yield "getty@tty1.service", ()
    if users_there(root):
        yield "systemd-sysusers.service", ()


def _generators(root: Path, cmdline: str) -> Iterator[tuple[str, bool]]:
    """Yield generators, each with whether the image uses it."""
    for name, has_use in GENERATORS_UNUSED.items():
        yield name, _any(root, has_use)
    yield "systemd-sysv-generator", _has_scripts(root)
    yield from used_by(cmdline).items()


def used_by(cmdline: str) -> dict[str, bool]:
    """Return the generators for commands and units of the kernel's command line, each with whether `cmdline` has any.

    (systemd-run-generator(8), systemd-debug-generator(8).)
    """
    return {
        "systemd-run-generator": "systemd.run" in cmdline,
        "systemd-debug-generator": "systemd." in cmdline or "rd." in cmdline,
    }


def _any(root: Path, patterns: Collection[str]) -> bool:
    return any(True for pattern in patterns for _ in root.glob(pattern))


def _required(root: Path) -> frozenset[str]:
    """Return the units that others require, except those required only by units masked with them."""
    found: set[str] = set()
    for directory in (OWN, VENDOR, "usr/local/lib/systemd/system"):
        for pattern in ("*.*", "*.d/*.conf"):
            for path in (root / directory).glob(pattern):
                if path.is_file() and path.name not in UNITS:
                    text = path.read_text("utf-8", "replace")
                    found.update(name for names in _NEEDS.findall(text) for name in names.split())
                    found.update(_mount(one) for names in _MOUNTS.findall(text) for one in _ways(names))
        found.update(link.name for link in (root / directory).glob("*.requires/*"))
    return frozenset(found)


def _ways(names: str) -> Iterator[PurePosixPath]:
    for name in names.split():
        yield from (PurePosixPath(name), *PurePosixPath(name).parents)


def _mount(path: PurePosixPath) -> str:
    """Return the mount unit of a path, without systemd's escaping, which the units above do not need."""
    return f"{'-'.join(path.parts[1:])}.mount"


def users_there(root: Path) -> bool:
    """Return whether all accounts and groups in the tree's sysusers.d(5) already exist."""
    users = {line.split(":")[0] for line in _lines(root / "etc/passwd")}
    groups = {fields[0]: fields[-1].split(",") for line in _lines(root / "etc/group") if (fields := line.split(":"))}
    directories = ("etc", "usr/local/lib", "usr/lib")
    for path in (path for directory in directories for path in root.glob(f"{directory}/sysusers.d/*.conf")):
        for line in _lines(path):
            kind, _, rest_of_line = line.strip().partition(" ")
            words = rest_of_line.split()
            if kind.startswith("#") or not words:
                continue
            existing = {
                "u": words[0] in users,
                "g": words[0] in groups,
                "m": len(words) > 1 and words[0] in groups.get(words[1], ()),
                "r": True,
            }
            if not existing.get(kind.rstrip("!+"), False):
                return False
    return True


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8", "replace").splitlines() if path.is_file() else []


def _has_scripts(root: Path) -> bool:
    """Return whether a System V init script without a unit is started."""
    for link in root.glob("etc/rc[S2345].d/S*"):
        name = re.sub(r"^S\d\d", "", link.name).removesuffix(".sh")
        if not any(
            path.exists() or path.is_symlink()
            for directory in (OWN, VENDOR)
            for path in (root / directory / f"{name}.service", root / directory / f"{name}.sh.service")
        ):
            return True
    return False
