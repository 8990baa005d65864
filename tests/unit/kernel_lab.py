"""Kernels, initrds and trees of a few bytes, made as Linux' build makes them."""

from __future__ import annotations

import bz2
import gzip
import lzma
import struct
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import lz4.block
import zstandard

RELEASE = "6.1.0-9-test"
BANNER = "(someone@example.org) #1 SMP PREEMPT_DYNAMIC Debian 6.1.9-1 (2026-01-02)"

#: A module's file by its name, and what it needs, as depmod lists them.
MODULES = {
    "virtio": "drivers/virtio/virtio.ko",
    "virtio_pci": "drivers/virtio/virtio_pci.ko",
    "virtio_blk": "drivers/block/virtio_blk.ko",
    "xen_blkfront": "drivers/block/xen-blkfront.ko",
    "sd_mod": "drivers/scsi/sd_mod.ko",
    "ata_piix": "drivers/ata/ata_piix.ko",
    "sym53c8xx": "drivers/scsi/sym53c8xx_2/sym53c8xx.ko",
    "ext4": "fs/ext4/ext4.ko",
    "crc32c_generic": "crypto/crc32c_generic.ko",
    "xfs": "fs/xfs/xfs.ko",
}
NEEDS = {"virtio_pci": ("virtio",), "virtio_blk": ("virtio",)}


def lz4_legacy(data: bytes) -> bytes:
    """Pack as `lz4 -l` does."""
    out = struct.pack("<I", 0x184C2102)
    for start in range(0, len(data), 8 << 20):
        block = lz4.block.compress(data[start : start + (8 << 20)], store_size=False)
        out += struct.pack("<I", len(block)) + block
    return out


PACK = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "xz": lambda data: lzma.compress(data, lzma.FORMAT_XZ, lzma.CHECK_CRC32),
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "bzip2": bz2.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "lz4": lz4_legacy,
}


def elf(notes: Iterable[int], owner: bytes = b"Xen\0") -> bytes:
    """Return a 64-bit ELF file with one segment of notes."""
    body = b"".join(struct.pack("<III", len(owner), 8, kind) + owner.ljust(4, b"\0") + bytes(8) for kind in notes)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIQQQIHHHHHH", 2, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0
    )
    segment = struct.pack("<IIQQQQQQ", 4, 4, 120, 0, 0, len(body), len(body), 4)
    return header + segment + body


def bzimage(release: str = RELEASE, packed: str | None = "gzip", kernel: bytes | None = None) -> bytes:
    """Return a bzImage: a setup of four sectors, then the packed kernel with its size behind it."""
    content = elf([1, 18]) if kernel is None else kernel
    payload = PACK[packed](content) + struct.pack("<I", len(content)) if packed else bytes(64)
    setup = bytearray(5 * 512)
    setup[0x1F1] = 4
    setup[0x202:0x206] = b"HdrS"
    text = f"{release} {BANNER}".encode() + b"\0"
    struct.pack_into("<HH", setup, 0x206, 0x20F, 0)
    struct.pack_into("<H", setup, 0x20E, 0x300)
    struct.pack_into("<II", setup, 0x248, 128, len(payload))
    setup[0x500 : 0x500 + len(text)] = text
    return bytes(setup) + bytes(128) + payload + bytes(64)


def newc(entries: Mapping[str, bytes | None], trailer: bool = True) -> bytes:
    """Return a newc archive; None is a directory."""
    out = b""
    for number, (name, content) in enumerate([*entries.items(), *([("TRAILER!!!", b"")] if trailer else [])]):
        mode = 0o40755 if content is None else 0o100644
        data = content or b""
        raw = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        out += (header + raw).ljust(-(-(len(header) + len(raw)) // 4) * 4, b"\0")
        out += data.ljust(-(-len(data) // 4) * 4, b"\0")
    return out


def module(name: str, release: str = RELEASE) -> bytes:
    """Return what is looked at of a module."""
    return (
        b"\x7fELF"
        + b"\0license=GPL\0vermagic="
        + release.encode()
        + b" SMP preempt mod_unload \0name="
        + name.encode()
        + b"\0"
    )


def initrd(names: Iterable[str], release: str = RELEASE, packed: str = "zstd") -> bytes:
    """Return an initrd as initramfs-tools makes it: microcode in front, then a packed archive with modules."""
    early = newc({"kernel": None, "kernel/x86/microcode/GenuineIntel.bin": b"microcode"})
    files: dict[str, bytes | None] = {"init": b"#!/bin/sh\n"}
    files |= {f"usr/lib/modules/{release}/kernel/{MODULES[name]}": module(name, release) for name in names}
    return early.ljust(-(-len(early) // 512) * 512, b"\0") + PACK[packed](newc(files))


def tree(
    root: Path,
    *,
    release: str = RELEASE,
    builtin: Iterable[str] = (),
    loadable: Iterable[str] = tuple(MODULES),
    in_initrd: Iterable[str] | None = ("virtio", "virtio_pci", "virtio_blk", "xen_blkfront", "ext4", "crc32c_generic"),
    present: bool = True,
    config: str | None = "CONFIG_XEN=y\nCONFIG_XEN_PV=y\n",
    packed: str | None = "gzip",
) -> Path:
    """Write a tree with a kernel; `present` false leaves the files of its modules out, as an exclude does."""
    boot, modules = root / "boot", root / "usr/lib/modules" / release
    boot.mkdir(parents=True)
    modules.mkdir(parents=True)
    (root / "lib").symlink_to("usr/lib")
    (boot / f"vmlinuz-{release}").write_bytes(bzimage(release, packed))
    if config is not None:
        (boot / f"config-{release}").write_text(config)
    if in_initrd is not None:
        (boot / f"initrd.img-{release}").write_bytes(initrd(in_initrd, release))
    loadable = tuple(loadable)
    (modules / "modules.builtin").write_text("".join(f"kernel/{MODULES.get(name, f'{name}.ko')}\n" for name in builtin))
    (modules / "modules.dep").write_text(
        "".join(
            f"kernel/{MODULES[name]}: {' '.join(f'kernel/{MODULES[need]}' for need in NEEDS.get(name, ()))}\n"
            for name in loadable
        )
    )
    for name in loadable if present else ():
        path = modules / "kernel" / MODULES[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(module(name, release))
    return root


def tar(directory: Path, archive: Path, *options: str) -> Path:
    """Pack a directory's content."""
    subprocess.run(["tar", "-C", str(directory), *options, "-cf", str(archive), "."], check=True)
    return archive
