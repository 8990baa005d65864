"""The contents of an initrd: its modules by name, and the kernel that they were built for."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from roost.host import files
from roost.host.decompress import CorruptError, compression, unpack
from roost.kernel import cpio
from roost.kernel.drivers import module_name

_MODULE = re.compile(r"\.ko(\.(xz|gz|zst))?$")
_RELEASE = re.compile(r"(?:usr/)?lib/modules/([^/]+)/")
#: The prefix of a module in roost's own initrd: its position in the loading order.
_TURN = re.compile(r"^\d{3}-")
#: Size limit of a module in bytes, compressed and uncompressed.
_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True)
class Initrd:
    """The names of its modules, the releases of their directories, the kernel that the first module was built for."""

    modules: frozenset[str]
    releases: frozenset[str]
    built_for: str | None
    entries: int

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON; `from_json` reads it."""
        return {**asdict(self), "modules": sorted(self.modules), "releases": sorted(self.releases)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Initrd:
        """Return what `to_json` wrote; raises KeyError or TypeError for anything else."""
        modules, releases = frozenset(value["modules"]), frozenset(value["releases"])
        return cls(modules, releases, value["built_for"], int(value["entries"]))


def read(path: Path) -> Initrd:
    """Return the contents of an initrd. Raises `roost.kernel.cpio.BadInitrdError`."""
    modules, releases = set(), set()
    magic: str | None = None
    count = 0
    with files.open_regular(path) as file:
        for entry in cpio.entries(file):
            count += 1
            if directory := _RELEASE.match(entry.name):
                releases.add(directory[1])
            if _MODULE.search(entry.name) and entry.is_file:
                modules.add(module_name(_TURN.sub("", entry.name.rpartition("/")[2])))
                if magic is None and 0 < entry.size <= _LIMIT:
                    magic = vermagic(entry.read(_LIMIT))
    return Initrd(frozenset(modules), frozenset(releases), magic, count)


def built_for(path: Path) -> str | None:
    """Return the release of the kernel that the module at `path` was built for."""
    with files.open_regular(path) as file:
        return vermagic(file.read(_LIMIT))


def vermagic(module: bytes) -> str | None:
    """Return the release of the kernel that a module, plain or compressed, was built for; None if not recorded."""
    if compression(module[:16]) is not None:
        try:
            module = unpack(io.BytesIO(module), _LIMIT)
        except CorruptError:
            return None
    found = re.search(rb"\0vermagic=([!-~]{1,128})[ \0]", b"\0" + module)
    return found[1].decode("ascii") if found else None
