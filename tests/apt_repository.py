"""Tiny signed apt repositories on loopback: a key, packages, an index, as any third party would publish them.

The signatures are OpenPGP (RFC 9580: keys and signatures of version 4, RSA, SHA-256), written here so that no key
server, agent or keyring of the host has a part in it; apt's own gpgv judges them.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.server
import os
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256

#: Keys and signatures are of this time.
CREATED = 1_700_000_000


def _packet(tag: int, body: bytes) -> bytes:
    return bytes([0xC0 | tag, 0xFF]) + struct.pack(">I", len(body)) + body


def _mpi(number: int) -> bytes:
    return struct.pack(">H", number.bit_length()) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _armor(kind: str, data: bytes) -> str:
    text = base64.b64encode(data).decode()
    lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc = (crc << 1) ^ (0x1864CFB if crc & 0x800000 else 0)
    checksum = base64.b64encode(crc.to_bytes(3, "big")).decode()
    return f"-----BEGIN PGP {kind}-----\n\n{lines}\n={checksum}\n-----END PGP {kind}-----\n"


@dataclass(frozen=True)
class Key:
    """A key that signs repositories."""

    name: str = "Test <test@example.org>"
    private: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    @property
    def body(self) -> bytes:
        numbers = self.private.public_key().public_numbers()
        return b"\x04" + struct.pack(">I", CREATED) + b"\x01" + _mpi(numbers.n) + _mpi(numbers.e)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha1(b"\x99" + struct.pack(">H", len(self.body)) + self.body).hexdigest().upper()

    def _signature(self, kind: int, signed: bytes) -> bytes:
        issuer = bytes.fromhex(self.fingerprint)
        hashed = b"\x05\x02" + struct.pack(">I", CREATED) + b"\x16\x21\x04" + issuer
        if kind == 0x13:
            hashed += b"\x02\x1b\x03"  # may certify and sign
        head = bytes([4, kind, 1, 8]) + struct.pack(">H", len(hashed)) + hashed
        content = signed + head + b"\x04\xff" + struct.pack(">I", len(head))
        number = int.from_bytes(self.private.sign(content, padding.PKCS1v15(), SHA256()), "big")
        unhashed = b"\x09\x10" + issuer[-8:]
        body = head + struct.pack(">H", len(unhashed)) + unhashed + hashlib.sha256(content).digest()[:2] + _mpi(number)
        return _packet(2, body)

    @property
    def binary(self) -> bytes:
        """What `gpg --export` writes: the key, its name, and its own signature over both."""
        name = self.name.encode()
        certified = (
            b"\x99" + struct.pack(">H", len(self.body)) + self.body + b"\xb4" + struct.pack(">I", len(name)) + name
        )
        return _packet(6, self.body) + _packet(13, name) + self._signature(0x13, certified)

    @property
    def armored(self) -> str:
        return _armor("PUBLIC KEY BLOCK", self.binary)

    def clearsigned(self, text: str) -> str:
        """Return a text as InRelease has it."""
        lines = [line.rstrip() for line in text.rstrip("\n").split("\n")]
        signature = self._signature(1, "\r\n".join(lines).encode())
        body = "\n".join(f"- {line}" if line.startswith("-") else line for line in lines)
        return f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{body}\n{_armor('SIGNATURE', signature)}"


def package(directory: Path, name: str, files: dict[str, str], version: str = "1.0", **fields: str) -> Path:
    """Build NAME_VERSION_all.deb in `directory`; `fields` are further ones of its control file, - written as _.

    Files of /DEBIAN are its maintainer scripts.
    """
    further = "".join(f"{field.replace('_', '-')}: {value}\n" for field, value in fields.items())
    tree = directory / f"{name}.tree"
    for path, content in files.items():
        target = tree / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
    for script in tree.glob("DEBIAN/*"):
        script.chmod(0o755)
    (tree / "DEBIAN").mkdir(parents=True, exist_ok=True)
    (tree / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Test <test@example.org>\n"
        f"{further}Description: a package of a test\n"
    )
    deb = directory / f"{name}_{version}_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Zgzip", "-b", tree, deb],
        check=True,
        capture_output=True,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(CREATED)},
    )
    subprocess.run(["rm", "-r", tree], check=True)
    return deb


def publish(directory: Path, key: Key, suite: str = "./", component: str = "", **fields: str) -> None:
    """Write Packages and InRelease for the packages in `directory`: flat, or below dists/SUITE."""
    stanzas = []
    for deb in sorted(directory.glob("*.deb")):
        control = subprocess.run(["dpkg-deb", "-f", deb], check=True, capture_output=True, text=True).stdout
        data = deb.read_bytes()
        sums = f"Size: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
        stanzas.append(f"{control.rstrip()}\nFilename: ./{deb.name}\n{sums}")
    packages = "\n".join(stanzas).encode()
    index = directory / "dists" / suite if component else directory
    place = f"{component}/binary-amd64/" if component else ""
    (index / place).mkdir(parents=True, exist_ok=True)
    listed = []
    for name, data in (("Packages", packages), ("Packages.gz", gzip.compress(packages, mtime=0))):
        (index / place / name).write_bytes(data)
        listed.append(f" {hashlib.sha256(data).hexdigest()} {len(data)} {place}{name}")
    given = {
        "Origin": "Test",
        "Suite": suite.rstrip("/") or ".",
        "Date": formatdate(CREATED, usegmt=True).replace("GMT", "UTC"),
        "Architectures": "amd64 all",
        **({"Components": component} if component else {}),
        **fields,
    }
    release = "".join(f"{name}: {value}\n" for name, value in given.items()) + "SHA256:\n" + "\n".join(listed) + "\n"
    (index / "InRelease").write_text(key.clearsigned(release))


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """Serve a directory on loopback and yield its address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=os.fspath(directory))  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
