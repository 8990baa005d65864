"""What FAT cannot store: characters, sizes, two names that differ only in case. Pure.

Microsoft, FAT: General Overview of On-Disk Format; Linux, fs/fat/namei_vfat.c. Names are compared ignoring case, are
UTF-16, and lose trailing dots and blanks. A file's size has 32 bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

#: Bytes of the largest file.
FILE = (1 << 32) - 1
#: UTF-16 units of the longest name.
NAME = 255
#: Entries of the root directory of FAT12 and FAT16, and the size in bytes from which mkfs.vfat makes FAT32.
ROOT, FAT32 = 512, 512 << 20
_SHORT = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'()-@^_`{}~")
FORBIDDEN = frozenset('"*/:<>?\\|')


def bad_name(name: str) -> str | None:
    """Return why a name is invalid on FAT, or None."""
    odd = sorted({char for char in name if char in FORBIDDEN or ord(char) < 32 or ord(char) == 127})
    if odd:
        return f"vfat has no {' '.join(char if char.isprintable() else f'0x{ord(char):02x}' for char in odd)} in names"
    if any("\udc80" <= char <= "\udcff" for char in name):
        return "vfat allows only UTF-8 names"
    if name.endswith((".", " ")):
        return f"vfat drops the {'dot' if name.endswith('.') else 'blank'} at the end of a name"
    if len(name.encode("utf-16-le", "surrogatepass")) // 2 > NAME:
        return f"vfat allows names of at most {NAME} characters"
    return None


def entries(name: str) -> int:
    """Return how many entries of 32 bytes a name takes: one for 8.3, otherwise one more for each 13 UTF-16 units.

    Lower case also fits 8.3 if a part has no upper case (as mtools 4.0.32 does it).
    """
    parts = name.split(".")
    fits = len(parts) <= 2 and all(0 < len(part) <= most for part, most in zip(parts, (8, 3), strict=False))
    if fits and all(part in {part.upper(), part.lower()} and set(part.upper()) <= _SHORT for part in parts):
        return 1
    return 1 + -(-(len(name.encode("utf-16-le", "surrogatepass")) // 2) // 13)


def beyond_root(names: Iterable[str], size: int, label: str | None) -> str | None:
    """Return the first of the names in the root directory for which no entry is left, or None.

    `size` is that of the file system in bytes: from 512 MiB on, mkfs.vfat makes FAT32 (mkfs.fat.c, establish_params),
    whose root directory is a file and grows.
    """
    if size >= FAT32:
        return None
    left = ROOT - (1 if label else 0)
    for name in names:
        left -= entries(name)
        if left < 0:
            return name
    return None


def folded(path: str) -> str:
    """Return the key of a path on FAT: two paths with the same key are one file."""
    return path.upper()


def twins(paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield each path or directory that differs only in case from an earlier one, with that one; each once."""
    seen: dict[str, str] = {}
    reported: set[str] = set()
    for path in paths:
        parts = path.strip("/").split("/")
        for depth in range(1, len(parts) + 1):
            part = "/".join(parts[:depth])
            first = seen.setdefault(folded(part), part)
            if first != part:
                if part not in reported:
                    yield part, first
                reported.add(part)
                break
