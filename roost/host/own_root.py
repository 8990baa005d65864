"""A root directory for the host's tools: its programs and settings, read-only, and the directories given to them.

It does not contain home directories, /root, /srv, /mnt, /var, the sockets in /run, the devices in /dev and the
processes of the host. A script that escapes a chroot ends up here.

Uses the standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from roost.host import confinement, syscalls
from roost.host.syscalls import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_REC

#: Where a system has its programs, libraries and settings, as far as they exist (hier(7)); /nix and /gnu are those of
#: NixOS and Guix.
SYSTEM = (
    "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/etc", "/nix", "/gnu",
    "/var/lib/dpkg", "/var/lib/apt", "/sys",
)  # fmt: skip
#: On hosts whose name servers change this is a link; its target may be anywhere.
RESOLV_CONF = Path("/etc/resolv.conf")
WRITABLE = ("/tmp", "/var/tmp", "/run")


def _target(root: Path, path: Path) -> Path:
    """Return the path of `path` below the new root, created as an empty directory or file if it does not exist."""
    target = root / path.relative_to("/")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            target.mkdir()
        else:
            target.touch()
    return target


def _show(root: Path, path: Path) -> None:
    """Mount a file or directory of the host at the same path, read-only with all its submounts."""
    target = str(_target(root, path))
    syscalls.mount(str(path), target, "", MS_BIND | MS_REC)
    syscalls.restrict(target)


def build(root: Path, memory: int) -> None:
    """Make a root directory at `root`, in memory: the host's programs and settings, its own /proc and /dev.

    /dev/shm is limited to half of `memory`, in bytes. Raises `OSError` when a mount fails.
    """
    syscalls.mount("roost", str(root), "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64m")
    for path in map(Path, SYSTEM):
        if path.is_symlink():
            (root / path.name).symlink_to(path.readlink())
        elif path.is_dir():
            _show(root, path)
    for name in WRITABLE:
        place = root / name[1:]
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(0o1777)
    servers = Path(os.path.realpath(RESOLV_CONF))
    if servers.is_file() and not any(servers.is_relative_to(path) for path in SYSTEM):
        _show(root, servers)
    for name in ("proc", "dev"):
        (root / name).mkdir()
    syscalls.mount("proc", str(root / "proc"), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    confinement.mount_devices(root / "dev", memory // 2)


def give(root: Path, directories: Sequence[Path], *, namespace: int | None, read_only: bool) -> None:
    """Mount directories at the same paths; with a `namespace` their owners are mapped to it (bind_mapped)."""
    for directory in directories:
        target = str(_target(root, directory))
        syscalls.mount(str(directory), target, "", MS_BIND)
        if namespace is not None:
            syscalls.bind_mapped(target, namespace)
        if read_only:
            syscalls.restrict(target)


def enter(root: Path) -> None:
    """Make `root` the root directory of this mount namespace and drop the old one (pivot_root(2), NOTES)."""
    os.chdir(root)
    syscalls.pivot_root(".", ".")
    syscalls.detach(".")
    os.chdir("/")
