"""The busybox initrd: busybox, the drivers that HTCondor's hardware needs, and a script that finds the root.

It is for trees without initramfs-tools: a few megabytes that boot in a second, the same bytes for the same tree.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard

from roost.errors import ImageError
from roost.host import decompress, files, process, rooted, temporary
from roost.kernel import inspect

BUSYBOX = ("bin/busybox", "usr/bin/busybox")
#: Paths of the dynamic loader in a program that is not static; linkers put them on the first page.
INTERPRETERS = (b"/lib64/ld-", b"/lib/ld-")
APPLETS = ("sh", "mount", "umount", "insmod", "cat", "findfs", "sleep", "switch_root", "poweroff", "mkdir")

INIT = """\
#!/bin/sh
# Written by roost: load the drivers, find the root file system, go on there.
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
while read -r module; do insmod "/modules/$module" 2>/dev/null; done </modules/order

root= flags= mode=ro init=/sbin/init
for word in $(cat /proc/cmdline); do
	case $word in
	root=*) root=${word#root=} ;;
	rootflags=*) flags=,${word#rootflags=} ;;
	init=*) init=${word#init=} ;;
	ro | rw) mode=$word ;;
	esac
done

# The kernel's log reaches every console, /dev/console is but one of them; 2 is critical: quiet does not hide it.
lost() { echo "<2>roost: no root file system: $1" >/dev/kmsg; }

# Ten seconds by the clock: disks of slow buses come late. A look takes a second where Xen is emulated.
device=
read -r begin _ </proc/uptime
while :; do
	case $root in
	UUID=* | LABEL=*) device=$(findfs "$root" 2>/dev/null) ;;
	*) [ -b "$root" ] && device=$root ;;
	esac
	[ -n "$device" ] && break
	read -r now _ </proc/uptime
	[ $((${now%.*} - ${begin%.*})) -lt 10 ] || break
	sleep 0.1
done
if [ -z "$device" ]; then
	lost "root=$root is on no disk"
elif ! mount -o "$mode$flags" "$device" /sysroot; then
	lost "$device cannot be mounted"
elif [ ! -x "/sysroot$init" ] && [ ! -L "/sysroot$init" ]; then
	lost "$device has no $init"
else
	umount /sys
	mount -o move /dev /sysroot/dev
	umount /proc
	exec switch_root /sysroot "$init"
fi
# A machine that hangs here would keep its slot in the pool for ever.
poweroff -f
"""


@dataclass(frozen=True, slots=True)
class Payload:
    """The contents of an initrd: modules by name, the time of its files, a static busybox (None: the tree's own)."""

    modules: Sequence[str]
    epoch: int
    busybox: Path | None = None


def make(tree: Path, version: str, payload: Payload, output: Path, log: Path) -> None:
    """Write the initrd of kernel `version` in `tree` to `output`: a newc cpio(5), compressed with zstd.

    The tree may be untrusted: links cannot lead out of it. Raises `ImageError` when there is no busybox, or when the
    kernel has no driver for any virtual disk.
    """
    modules = rooted.resolve(tree, f"lib/modules/{version}")
    busybox = payload.busybox
    if busybox is None:
        own = [rooted.resolve(tree, path) for path in BUSYBOX if rooted.is_file(tree, path)]
        if not own:
            raise ImageError(
                "the busybox initrd needs busybox in the tree", hint="add busybox-static to os.debian.packages"
            )
        busybox = own[0]
        if _needs_loader(busybox):
            raise ImageError(
                "the tree's busybox needs shared libraries, which the initrd does not have", hint="use busybox-static"
            )
    if not rooted.is_file(modules, "modules.dep"):
        raise ImageError(
            f"the tree has no modules of its kernel {version}", hint="are /boot and /lib/modules of one kernel?"
        )
    absent = set(inspect.missing(modules, payload.modules))
    if "virtio_blk" in absent:
        raise ImageError(f"kernel {version} has no virtio_blk: no root disk can be read", hint="use another kernel")
    with temporary.directory("initrd") as top:
        for directory in ("bin", "dev", "modules", "proc", "sys", "sysroot", "run"):
            (top / directory).mkdir()
        shutil.copyfile(busybox, top / "bin/busybox")
        (top / "bin/busybox").chmod(0o755)
        for applet in APPLETS:
            (top / "bin" / applet).symlink_to("busybox")
        order = []
        for number, relative in enumerate(inspect.closure(modules, payload.modules)):
            target = f"{number:03d}-{Path(relative).name.split('.ko')[0]}.ko"
            (top / "modules" / target).write_bytes(_unpacked(rooted.resolve(modules, relative)))
            order.append(target)
        (top / "modules/order").write_text("".join(f"{line}\n" for line in order))
        (top / "init").write_text(INIT)
        (top / "init").chmod(0o755)
        _pack(top, payload.epoch, output, log)


def _needs_loader(program: Path) -> bool:
    with files.open_regular(program) as file:
        head = file.read(4096)
    return any(mark in head for mark in INTERPRETERS)


#: Size limit of an unpacked module in bytes.
_LARGEST = 256 << 20


def _unpacked(module: Path) -> bytes:
    """Return a module's bytes uncompressed: busybox's insmod cannot read compressed modules."""
    data = module.read_bytes()
    if decompress.compression(data[:16]) is None:
        return data
    try:
        return decompress.unpack(io.BytesIO(data), _LARGEST)
    except decompress.CorruptError as error:
        raise ImageError(f"the module {module.name} cannot be unpacked: {error}") from error


def _pack(top: Path, epoch: int, output: Path, log: Path) -> None:
    names = ["."]
    for directory, directories, others in files.walk(top):
        names += [os.path.relpath(os.path.join(directory, name), top) for name in (*directories, *others)]  # noqa: PTH118
    for name in names:
        os.utime(top / name, (epoch, epoch), follow_symlinks=False)
    archive = process.run(
        ["cpio", "--quiet", "--null", "--create", "--format=newc", "--reproducible", "--owner=0:0"],
        deadline=60,
        stdin=b"".join(os.fsencode(name) + b"\0" for name in sorted(names)),
        cwd=top,
        capture=True,
        log=log,
    ).stdout
    # Not the host's zstd: its output differs between releases, and all hosts must make the same bytes.
    packer = zstandard.ZstdCompressor(level=10, write_checksum=True, threads=0)
    output.write_bytes(packer.compress(without_links(archive)))
    output.chmod(0o644)


#: Size of a newc header in bytes, and offsets of its eight-digit fields (cpio(5)): mode, links, file and name size.
_HEADER = 110
_MODE, _LINKS, _SIZE, _NAME = (slice(at, at + 8) for at in (14, 38, 54, 94))


def without_links(archive: bytes) -> bytes:
    """Return a newc archive in which each directory has two links, as `cpio --ignore-dirnlink` of 2.14 makes it.

    The link count of a directory depends on the file system that it was packed from.
    """
    found = bytearray(archive)
    at = 0
    while found[at : at + 6] == b"070701":
        head = bytes(found[at : at + _HEADER])
        if stat.S_ISDIR(int(head[_MODE], 16)):
            found[at + _LINKS.start : at + _LINKS.stop] = b"00000002"
        at = -(-(at + _HEADER + int(head[_NAME], 16)) // 4) * 4
        at = -(-(at + int(head[_SIZE], 16)) // 4) * 4
    return bytes(found)
