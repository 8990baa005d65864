"""Signatures that stock OpenSSH can verify: Ed25519 keys, the SSHSIG format, an allowed_signers file.

The formats are defined in OpenSSH's PROTOCOL.sshsig (armoured signature, signed data) and ssh-keygen(1), ALLOWED
SIGNERS. Ed25519 is deterministic: the same key and bytes give the same signature.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import struct
import textwrap
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from roost.errors import UsageError
from roost.events import Events
from roost.host import files, paths, secretfile

#: The signature namespace; ssh-keygen(1) suggests "file" for files.
NAMESPACE = "file"
#: The signer's identity: `ssh-keygen -Y verify -I roost`.
PRINCIPAL = "roost"
_TYPE = b"ssh-ed25519"
_MAGIC = b"SSHSIG"
_HASH = b"sha512"
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"


@dataclass(frozen=True, slots=True)
class Key:
    """A public key in OpenSSH's form: a blob of the key type and 32 bytes."""

    blob: bytes

    @property
    def fingerprint(self) -> str:
        """The fingerprint as shown by `ssh-keygen -l`."""
        return "SHA256:" + base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip("=")

    @property
    def line(self) -> str:
        """The key's line in allowed_signers; its comment is the fingerprint, so the line can be verified by itself."""
        key = base64.b64encode(self.blob).decode()
        return f'{PRINCIPAL} namespaces="{NAMESPACE}" {_TYPE.decode()} {key} {self.fingerprint}\n'


def public_key(private: Ed25519PrivateKey) -> Key:
    """Return the public half of a signing key."""
    raw = private.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return _key_of(raw)


def _key_of(raw: bytes) -> Key:
    return Key(_string(_TYPE) + _string(raw))


def load_private_key(given: Path | None, events: Events) -> Ed25519PrivateKey:
    """Return the signing key: of `given`, else of $ROOST_SIGNING_KEY, else the user's own, generated on first use.

    All three are files; a passphrase comes from $ROOST_SIGNING_PASSPHRASE. Raises `UsageError` for another key type.
    """
    named = given or (Path(os.environ["ROOST_SIGNING_KEY"]) if os.environ.get("ROOST_SIGNING_KEY") else None)
    path = named or paths.config_root() / "signing-key"
    if named is None and secretfile.create_once(path, _new_key):
        made = public_key(_read(path))
        events.note(f"created the signing key {path} ({made.fingerprint}): keep a copy of it; --key FILE uses another")
    return _read(path)


def _read(path: Path) -> Ed25519PrivateKey:
    secret = os.environ.get("ROOST_SIGNING_PASSPHRASE")
    password = secret.encode() if secret else None
    try:
        data = files.read_bytes(path)
        if b"OPENSSH PRIVATE KEY" in data:
            key = serialization.load_ssh_private_key(data, password)
        else:
            key = serialization.load_pem_private_key(data, password)  # type: ignore[assignment]
    except OSError as error:
        raise UsageError(files.unreadable(path, error, "signing key")) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # The library's message may quote the file, so it is not shown.
        hint = "a private Ed25519 key: ssh-keygen -t ed25519; its passphrase in ROOST_SIGNING_PASSPHRASE"
        raise UsageError(f"{path} is not a usable key", hint=hint) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{path} is not an Ed25519 key", hint="ssh-keygen -t ed25519")
    return key


def _new_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )


def sign(private: Ed25519PrivateKey, data: bytes) -> bytes:
    """Return the armoured SSHSIG of `data`."""
    signature = private.sign(_signed(data))
    return _armoured(public_key(private), signature)


def _signed(data: bytes) -> bytes:
    digest = hashlib.sha512(data).digest()
    return _MAGIC + _string(NAMESPACE.encode()) + _string(b"") + _string(_HASH) + _string(digest)


def _armoured(key: Key, signature: bytes) -> bytes:
    blob = b"".join(
        [
            _MAGIC,
            struct.pack(">I", 1),
            _string(key.blob),
            _string(NAMESPACE.encode()),
            _string(b""),
            _string(_HASH),
            _string(_string(_TYPE) + _string(signature)),
        ]
    )
    body = "\n".join(textwrap.wrap(base64.b64encode(blob).decode(), 70))
    return f"{_BEGIN}\n{body}\n{_END}\n".encode()


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def signer(armoured: bytes) -> tuple[Key, bytes] | None:
    """Return the key and the raw signature of an armoured SSHSIG; None unless it is exactly as roost writes it."""
    lines = armoured.decode("ascii", "replace").split("\n")
    try:
        blob = base64.b64decode("".join(lines[1:-2]), validate=True)
        rest = blob[len(_MAGIC) + 4 :]
        parts = []
        while rest:
            (length,) = struct.unpack(">I", rest[:4])
            parts.append(rest[4 : 4 + length])
            rest = rest[4 + length :]
        key, signature = Key(parts[0]), parts[4][4 + len(_TYPE) + 4 :]
    except (binascii.Error, struct.error, IndexError, ValueError):
        return None
    if key != _key_of(key.blob[-32:]) or _armoured(key, signature) != armoured:
        return None
    return key, signature


def verifies(key: Key, signature: bytes, data: bytes) -> bool:
    """Return whether a raw signature over `data` was made by this key."""
    try:
        Ed25519PublicKey.from_public_bytes(key.blob[-32:]).verify(signature, _signed(data))
    except (InvalidSignature, ValueError):
        return False
    return True


def read_keys(data: bytes) -> tuple[list[Key], list[int]]:
    """Return the keys of an allowed_signers or .pub file, and the numbers of lines that roost would not write."""
    keys, wrong = [], []
    for number, line in enumerate(data.decode("utf-8", "replace").split("\n"), 1):
        if not line:
            continue
        words = line.split()
        try:
            key = Key(base64.b64decode(words[words.index(_TYPE.decode()) + 1], validate=True))
        except (ValueError, IndexError):
            wrong.append(number)
            continue
        if key == _key_of(key.blob[-32:]):
            keys.append(key)
        if f"{line}\n" != key.line:
            wrong.append(number)
    return keys, wrong
