"""A quick appliance for libguestfs, built once from the installed one.

libguestfs boots a small Linux to read a disk. Without KVM the stock appliance of Debian 12 takes 14 s to boot; this one
takes 4 s: its kernel is already unpacked, it has only the modules for block devices and file systems, and its init
starts only the daemon (no udev, no scan for LVM, RAID or Windows disks). It is a *fixed appliance*
(guestfs-internals(1), "FIXED APPLIANCE"; supermin(1), SUPERMIN_KERNEL and SUPERMIN_MODULES), found through
LIBGUESTFS_PATH. It is kept in the cache under a digest of everything it is made from.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import re
import shutil
import struct
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path

from roost.errors import HostError, ToolError
from roost.host import bzimage, declared, paths, process, temporary

#: Increment when the build procedure changes.
_RECIPE = "5"

#: Modules needed to boot the appliance, and those of file systems that images may hold. Missing ones are built in.
_MODULES = (
    *("virtio_pci", "virtio_scsi", "virtio_console", "sd_mod", "ext4", "crc32c_generic"),
    *("xfs", "btrfs", "vfat", "squashfs", "erofs", "isofs", "nls_cp437", "nls_ascii", "nls_iso8859_1", "nls_utf8"),
)

#: Packages of the stock appliance that are not needed to read Linux disks. Without udev there is no udevd, and no
#: udevadm, which the daemon would otherwise run before many operations and wait for.
# fmt: off
_UNNEEDED = frozenset(
    (
        "sleuthkit", "ldmtool", "mdadm", "lvm2", "debootstrap", "qemu-utils", "qemu-img", "grub2-common", "grub-pc",
        "grub2-pc", "extlinux", "syslinux", "openssh-client", "openssh-clients", "isc-dhcp-client", "dhcp-client",
        "dhcpcd", "dhcpcd-base", "mtools", "ntfs-3g", "ntfsprogs", "cryptsetup", "cryptsetup-bin", "curl",
        "f2fs-tools", "exfatprogs", "kpartx", "lzop", "psmisc", "pciutils", "lsscsi", "scrub", "binutils", "systemd",
        "systemd-sysv", "systemd-udev", "udev", "uuid-runtime", "procps", "procps-ng", "less", "iproute", "iproute2",
        "zerofree", "vim-minimal", "zfs-fuse", "zfsutils-linux", "nilfs-tools", "jfsutils", "reiserfsprogs",
        "hfsplus", "hfsutils", "strace", "clevis-luks",
    )
)
# fmt: on

#: Seconds for which an appliance that did not start is not tried again. It expires so that a temporary lack of memory
#: does not leave the host with the slow appliance until its next kernel.
GIVEN_UP = 3600.0
#: The message on the appliance's console when the kernel named the disks in an unexpected order.
OUT_OF_ORDER = "roost: disks out of order"
_INIT = b"""\
#!/bin/sh
# Started by supermin's initrd when the root is mounted: just what guestfsd needs, as early as can be.
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export PATH
mount -a
mkdir -p /dev/disk/by-path /dev/virtio-ports /dev/mapper

# The kernel names SCSI disks in the order in which they answer. guestfsd puts them right by links that udev would make,
# but not in the names of btrfs' subvolumes: where the order is not that of the addresses, another start has to do.
letters=abcdefghijklmnopqrstuvwxyz
for address in $(ls /sys/class/scsi_device | sort -t : -k 1n,1 -k 3n,3 -k 4n,4); do
  device=/sys/class/scsi_device/$address
  tries=0
  until set -- $device/device/block/* && [ -e "$1" ] || [ $tries -ge 600 ]; do
    tries=$((tries + 1))
    sleep 0.05
  done
  [ -e "$1" ] || { echo "disk $address has no block device"; echo b > /proc/sysrq-trigger; }
  name=${1##*/}
  expected=sd${letters%"${letters#?}"}
  letters=${letters#?}
  [ $name = $expected ] || [ $expected = sd ] || { echo "OUT_OF_ORDER"; echo b > /proc/sysrq-trigger; }
  ln -s ../../$name /dev/disk/by-path/scsi-$address
  # A disk that is still being probed: opening it waits for its partitions.
  : < /dev/$name
done
for port in /sys/class/virtio-ports/*; do
  read -r name < $port/name && ln -s ../${port##*/} /dev/virtio-ports/$name
done

read -r words < /proc/cmdline
channel=
for word in $words; do
  case $word in guestfs_channel=*) channel="--channel ${word#*=}" ;; esac
done
guestfsd $channel
sync
echo b > /proc/sysrq-trigger
""".replace(b"OUT_OF_ORDER", OUT_OF_ORDER.encode())

_FSTAB = b"""\
proc /proc proc defaults 0 0
sys /sys sysfs defaults 0 0
dev /dev devtmpfs defaults 0 0
run /run tmpfs mode=755 0 0
"""


@dataclass(frozen=True, slots=True)
class HostKernel:
    """A kernel of this host and the directory of its modules."""

    version: str
    image: Path
    modules: Path


def _version_order(text: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", text) if part]


def kernels() -> list[HostKernel]:
    """Return the host's kernels that have their modules, newest first, whether readable or not."""
    found = {}
    for modules in (*Path("/lib/modules").glob("*"), *Path("/usr/lib/modules").glob("*")):
        for image in (Path(f"/boot/vmlinuz-{modules.name}"), modules / "vmlinuz"):
            if modules.name not in found and image.exists() and (modules / "modules.dep").exists():
                found[modules.name] = HostKernel(modules.name, image, modules)
    return sorted(found.values(), key=lambda kernel: _version_order(kernel.version), reverse=True)


def supermin_directory() -> Path | None:
    """Return libguestfs' supermin.d, from which its appliance is built, or None when it is not installed."""
    for pattern in ("lib/*-linux-gnu*/guestfs", "lib64/guestfs", "lib/guestfs"):
        for directory in sorted(Path("/usr").glob(pattern)):
            if (directory / "supermin.d" / "daemon.tar.gz").exists():
                return directory / "supermin.d"
    return None


def readable_kernel() -> HostKernel:
    """Return the newest readable kernel of this host; raise `HostError` with a hint when there is none."""
    known = kernels()
    for kernel in known:
        if os.access(kernel.image, os.R_OK):
            return kernel
    if known:
        image = known[0].image
        raise HostError(f"{image} cannot be read, but libguestfs has to boot it", hint=f"sudo chmod 0644 {image}")
    raise HostError("this host has no kernel that libguestfs can boot", hint="apt-get install linux-image-amd64")


def _key(kernel: HostKernel, directory: Path) -> str:
    """Return the digest of everything the appliance is made from."""
    hashed = hashlib.sha256(f"{_RECIPE} {sorted(_UNNEEDED)} {_MODULES} {kernel.version}".encode())
    status = kernel.image.stat()
    hashed.update(f"{status.st_size} {status.st_mtime_ns}".encode())
    hashed.update(_INIT + _FSTAB)
    for file in sorted(directory.iterdir()):
        hashed.update(file.name.encode() + b"\0")
        hashed.update(file.read_bytes())
    # The packages that supermin copies from the host are covered by the package database.
    for database in ("/var/lib/dpkg/status", "/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite"):
        with contextlib.suppress(OSError):
            status = Path(database).stat()
            hashed.update(f"{status.st_size} {status.st_mtime_ns}".encode())
    return hashed.hexdigest()[:32]


def _dependencies(modules: Path) -> dict[str, list[str]]:
    """Map each module file to the files it depends on, from modules.dep (depmod(8))."""
    lines = (modules / "modules.dep").read_text().splitlines()
    return {name: needs.split() for name, _, needs in (line.partition(":") for line in lines)}


def _copy_modules(kernel: HostKernel, target: Path) -> None:
    needs = _dependencies(kernel.modules)
    by_name = {Path(file).name.partition(".ko")[0].replace("-", "_"): file for file in needs}
    wanted: dict[str, None] = {}
    queue = [by_name[name] for name in _MODULES if name in by_name]
    while queue:
        file = queue.pop()
        if file not in wanted:
            wanted[file] = None
            queue += needs[file]
    target.mkdir(parents=True)
    for file in wanted:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(kernel.modules / file, target / file)
    for name in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
        if (kernel.modules / name).exists():
            shutil.copyfile(kernel.modules / name, target / name)


def _init_tar() -> bytes:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("proc", "sys", "dev", "run", "sysroot", "tmp", "var", "var/tmp", "etc"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, content, mode in (("init", _INIT, 0o755), ("etc/fstab", _FSTAB, 0o644)):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))
        mtab = tarfile.TarInfo("etc/mtab")
        mtab.type, mtab.linkname = tarfile.SYMTYPE, "/proc/mounts"
        tar.addfile(mtab)
    return buffer.getvalue()


def _prepare(directory: Path, target: Path) -> None:
    """Copy supermin.d with a reduced package list and roost's init."""
    target.mkdir()
    for file in directory.iterdir():
        if file.name == "packages":
            kept = [name for name in file.read_text().split() if name not in _UNNEEDED]
            (target / "packages").write_text("".join(f"{name}\n" for name in kept))
        elif file.name == "init.tar.gz":
            (target / "init.tar.gz").write_bytes(_init_tar())
        elif file.name != "udev-rules.tar.gz":
            shutil.copyfile(file, target / file.name)


def _build(kernel: HostKernel, directory: Path, work: Path, log: Path | None) -> None:
    """Write the appliance's files to `work`/appliance."""
    _prepare(directory, work / "supermin.d")
    modules = work / "modules/lib/modules" / kernel.version
    _copy_modules(kernel, modules)
    # The kernel requests a file system's module by an alias, which modprobe looks up in depmod's indices.
    process.run(["depmod", "-b", work / "modules", kernel.version], deadline=60, log=log)
    process.run(
        [
            *("supermin", "--build", "--format", "ext2", "--size", "1G", "--copy-kernel"),
            *("--host-cpu", os.uname().machine, "-o", work / "appliance", work / "supermin.d"),
        ],
        deadline=180,
        log=log,
        env={
            "SUPERMIN_KERNEL": str(kernel.image),
            "SUPERMIN_KERNEL_VERSION": kernel.version,
            "SUPERMIN_MODULES": str(modules),
            "TMPDIR": str(work),
        },
        what="building libguestfs' appliance",
    )
    unpacked = bzimage.for_qemu(kernel.image)
    if unpacked is not None:
        (work / "appliance" / "kernel").write_bytes(unpacked)
    (work / "appliance" / "README.fixed").write_text(
        "Built by roost from the installed libguestfs; see roost.host.appliance.\n"
    )


def path(log: Path | None = None) -> Path | None:
    """Return the directory of the quick appliance for LIBGUESTFS_PATH; build it if it is not in the cache.

    None means that the stock appliance must be used: this one could not be built, or recently failed to start
    (`give_up`). Raises `HostError` when libguestfs cannot work at all: not installed, or no readable kernel.
    """
    directory = supermin_directory()
    if directory is None:
        raise HostError("libguestfs is not installed", hint="apt-get install python3-guestfs supermin")
    kernel = readable_kernel()
    cache = paths.cache_root() / "appliance"
    final = cache / _key(kernel, directory)
    with contextlib.suppress(OSError):
        if time.time() - (final / "unusable").stat().st_mtime < GIVEN_UP:
            return None
    if (final / "README.fixed").exists():
        # `inv gc` removes what has not been used for long.
        with contextlib.suppress(OSError):
            os.utime(final)
        return final
    cache.mkdir(parents=True, exist_ok=True)
    with temporary.directory("appliance", cache, hidden=True) as work:
        try:
            # Built once for the host; not part of any stage.
            with declared.only(None):
                _build(kernel, directory, work, log)
        except (ToolError, HostError, OSError, KeyError, struct.error):
            return None
        # Another process may have been first: then its result is kept.
        with contextlib.suppress(OSError):
            (work / "appliance").rename(final)
    _drop_others(cache, final)
    return final


def _drop_others(cache: Path, final: Path) -> None:
    """Remove appliances of other kernels or releases that are a week older."""
    for directory in cache.iterdir():
        if directory != final and directory.stat().st_mtime < final.stat().st_mtime - 7 * 86400:
            shutil.rmtree(directory, ignore_errors=True)


def give_up(appliance: Path) -> None:
    """Record that an appliance does not start here, so that the stock one is used for an hour."""
    with contextlib.suppress(OSError):
        (appliance / "unusable").touch()
