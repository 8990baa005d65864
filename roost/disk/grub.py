"""GRUB for BIOS, written into a disk file without mounting it, and the grub.cfg that GRUB and pygrub read.

boot.img goes into the first sector, around the partition table; it loads the first sector of the core image
(diskboot.img), which loads the rest. Their locations are patched into both, as grub-install's setup does (GRUB source:
boot/i386/pc/boot.S, diskboot.S, include/grub/offsets.h).
"""

from __future__ import annotations

import struct
from pathlib import Path
from uuid import UUID

from roost.disk.layout import SECTOR, Layout
from roost.disk.tools import Tools
from roost.errors import HostError, ImageError, UsageError
from roost.host import process, temporary
from roost.recipe import cmdline as command_lines
from roost.recipe.model import FileSystem, Recipe

#: Modules in the core image: nothing is loaded from the image's file system.
MODULES = [
    "biosdisk",
    "part_msdos",
    "part_gpt",
    "normal",
    "linux",
    "linux16",
    "search",
    "search_fs_uuid",
    "search_label",
    "serial",
    "terminal",
    "configfile",
    "echo",
    "test",
    "ls",
    "cat",
    "halt",
    "reboot",
]
FILESYSTEM_MODULES: dict[FileSystem, tuple[str, ...]] = {
    "ext4": ("ext2",),
    "ext3": ("ext2",),
    "ext2": ("ext2",),
    "vfat": ("fat",),
    "xfs": ("xfs",),
    "btrfs": ("btrfs",),
    "squashfs": ("squash4",),
}
#: Directories of GRUB's modules for BIOS in distributions, and how to install them.
DIRECTORIES = ("/usr/lib/grub/i386-pc", "/usr/share/grub/i386-pc", "/usr/local/lib/grub/i386-pc")
INSTALL = "apt-get install grub-pc-bin grub-common (Enterprise Linux: grub2-pc-modules grub2-tools-minimal)"

#: boot.S: the sector of the core image (64 bits), and the jump that skips a work-around for old BIOSes.
KERNEL_SECTOR = 0x5C
DRIVE_CHECK = 0x66
#: The boot sector's code ends here: Windows' disk signature and the partition table follow, up to the 55 AA.
CODE_END = 0x1B8
#: diskboot.S: its end has the first entry of the block list: sector (64 bits), count, segment (16 each).
BLOCK_LIST = SECTOR - 12

#: grub.cfg has whole blocks of this many bytes.
BLOCK = 4096
FILLER = "# Filled up to whole blocks: another of the same size can replace this file in a finished disk."


def early_configuration(boot_uuid: UUID | str, directory: str) -> str:
    """Return the configuration inside the core image: console, and grub.cfg's `directory`, such as /boot/grub."""
    return (
        "serial --unit=0 --speed=115200\n"
        "terminal_input --append serial\n"
        "terminal_output --append serial\n"
        f"search.fs_uuid {boot_uuid} root\n"
        f"set prefix=($root){_quoted(directory)}\n"
    )


def grub_cfg(recipe: Recipe, kernel_path: str, initrd_path: str | None, cmdline: str, boot_uuid: UUID | str) -> str:
    """Return the text of grub.cfg, whole blocks of it.

    The kernel is started by `linux16`, through its own setup code. `linux` starts it past that code, but reads it to
    1 MiB and then moves the 50 MB that it asks for to 16 MiB, byte by byte (GRUB source: loader/i386/linux.c,
    lib/relocator.c), which takes 1.6 s of a boot without KVM.

    Paths are absolute in the file system that holds them, `boot_uuid` is that file system's, `cmdline` the kernel's
    parameters. Raises `UsageError` for parameters that GRUB or, with hypervisor xen, pygrub cannot pass on, and for
    more of them than the kernel takes.
    """
    words = [kernel_path, *cmdline.split()]
    paths = [kernel_path] if initrd_path is None else [kernel_path, initrd_path]
    for word in words + paths[1:]:
        _raise(command_lines.refusal(word, pygrub="xen" in recipe.hypervisors))
    _raise(command_lines.too_long(recipe, " ".join(words[1:]), len(f"BOOT_IMAGE={kernel_path} ".encode())))
    lines = [
        f"# {recipe.name}: written by roost. GRUB and pygrub read this file.",
        "set timeout=0",
        "set default=0",
        f"menuentry '{recipe.name}' {{",
        f"\tsearch --no-floppy --fs-uuid --set=root {boot_uuid}",
        f"\tlinux16 {' '.join(map(_quoted, words))}",
    ]
    if initrd_path is not None:
        lines.append(f"\tinitrd16 {_quoted(initrd_path)}")
    text = "\n".join([*lines, "}", FILLER])
    return text + " " * (-(len(text.encode()) + 1) % BLOCK) + "\n"


def _raise(refused: tuple[str, str] | None) -> None:
    if refused is not None:
        what, hint = refused
        raise UsageError(what, hint=hint)


def _quoted(word: str) -> str:
    return word if command_lines.PLAIN.fullmatch(word) else "'" + word.replace("'", "'\\''") + "'"


def core_image(filesystem: FileSystem, early: str, log: Path, modules: Path | None = None) -> tuple[bytes, bytes]:
    """Return GRUB's boot sector and a core image that reads `filesystem` and runs `early`. Always the same bytes."""
    places = [modules] if modules is not None else [Path(name) for name in DIRECTORIES]
    directory = next((place for place in places if (place / "boot.img").is_file()), None)
    tool = next((name for name in ("grub-mkimage", "grub2-mkimage") if process.which(name)), None)
    if directory is None or tool is None:
        raise HostError("GRUB for BIOS is not installed", hint=INSTALL)
    with temporary.directory("grub") as scratch:
        (scratch / "early.cfg").write_text(early)
        argv = [tool, "--directory", str(directory), "--format", "i386-pc", "--prefix", "/boot/grub"]
        argv += ["--config", "early.cfg", "--output", "core.img", *MODULES, *FILESYSTEM_MODULES[filesystem]]
        process.run(argv, deadline=60, cwd=scratch, log=log, what="cannot make GRUB's core image")
        return (directory / "boot.img").read_bytes(), (scratch / "core.img").read_bytes()


def embedded(boot: bytes, core: bytes, sector: int) -> tuple[bytes, bytes]:
    """Return the first `CODE_END` bytes of the boot sector and the core image, patched for location `sector`.

    Raises `ImageError` when they are not as GRUB 2 makes them.
    """
    if len(boot) != SECTOR or len(core) <= SECTOR or boot[SECTOR - 2 :] != b"\x55\xaa":
        raise ImageError("GRUB's boot.img or core.img has the wrong size", hint=INSTALL)
    start, count, segment = struct.unpack_from("<QHH", core, BLOCK_LIST)
    rest = -(-len(core) // SECTOR) - 1
    if (start, count) != (2, rest) or boot[DRIVE_CHECK] != 0xEB or boot[KERNEL_SECTOR : KERNEL_SECTOR + 8] != _SECTOR_1:
        raise ImageError("GRUB's boot.img or core.img was not made by GRUB 2", hint=INSTALL)
    code = bytearray(boot[:CODE_END])
    struct.pack_into("<Q", code, KERNEL_SECTOR, sector)
    # grub-install does the same for hard disks: some BIOSes pass a wrong drive number.
    code[DRIVE_CHECK : DRIVE_CHECK + 2] = b"\x90\x90"
    patched = bytearray(core)
    struct.pack_into("<QHH", patched, BLOCK_LIST, sector + 1, count, segment)
    return bytes(code), bytes(patched)


_SECTOR_1 = struct.pack("<Q", 1)


def install(
    disk: Path, layout: Layout, *, boot_uuid: UUID | str, filesystem: FileSystem, directory: str, tools: Tools
) -> None:
    """Make the disk file boot: GRUB looks for `directory`/grub.cfg on the file system with `boot_uuid`.

    The partition table and the disk's signature do not change. Raises `ImageError` when the core image does not fit
    into the space in the layout.
    """
    if layout.core is None:
        raise ImageError(f"disk {layout.disk} has no room for a boot loader", hint="give it partitions")
    boot, core = core_image(filesystem, early_configuration(boot_uuid, directory), tools.log("grub"), tools.grub)
    if len(core) > layout.core.size:
        raise ImageError(
            f"GRUB's core image ({len(core)} bytes) does not fit before the first partition ({layout.core.size} bytes)"
        )
    code, core = embedded(boot, core, layout.core.offset // SECTOR)
    with disk.open("r+b") as file:
        file.write(code)
        file.seek(layout.core.offset)
        file.write(core)
