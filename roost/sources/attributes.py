"""Extended attributes of an archive's members, in the only form that GNU tar unpacks: pax records SCHILY.xattr.*.

Tools write them in four ways: GNU tar --xattrs, --selinux and --acls (tar's manual, "Extended File Attributes"), and
libarchive (tar(5), "LIBARCHIVE.xattr"). ACLs come as text and become the attribute that Linux keeps (acl(5),
linux/posix_acl_xattr.h).
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping
from urllib.parse import unquote

PREFIX = "SCHILY.xattr."
LABEL = f"{PREFIX}security.selinux"
#: Attributes that matter in a guest. Those that overlayfs and other hosts use internally do not.
KEPT = (
    f"{PREFIX}user.",
    f"{PREFIX}security.capability",
    LABEL,
    f"{PREFIX}system.posix_acl_access",
    f"{PREFIX}system.posix_acl_default",
)
#: Attributes of the machine that the tree comes from: dropped without a note.
_OF_THE_HOST = (f"{PREFIX}trusted.overlay.", f"{PREFIX}user.overlay.", f"{PREFIX}user.containers.")
_LIBARCHIVE = "LIBARCHIVE.xattr."
_RED_HAT_LABEL = "RHT.security.selinux"
_ACLS = {
    "SCHILY.acl.access": f"{PREFIX}system.posix_acl_access",
    "SCHILY.acl.default": f"{PREFIX}system.posix_acl_default",
}
_TAGS = {"user": 0x01, "group": 0x04, "mask": 0x10, "other": 0x20}
_LONG = {"u": "user", "g": "group", "m": "mask", "o": "other"}
_NOBODY = 0xFFFFFFFF


def carried(records: Mapping[str, str]) -> dict[str, str]:
    """Return the records of a member that describe its attributes, in any form."""
    return {key: value for key, value in records.items() if ".xattr." in key or key in _ACLS or key == _RED_HAT_LABEL}


def plain(
    records: Mapping[str, str], users: Mapping[str, int], groups: Mapping[str, int]
) -> tuple[dict[str, str], set[str]]:
    """Return the records that go into the image, and the names of attributes that are dropped.

    `users` and `groups` are the tree's own: name → number.
    """
    found: dict[str, str] = {}
    lost: set[str] = set()
    for key, value in records.items():
        if key.startswith(_LIBARCHIVE):
            # GNU tar has its own escapes for characters that would end a keyword.
            bare = unquote(key.removeprefix(_LIBARCHIVE)).replace("%", "%25").replace("=", "%3D")
            name = f"{PREFIX}{bare}"
            try:
                # libarchive omits the padding.
                data = base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
            except (binascii.Error, ValueError):
                lost.add(name.removeprefix(PREFIX))
                continue
            found.setdefault(name, data.decode("utf-8", "surrogateescape"))
        elif key == _RED_HAT_LABEL:
            found.setdefault(LABEL, value)
        elif key.startswith(PREFIX):
            found[key] = value
    for key, name in _ACLS.items():
        if key in records and name not in found:
            acl = _acl(records[key], users, groups)
            if acl is None:
                lost.add(name.removeprefix(f"{PREFIX}system."))
            elif acl:
                found[name] = acl.decode("utf-8", "surrogateescape")
    kept = {key: value for key, value in found.items() if key.startswith(KEPT) and not key.startswith(_OF_THE_HOST)}
    lost |= {key.removeprefix(PREFIX) for key in found.keys() - kept.keys() if not key.startswith(_OF_THE_HOST)}
    return dict(sorted(kept.items())), lost


def numbers(text: str) -> dict[str, int]:
    """Return name → number of a passwd(5) or group(5)."""
    fields = [line.split(":") for line in text.splitlines()]
    return {one[0]: int(one[2]) for one in fields if len(one) > 2 and one[2].isdecimal() and len(one[2]) < 11}


def _acl(text: str, users: Mapping[str, int], groups: Mapping[str, int]) -> bytes | None:
    """Return the attribute of an ACL in text form; empty for one without entries, None if it cannot be converted."""
    entries = []
    for line in text.replace(",", "\n").splitlines():
        words = line.partition("#")[0].strip()
        if not words:
            continue
        fields = [field.strip() for field in words.split(":")]
        kind = _LONG.get(fields[0], fields[0])
        if len(fields) == 2:
            # mask and other may lack the empty field.
            fields.insert(1, "")
        if kind not in _TAGS or len(fields) not in (3, 4) or not set(fields[2]) <= set("rwx-"):
            return None
        permissions = sum(bit for letter, bit in (("r", 4), ("w", 2), ("x", 1)) if letter in fields[2])
        tag, number = _TAGS[kind], _NOBODY
        if fields[1]:
            if kind not in {"user", "group"}:
                return None
            tag *= 2
            known = users if kind == "user" else groups
            # Names are looked up in the tree; a number is the name's id where the archive was made (star, libarchive).
            given = known.get(fields[1], fields[3] if len(fields) == 4 else fields[1])
            if not str(given).isdecimal() or int(given) >= _NOBODY:
                return None
            number = int(given)
        entries.append((tag, permissions, number))
    entries.sort(key=lambda entry: (entry[0], entry[2]))
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries) if entries else b""
