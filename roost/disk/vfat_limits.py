"""What FAT cannot hold: characters, sizes, two names that differ only in case. Pure.

Microsoft, FAT: General Overview of On-Disk Format; Linux, fs/fat/namei_vfat.c. Names are compared without case, are
UTF-16, and lose trailing dots and blanks. A file's size has 32 bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

#: Bytes of the largest file.
FILE = (1 << 32) - 1
#: UTF-16 units of the longest name.
NAME = 255
FORBIDDEN = frozenset('"*/:<>?\\|')


def bad_name(name: str) -> str | None:
    """Return why FAT has no such name, or None."""
    odd = sorted({char for char in name if char in FORBIDDEN or ord(char) < 32 or ord(char) == 127})
    if odd:
        return f"vfat has no {' '.join(char if char.isprintable() else f'0x{ord(char):02x}' for char in odd)} in names"
    if any("\udc80" <= char <= "\udcff" for char in name):
        return "vfat has no names that are not UTF-8"
    if name.endswith((".", " ")):
        return f"vfat drops the {'dot' if name.endswith('.') else 'blank'} at the end of a name"
    if len(name.encode("utf-16-le", "surrogatepass")) // 2 > NAME:
        return f"vfat has names of at most {NAME} characters"
    return None


def folded(path: str) -> str:
    """Return the key under which FAT finds a path: two paths with one key are one file."""
    return path.upper()


def twins(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each path, or directory of one, that differs only in case from an earlier one, with that one; each once."""
    seen: dict[str, str] = {}
    told: set[str] = set()
    for path in paths:
        parts = path.strip("/").split("/")
        for depth in range(1, len(parts) + 1):
            part = "/".join(parts[:depth])
            first = seen.setdefault(folded(part), part)
            if first != part:
                if part not in told:
                    yield part, first
                told.add(part)
                break
