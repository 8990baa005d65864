"""Checks of this host: each thing that roost needs, whether it is present, and the command that installs it.

Every check is independent and none raises. Tools are looked up on PATH; what shows only in use (user namespaces, a
kernel readable by libguestfs, GRUB's modules) is tried.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.errors import HostError, RoostError
from roost.host import appliance, guestfs, namespace, paths, process, saved_appliance

GiB = 1 << 30
#: A Debian tree, its unpacked copy and its images take about 2 GiB; with less a build fails half-way.
ROOM = 4 * GiB
GRUB_DIRECTORIES = ("/usr/lib/grub/i386-pc", "/usr/share/grub/i386-pc", "/usr/lib/grub2/i386-pc")
KEYRINGS = ("/usr/share/keyrings", "/etc/apt/trusted.gpg.d", "/usr/share/distribution-gpg-keys/debian")


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its name, result, what was found, and how to fix it; only `essential` ones decide."""

    name: str
    ok: bool
    seen: str
    fix: str | None = None
    essential: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return the keys of the JSON contract."""
        return {"name": self.name, "ok": self.ok, "seen": self.seen, "fix": self.fix, "essential": self.essential}


@dataclass(frozen=True, slots=True)
class _Tool:
    """A program: its possible names, its packages, and how to get its version."""

    names: tuple[str, ...]
    debian: str
    el: str
    version: tuple[str, ...] = ("--version",)
    essential: bool = True


TOOLS = (
    _Tool(("mmdebstrap",), "mmdebstrap", "mmdebstrap (EPEL)"),
    _Tool(("mke2fs",), "e2fsprogs", "e2fsprogs", ("-V",)),
    _Tool(("debugfs",), "e2fsprogs", "e2fsprogs", ("-V",)),
    _Tool(("sfdisk",), "fdisk", "util-linux"),
    _Tool(("mkswap",), "util-linux", "util-linux"),
    _Tool(("mkfs.vfat",), "dosfstools", "dosfstools", ("--help",), essential=False),
    _Tool(("mcopy",), "mtools", "mtools", essential=False),
    _Tool(("mkfs.xfs",), "xfsprogs", "xfsprogs", ("-V",), essential=False),
    _Tool(("mkfs.btrfs",), "btrfs-progs", "btrfs-progs (EPEL)", essential=False),
    _Tool(("mksquashfs",), "squashfs-tools", "squashfs-tools", ("-version",), essential=False),
    _Tool(("mkfs.erofs",), "erofs-utils", "erofs-utils (EPEL)", ("--help",), essential=False),
    _Tool(("qemu-img",), "qemu-utils", "qemu-img"),
    _Tool(("qemu-system-x86_64", "/usr/libexec/qemu-kvm"), "qemu-system-x86", "qemu-kvm"),
    _Tool(("grub-mkimage", "grub2-mkimage"), "grub-common", "grub2-tools-minimal"),
    _Tool(("tar",), "tar", "tar"),
    _Tool(("cpio",), "cpio", "cpio"),
    _Tool(("zstd",), "zstd", "zstd"),
    _Tool(("unshare",), "util-linux", "util-linux"),
    _Tool(("setpriv",), "util-linux", "util-linux"),
    _Tool(("supermin",), "supermin", "supermin"),
    _Tool(("condor_submit",), "condor", "condor (htcondor.org)", ("-version",), essential=False),
)


def install(debian: str, el: str) -> str:
    """Return the command that installs a package here."""
    if process.which("apt-get") is not None:
        return f"apt-get install {debian}"
    if process.which("dnf") is not None:
        return f"dnf install {el}"
    return f"install {debian} (Debian's name)"


def _tool(tool: _Tool) -> Check:
    found = next((path for name in tool.names if (path := process.which(name)) is not None), None)
    name = tool.names[0]
    if found is None:
        return Check(name, False, "not installed", install(tool.debian, tool.el), tool.essential)
    return Check(name, True, _version(found, tool.version), None, tool.essential)


def _version(path: str, arguments: Sequence[str]) -> str:
    """Return the version that a tool reports, else its path."""
    try:
        done = process.run(
            ["sh", "-c", 'exec "$@" 2>&1', "sh", path, *arguments], deadline=10, capture=True, check=False
        )
    except RoostError:
        return path
    match = re.search(r"\d+\.\d[\w.+~-]*", done.text)
    return match[0].rstrip(".") if match else path


def _grub_modules() -> Check:
    for directory in map(Path, GRUB_DIRECTORIES):
        if all((directory / name).is_file() for name in ("boot.img", "diskboot.img", "biosdisk.mod")):
            return Check("grub-i386-pc", True, str(directory))
    return Check(
        "grub-i386-pc", False, "GRUB's modules for BIOS are not installed", install("grub-pc-bin", "grub2-pc-modules")
    )


def _unshare() -> Check:
    """Check unshare(1): util-linux 2.38 is the first to map subordinate ids."""
    name = "unshare --map-auto"
    try:
        text = process.run(["unshare", "--help"], deadline=10, capture=True, check=False).text
    except RoostError as error:
        return Check(name, False, error.problem.what, install("util-linux", "util-linux"))
    known = "--map-auto" in text
    needed = os.geteuid() != 0
    fix = None if known or not needed else "util-linux 2.38 or newer is needed, or build as root"
    return Check(name, known or not needed, "known" if known else "not known to this util-linux", fix, needed)


def _subordinate_ids() -> Check:
    if os.geteuid() == 0:
        return Check("subordinate ids", True, "not needed: root", None)
    user = _user()
    missing = [tool for tool in ("newuidmap", "newgidmap") if process.which(tool) is None]
    if missing:
        fix = install("uidmap", "shadow-utils-subid")
        return Check("subordinate ids", False, f"{missing[0]} is not installed", fix)
    for file in ("/etc/subuid", "/etc/subgid"):
        count = _ids(Path(file), user)
        if count < 65536:
            seen = f"{count} ids for {user} in {file}, 65536 are needed"
            fix = f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
            return Check("subordinate ids", False, seen, fix)
    return Check("subordinate ids", True, f"65536 or more for {user}")


def _user() -> str:
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def _ids(file: Path, user: str) -> int:
    """Return the largest range of ids that a file in the format of subuid(5) grants a user, by name or number."""
    try:
        lines = [line.split(":") for line in file.read_text().splitlines()]
    except OSError:
        return 0
    ranges = [fields[2] for fields in lines if len(fields) == 3 and fields[0] in {user, str(os.geteuid())}]
    return max((int(count) for count in ranges if count.isdigit()), default=0)


def _namespaces() -> Check:
    try:
        namespace.probe()
    except RoostError as error:
        return Check("namespaces", False, error.problem.what, error.problem.hint)
    return Check("namespaces", True, "files can belong to other users inside")


def _guestfs_module() -> Check:
    fix = install("python3-guestfs", "python3-libguestfs")
    try:
        python = guestfs.interpreter()
    except RoostError as error:
        note = "" if Path(sys.prefix, "pyvenv.cfg").exists() else "; make the venv with --system-site-packages"
        return Check("libguestfs", False, error.problem.what, f"{fix}{note}")
    directory = appliance.supermin_directory()
    if directory is None:
        return Check("libguestfs", False, "its appliance is missing", fix)
    saved = saved_appliance.kept()
    note = f", restored instead of booted ({saved} saved)" if saved else ""
    return Check("libguestfs", True, f"module of {python}, appliance from {directory}{note}")


def _guestfs_kernel() -> Check:
    name = "kernel for libguestfs"
    try:
        kernel = appliance.readable_kernel()
    except RoostError as error:
        return Check(name, False, error.problem.what, error.problem.hint)
    return Check(name, True, str(kernel.image))


def _keyrings() -> Check:
    name = "archive keyrings"
    found = sorted(
        {
            path.name
            for directory in KEYRINGS
            if Path(directory).is_dir()
            for path in Path(directory).iterdir()
            if path.suffix in {".gpg", ".asc", ".pgp"} and ("debian" in path.name or "ubuntu" in path.name)
        }
    )
    if not found:
        return Check(name, False, "none", install("debian-archive-keyring", "debian-keyring"))
    return Check(name, True, ", ".join(found[:3]) + (" …" if len(found) > 3 else ""))


def _room(name: str, directory: Path) -> Check:
    """Check the free space of a directory, or of the nearest existing one above it."""
    place = next((path for path in (directory, *directory.parents) if path.exists()), Path("/"))
    if not os.access(place, os.W_OK):
        return Check(name, False, f"{place} cannot be written", "set ROOST_CACHE to a directory of yours")
    free = shutil.disk_usage(place).free
    fix = None if free >= ROOM else f"free {(ROOM - free) / GiB:.1f} GiB in {place}, or set ROOST_CACHE elsewhere"
    return Check(name, free >= ROOM, f"{free / GiB:.1f} GiB free in {directory}", fix)


def _cache(name: str) -> Check:
    try:
        return _room(name, paths.cache_root())
    except HostError as error:
        return Check(name, False, error.problem.what, error.problem.hint)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    lacking = [name for name in ("htcondor",) if importlib.util.find_spec(name) is None]
    seen = f"Python {version}" + (f", without {', '.join(lacking)}" if lacking else "")
    return Check("python", not lacking, seen, f"pip install {' '.join(lacking)}" if lacking else None)


def checks(project: Path, *, kvm: Callable[[], Check] | None = None) -> list[Check]:
    """Return all checks of this host for a project directory.

    `kvm` is the functional probe of the accelerator, which lives above this layer; its check is named `kvm`.
    """
    found = [_tool(tool) for tool in TOOLS]
    found += [_grub_modules(), _unshare(), _subordinate_ids(), _namespaces()]
    found += [_guestfs_module(), _guestfs_kernel(), _keyrings(), _python()]
    found += [_cache("room in the cache"), _room("room for images", project / "build")]
    if kvm is not None:
        found.append(kvm())
    return found


def ok(found: Sequence[Check]) -> bool:
    """Return whether all essential checks pass; KVM is not essential, since TCG does the same, but slowly."""
    return all(check.ok for check in found if check.essential)
