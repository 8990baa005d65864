"""Programs of a few bytes, as a kernel looks at them."""

from __future__ import annotations

import struct


def elf(machine: int = 62, kind: int = 2, *, order: str = "<", wide: bool = True, loader: str | None = None) -> bytes:
    """Return the beginning of an ELF program."""
    name = b"" if loader is None else loader.encode() + b"\0"
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + bytes(9)
    if wide:
        head = struct.pack(f"{order}HHIQQQIHHHHHH", kind, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
        part = struct.pack(f"{order}IIQQQQQQ", 3 if name else 1, 4, 120, 0, 0, len(name), len(name), 1)
    else:
        head = struct.pack(f"{order}HHIIIIIHHHHHH", kind, machine, 1, 0, 52, 0, 0, 52, 32, 1, 0, 0, 0)
        part = struct.pack(f"{order}IIIIIIII", 3 if name else 1, 84, 0, 0, len(name), len(name), 4, 1)
    return ident + head + part + name
