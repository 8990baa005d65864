"""fstab(5) of a tree or an image, parsed as mount(8) does. Pure; the verifier has its own parser."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Line:
    """A line of an fstab: its unescaped fields, its number in the file, from 1."""

    source: str
    mount: str
    type: str
    options: tuple[str, ...]
    number: int = field(default=0, compare=False)


def read(text: str) -> list[Line]:
    """Return the lines of an fstab, octal escapes and quotes resolved, UUIDs in lower case."""
    lines = []
    for number, line in enumerate(text.split("\n"), 1):
        fields = line.split()
        if len(fields) >= 3 and not fields[0].startswith("#"):
            source, mount, kind = (_unescaped(field) for field in fields[:3])
            options = tuple(fields[3].split(",")) if len(fields) > 3 else ()
            key, equals, value = source.partition("=")
            if key in {"UUID", "PARTUUID"}:
                value = value.lower()
            lines.append(Line(f"{key}{equals}{value.strip(chr(34))}", mount.rstrip("/") or "/", kind, options, number))
    return lines


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)
