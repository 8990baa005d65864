"""A guest without an operating system: GRUB alone reads a number from its disk, writes a result there, and powers off.

It boots in half a second without KVM and is 2 MiB: what the harness and HTCondor's own behaviour need, with nothing of
roost in it. The number and the result are a GRUB environment block, the file `result` on an ext2 partition. One disk:
with HTCondor's `-boot strict=on` the BIOS, so GRUB, sees no other than the boot disk.
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from pathlib import Path

from tests.pool import disks

MODULES = ("biosdisk", "part_msdos", "serial", "terminal", "echo", "loadenv", "ext2", "halt", "test", "chain", "boot")
MiB = 1 << 20
SECTOR = 512
BLOCK = 1024
SCRIPT = """\
serial --unit=0 --speed=115200
terminal_output serial
echo "tiny: started"
load_env -f (hd0,msdos1)/result
result="$input done"
save_env -f (hd0,msdos1)/result result
echo "tiny: finished"
"""
POWER_OFF = "halt\n"
#: A guest that never ends, and costs nothing: it boots a sector that only halts the processor until the next interrupt.
#: GRUB's own `sleep` takes a core.
LAST = MiB // SECTOR - 1
HALTED = b"\xfb\xf4\xeb\xfd".ljust(SECTOR - 2, b"\0") + b"\x55\xaa"
HANG = f"chainloader --force (hd0){LAST}+1\nboot\n"


def make(path: Path, number: int = 42, *, format: str = "raw", end: str = POWER_OFF) -> Path:
    """Write the disk: boot sector, partition table, GRUB's core image with the script, ext2 with `number`."""
    modules = next(Path(name) for name in ("/usr/lib/grub/i386-pc", "/usr/share/grub/i386-pc") if Path(name).is_dir())
    with tempfile.TemporaryDirectory() as name:
        script, core, raw, tree = (Path(name) / part for part in ("early.cfg", "core.img", "disk.raw", "tree"))
        script.write_text(SCRIPT + end)
        argv = ["grub-mkimage", "-d", str(modules), "-O", "i386-pc", "-p", "/none", "-c", str(script), "-o", str(core)]
        _call(*argv, *MODULES)
        # One partition of type 0x83: the second MiB.
        entry = struct.pack("<B3sB3sII", 0, bytes(3), 0x83, bytes(3), MiB // SECTOR, MiB // SECTOR)
        boot = (modules / "boot.img").read_bytes()[:446] + entry.ljust(64, b"\0") + b"\x55\xaa"
        raw.write_bytes(((boot + core.read_bytes()).ljust(LAST * SECTOR, b"\0") + HALTED).ljust(2 * MiB, b"\0"))
        tree.mkdir()
        (tree / "result").write_text(f"# GRUB Environment Block\ninput={number}\n".ljust(BLOCK, "#"))
        _call("mke2fs", "-q", "-F", "-t", "ext2", "-E", f"offset={MiB}", "-d", str(tree), str(raw), "1M")
        _call("qemu-img", "convert", "-O", format, str(raw), str(path))
    path.chmod(0o644)
    return path


def _call(*argv: str) -> None:
    subprocess.run(argv, check=True, timeout=60, capture_output=True)


def result(disk: Path) -> str:
    """Return what the guest left on its disk, `NUMBER done`; empty when it did not run."""
    block = (disks.cat(disk, "/result") or b"").decode()
    found = [line.removeprefix("result=") for line in block.splitlines() if line.startswith("result=")]
    return found[0] if found else ""
