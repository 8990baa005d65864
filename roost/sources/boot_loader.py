"""GRUB's modules from the image's own archive: grub-mkimage makes the same image of them on all hosts.

The modules are what matters; grub-mkimage 2.06 and 2.12 make the same image of the same modules.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from roost.host import process
from roost.sources import debs
from roost.sources.bootstrap import Bootstrap
from roost.store.cache import Cache
from roost.store.stage import Stage

STAGE = Stage("grub", (__name__,), ("dpkg-deb",))
_DIRECTORY = "usr/lib/grub/i386-pc"
_TARGET = "i386-pc"


def modules(wanted: Bootstrap, cache: Cache, log: Path) -> Path | None:
    """Return the directory of GRUB's modules for BIOS, None if the archive has none: then the host's are used."""
    tools = wanted.selection.tools
    if not tools:
        return None

    def make(directory: Path) -> None:
        with debs.held(wanted, cache, log, tools) as packages:
            for package in packages:
                unpacked = directory / "unpacked"
                process.run(["dpkg-deb", "-x", package, unpacked], deadline=120, log=log, what="cannot unpack GRUB")
                if (unpacked / _DIRECTORY).is_dir():
                    (unpacked / _DIRECTORY).rename(directory / _TARGET)
                shutil.rmtree(unpacked)

    found = STAGE.stored(cache, {"packages": [one.parts() for one in tools]}, make) / _TARGET
    return found if (found / "boot.img").is_file() else None
