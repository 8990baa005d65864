"""The packages in the guest's own database: dpkg's status file, and status.d of trees in which dpkg never ran.

`status` is dpkg's own file (dpkg(1), FILES). `status.d`, one file a package, records the unpacked packages of images
without dpkg; image scanners read both. The database is untrusted: any bytes are handled, and a result that is cut at
the limit says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from roost.host.guestfs import Guest
from roost.verify.texts import head

STATUS = "/var/lib/dpkg/status"
STATUS_D = "/var/lib/dpkg/status.d"
#: Bytes of one file, and files of status.d: some ten times those of the largest Debian.
LIMIT = 32 << 20
FILES = 4096

#: The state of a package in status.d without a Status field: it will never be configured.
_UNPACKED = "unpacked"
#: The third word of the Status field for a package that left nothing behind; dpkg-query does not list it.
_ABSENT = "not-installed"
#: `name (version)`, the version only if it differs from the package's own (deb-control(5), Source).
_SOURCE = re.compile(r"([^\s()]+)(?:\s*\(([^()]*)\))?")


def read(guest: Guest) -> tuple[list[dict[str, str]], str]:
    """Return the packages of a guest whose root is mounted (see `packages`), and the database they are from."""
    seen, found, cut = [], [], False
    status = head(guest, STATUS, LIMIT)
    if status is not None:
        seen.append(STATUS)
        cut = len(status) == LIMIT
        found += packages(status.decode("utf-8", "replace"))
    # NAME.md5sums next to NAME lists its files.
    names = sorted(name for name in guest.names(STATUS_D) if not name.endswith(".md5sums"))
    if names:
        seen.append(STATUS_D)
        left = LIMIT
        for name in names[:FILES]:
            text = head(guest, f"{STATUS_D}/{name}", left) or b""
            left -= len(text)
            found += packages(text.decode("utf-8", "replace"), unpacked=True)
        cut = cut or len(names) > FILES or left <= 0
    return _unique(found), ", ".join(seen) + (" (cut: too large to be read whole)" if cut else "")


def packages(text: str, *, unpacked: bool = False) -> list[dict[str, str]]:
    """Return what `dpkg-query -W` lists for a status file: name, version, architecture, state, and the source's.

    `state` is the third word of the Status field: `installed`, or an intermediate state (dpkg(1), PACKAGE STATES).
    `source_version` is present if there is a source package. With `unpacked` an entry needs no Status field.
    """
    found = []
    for paragraph in re.split(r"\n(?:[ \t]*\n)+", text):
        fields = _fields(paragraph)
        state = fields.get("status", "").split()[2:3] or ([_UNPACKED] if unpacked else [])
        name = fields.get("package", "")
        if not name or not state or state[0] == _ABSENT:
            continue
        version = fields.get("version") or fields.get("config-version", "")
        source = _SOURCE.match(fields.get("source", "")) or _SOURCE.match(name)
        found.append(
            {
                "name": name,
                "version": version,
                "architecture": fields.get("architecture", ""),
                "state": state[0],
                "source": source[1] if source else name,
                "source_version": (source[2] if source else None) or version,
            }
        )
    return _unique(found)


def _fields(paragraph: str) -> dict[str, str]:
    """Return the first lines of a paragraph's fields, by their name in lower case (deb822(5))."""
    found = {}
    # Not splitlines: it breaks at characters that a value may contain.
    for line in paragraph.split("\n"):
        name, colon, value = line.partition(":")
        if colon and name and not name[0].isspace():
            found[name.lower()] = value.strip()
    return found


def _unique(found: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """Return the packages sorted, one per name and architecture: dpkg keeps no more than one, the last."""
    by_key = {(entry["name"], entry["architecture"]): entry for entry in found}
    return [by_key[key] for key in sorted(by_key)]
