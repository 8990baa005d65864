"""Public keys of repositories: recognized, and armored for apt (RFC 9580); apt itself verifies with them.

A key file is the output of `gpg --export`, armored or not. Only its form is checked: which keys, by fingerprint.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Iterator

#: A keyring of a thousand keys is smaller.
LIMIT = 4 << 20
_PUBLIC_KEY, _SECRET_KEYS = 6, (5, 7)
_BEGIN, _END = "-----BEGIN PGP PUBLIC KEY BLOCK-----", "-----END PGP PUBLIC KEY BLOCK-----"
_BLOCK = re.compile(rf"{_BEGIN}\s*?\n(?P<body>.*?){_END}", re.DOTALL)


class NoKeyError(ValueError):
    """The data is not a public key; the message says what it is instead."""


def dearmored(data: bytes) -> bytes:
    """Return the binary keys of a file, armored (one or more blocks) or binary."""
    if len(data) > LIMIT:
        raise NoKeyError("too large for a key")
    if not data.strip():
        raise NoKeyError("the file is empty")
    if data[8:12] == b"KBXf":
        raise NoKeyError("this is GnuPG's own keybox, which apt does not read: `gpg --export --armor KEY` writes a key")
    if data[:1] and data[0] & 0x80:
        return data
    text = data.decode("ascii", "replace").replace("\r\n", "\n")
    if "PRIVATE KEY BLOCK" in text:
        raise NoKeyError("this is a private key: never give it away; `gpg --export --armor KEY` writes the public one")
    blocks = [_unpacked(found["body"]) for found in _BLOCK.finditer(text)]
    if not blocks:
        raise NoKeyError("there is no OpenPGP public key in it")
    return b"".join(blocks)


def _unpacked(body: str) -> bytes:
    """Return the bytes of an armored block; its headers end at an empty line, its checksum begins with =."""
    lines = body.split("\n")
    if any(re.match(r"[A-Za-z]+: ", line) for line in lines) and "" in [line.strip() for line in lines]:
        lines = lines[[line.strip() for line in lines].index("") + 1 :]
    try:
        return base64.b64decode("".join(line.strip() for line in lines if not line.startswith("=")), validate=True)
    except binascii.Error as error:
        raise NoKeyError("the armor is damaged: not base64") from error


def armored(binary: bytes) -> str:
    """Return keys in the form for apt's .asc files and for Signed-By in a source."""
    lines = re.findall(".{1,64}", base64.b64encode(binary).decode())
    checksum = base64.b64encode(_crc24(binary).to_bytes(3, "big")).decode()
    return "\n".join([_BEGIN, "", *lines, f"={checksum}", _END, ""])


def _crc24(data: bytes) -> int:
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc = (crc << 1) ^ (0x1864CFB if crc & 0x800000 else 0)
    return crc


def fingerprints(binary: bytes) -> tuple[str, ...]:
    """Return the fingerprints of the primary keys; raise `NoKeyError` if there are none or the data is malformed."""
    found = []
    for tag, body in _packets(binary):
        if tag in _SECRET_KEYS:
            raise NoKeyError("this is a private key: never give it away; `gpg --export KEY` writes the public one")
        if tag == _PUBLIC_KEY:
            found.append(_fingerprint(body))
    if not found:
        raise NoKeyError("there is no OpenPGP public key in it")
    return tuple(found)


def _fingerprint(body: bytes) -> str:
    version = body[0] if body else 0
    if version == 4:
        return hashlib.sha1(b"\x99" + struct.pack(">H", len(body)) + body, usedforsecurity=False).hexdigest().upper()
    if version == 6:
        return hashlib.sha256(b"\x9b" + struct.pack(">I", len(body)) + body).hexdigest().upper()
    raise NoKeyError(f"a key of version {version}, which apt does not accept")


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield (tag, body) of each packet; raise `NoKeyError` for truncated data."""
    position = 0
    while position < len(data):
        head = data[position]
        if not head & 0x80:
            raise NoKeyError("not OpenPGP: a packet begins otherwise")
        position += 1
        if head & 0x40:
            tag = head & 0x3F
            length, position = _new_length(data, position)
        else:
            tag = (head >> 2) & 0x0F
            width = (1, 2, 4, 0)[head & 3]
            if not width or position + width > len(data):
                raise NoKeyError("not OpenPGP: a packet without an end")
            length = int.from_bytes(data[position : position + width], "big")
            position += width
        if position + length > len(data):
            raise NoKeyError("the key is cut off")
        yield tag, data[position : position + length]
        position += length


def _new_length(data: bytes, position: int) -> tuple[int, int]:
    first = data[position] if position < len(data) else 0xFF
    width = 1 if first < 192 else 2 if first < 224 else 5 if first == 255 else 0
    if not width or position + width > len(data):
        raise NoKeyError("not OpenPGP: a packet without an end")
    if width == 1:
        return first, position + 1
    if width == 2:
        return ((first - 192) << 8) + data[position + 1] + 192, position + 2
    return int.from_bytes(data[position + 1 : position + 5], "big"), position + 5
