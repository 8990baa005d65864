"""How a finished image boots and mounts: grub.cfg and fstab, parsed as GRUB and mount(8) do.

Pure functions over the files' text; shares no code with what wrote the files.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

#: Magic at the start of an initrd: cpio (newc), and the compressions that Linux unpacks.
INITRD_MAGIC = (
    b"070701",
    b"070702",
    b"\x1f\x8b",
    b"\x28\xb5\x2f\xfd",
    b"\xfd7zXZ",
    b"\x02\x21\x4c\x18",
    b"BZh",
    b"\x5d\0\0",
    b"\x89LZO",
)
#: Pseudo file systems, which need no disk.
PSEUDO = frozenset(
    {"proc", "sysfs", "tmpfs", "devtmpfs", "devpts", "debugfs", "securityfs", "cgroup2", "overlay", "none"}
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One menu entry: the kernel's path, its command line, the initrds' paths."""

    title: str
    kernel: str | None
    command_line: tuple[str, ...]
    initrds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of fstab(5), escapes resolved."""

    source: str
    target: str
    filesystem: str
    options: tuple[str, ...]


def menu(text: str) -> list[Entry]:
    """Return the menu entries of a grub.cfg in order, including those in submenus."""
    found: list[Entry] = []
    title: str | None = None
    kernel: list[str] = []
    initrds: list[str] = []
    for line in text.splitlines():
        words = _words(line)
        if not words:
            continue
        if words[0] == "menuentry":
            title, kernel, initrds = words[1] if len(words) > 1 else "", [], []
        elif title is None:
            continue
        elif words[0] in {"linux", "linux16", "linuxefi"} and len(words) > 1:
            kernel = words[1:]
        elif words[0] in {"initrd", "initrd16", "initrdefi"}:
            initrds += words[1:]
        elif words[0] == "}":
            found.append(Entry(title, kernel[0] if kernel else None, tuple(kernel[1:]), tuple(initrds)))
            title = None
    return found


def _words(line: str) -> list[str]:
    """Return the words of a line of GRUB's shell without quotes, backslashes and comments."""
    words: list[str] = []
    for match in re.finditer(r"#.*|((?:\\.|'[^']*'|\"(?:\\.|[^\"\\])*\"|[^\s'\"\\#]|(?<=\S)#)+)", line):
        if match[1] is None:
            break
        words.append(re.sub(r"\\(.)|'([^']*)'|\"((?:\\.|[^\"\\])*)\"", _unquoted, match[1]))
    return words


def _unquoted(match: re.Match[str]) -> str:
    if match[1] is not None:
        return match[1]
    return match[2] if match[2] is not None else re.sub(r"\\(.)", r"\1", match[3])


def mounts(text: str) -> list[Mount]:
    """Return the lines of an fstab."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        if fields and not fields[0].startswith("#") and len(fields) >= 3:
            source, target, kind = (_unescaped(field) for field in fields[:3])
            options = tuple(fields[3].split(",")) if len(fields) > 3 else ()
            found.append(Mount(source, target, kind, options))
    return found


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)


def kernel_version(head: bytes) -> str | None:
    """Return the release in the first 32 KiB of a bzImage, or None if this is not an x86 kernel.

    Documentation/arch/x86/boot.rst: "HdrS" at 0x202, the offset of the version string, less 0x200, at 0x20e.
    """
    if len(head) < 0x210 or head[0x202:0x206] != b"HdrS":
        return None
    start = struct.unpack_from("<H", head, 0x20E)[0] + 0x200
    text = head[start : start + 256].split(b"\0")[0].split(b" ")[0].decode("ascii", "replace")
    return text or None
