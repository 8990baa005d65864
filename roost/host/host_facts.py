"""The host that an image is built on: the system, and the versions of the packages that provide the build's tools.

None of it is secret, and it is the same for two builds on one host: it helps to explain a difference between two.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path

from roost.errors import RoostError
from roost.host import declared, files, process

#: Debian's packages of the tools that stages declare.
PACKAGES = (
    *("apt", "btrfs-progs", "coreutils", "cpio", "dosfstools", "dpkg", "e2fsprogs", "erofs-utils", "findutils"),
    *("grub-common", "grub-pc-bin", "kmod", "mmdebstrap", "mtools", "qemu-utils", "fdisk", "squashfs-tools", "tar"),
    *("util-linux", "xfsprogs", "zstd", "libguestfs0", "python3"),
)
_RELEASE = (Path("/etc/os-release"), Path("/usr/lib/os-release"))


@functools.cache
def host() -> dict[str, str | dict[str, str]]:
    """Return the system's name, and package → version of its tools, as far as known."""
    return {"system": _system(), "packages": _packages()}


def _system() -> str:
    for path in _RELEASE:
        try:
            text = files.read_text(path, 1 << 16, errors="replace")
        except OSError:
            continue
        found = re.search(r'^PRETTY_NAME="?([^"\n]{1,100})"?$', text, re.MULTILINE)
        if found:
            return found[1]
    return ""


def _packages() -> dict[str, str]:
    if process.which("dpkg-query") is None:
        return {}
    argv = ["dpkg-query", "-W", "-f", "${Package} ${Version} ${db:Status-Status}\\n", *PACKAGES]
    try:
        # It is recorded next to the result, and is not part of any stage.
        with declared.only(None):
            output = process.run(argv, deadline=20, capture=True, check=False).text
    except RoostError:
        return {}
    rows = [line.split(" ") for line in output.splitlines()]
    return {row[0]: row[1] for row in rows if len(row) == 3 and row[2] == "installed"}
