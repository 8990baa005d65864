"""Executable files by their first bytes: programs for another machine, and `#!` lines that Linux misreads.

Sources: execve(2), elf(5), env(1). Images are for x86-64.
"""

from __future__ import annotations

import re
import struct

_X86_64, _I386 = 62, 3
_MACHINES = {40: "32-bit ARM", 183: "aarch64", 243: "RISC-V", 21: "ppc64", 22: "s390x", 8: "MIPS", 258: "LoongArch"}
_RELOCATABLE, _CORE = 1, 4
_INTERPRETER = 3
_MACH = (b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
#: Interpreters that take `-e -u` as one word for one option; perl parses the line itself.
_ONE_WORD = re.compile(r"(?:ba|da|a|z|k)?sh|python[\d.]*")


def foreign(head: bytes) -> str | None:
    """Return why x86-64 Linux cannot run a file with this beginning, such as "is a program for aarch64", or None."""
    if head.startswith(_MACH):
        return "is a macOS program or a Java class"
    if head.startswith(b"MZ") and len(head) > 64 and b"\0" in head[:64]:
        return "is a program for Windows"
    if head.startswith(_UTF_16):
        return "is UTF-16 text: the kernel sees no #! in it"
    if len(head) < 52 or not head.startswith(b"\x7fELF"):
        return None
    order = ">" if head[5] == 2 else "<"
    kind, machine = struct.unpack_from(f"{order}HH", head, 16)
    if machine not in (_X86_64, _I386) or order == ">":
        return (
            f"is a program for {_MACHINES.get(machine, f'another processor (ELF machine {machine})')}, not for x86-64"
        )
    return "is an object file, not a program" if kind in (_RELOCATABLE, _CORE) else None


def loader(head: bytes) -> str | None:
    """Return the dynamic loader that an ELF program names, as far as it is in `head`; None if it is static."""
    if len(head) < 64 or not head.startswith(b"\x7fELF") or head[5] != 1:
        return None
    wide = head[4] == 2
    table = struct.unpack_from("<Q" if wide else "<I", head, 32 if wide else 28)[0]
    size, count = struct.unpack_from("<HH", head, 54 if wide else 42)
    for number in range(min(count, 64)):
        at = table + number * size
        if at + (56 if wide else 32) > len(head):
            return None
        if struct.unpack_from("<I", head, at)[0] != _INTERPRETER:
            continue
        start = struct.unpack_from("<Q" if wide else "<I", head, at + (8 if wide else 4))[0]
        length = struct.unpack_from("<Q" if wide else "<I", head, at + (32 if wide else 16))[0]
        if not 1 < length <= 4096 or start + length > len(head):
            return None
        return head[start : start + length].split(b"\0")[0].decode("utf-8", "replace") or None
    return None


def one_word(line: str) -> str | None:
    """Return the fault of a `#!` line with several arguments, which the kernel passes on as one word; else None."""
    words = line.removeprefix("#!").split()
    if len(words) < 3 or words[1].startswith(("-S", "--split-string")):
        return None
    name, rest = words[0].rpartition("/")[2], " ".join(words[1:])
    if name == "env" and not words[1].startswith("-") and "=" not in words[1]:
        return f"passes env the single word '{rest}': write #!{words[0]} -S {rest}"
    if _ONE_WORD.fullmatch(name) and words[1].startswith("-") and words[1].strip("-"):
        return f"passes {name} the single word '{rest}': write one option, or use `set`"
    return None
