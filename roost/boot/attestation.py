"""The seal of a verdict: digests of the files that were booted, signed with a key that only this account has.

A verdict is a text file next to the image, and a publisher must be able to verify that neither has changed since. The
boot therefore writes HYPERVISOR.seal.json: the sha256 of the verdict, its report and console, of manifest.json and of
the submit descriptions as they were, and of the code that boots and judges, with an HMAC-SHA256 over all of it. Times
are not included. The key is made at the first boot and stays in the user's state directory, readable only by the user;
a verdict from another host or account, or from another version of roost, is not trusted, and the image is booted again.
The seal protects against mistakes and other accounts, not against the account's own owner.
"""

from __future__ import annotations

import functools
import getpass
import hashlib
import hmac
import json
import os
import secrets
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.boot import report
from roost.host import checksum, files, jsontext, paths, secretfile
from roost.store import closure
from roost.store.staging import write_atomically

KEY = "verdict.key"
_KEY_BYTES = 32
#: The modules that boot and judge, with all their imports; how they are called and shown is not included.
JUDGES = ("roost.boot.run", "roost.boot.attestation")
NO_PART = ("roost.cli",)


@dataclass(frozen=True, slots=True)
class Attestation:
    """The content of a valid seal: the sha256 of each file by its name in the image's directory, and who booted it."""

    files: Mapping[str, str]
    tester: Mapping[str, Any]


@functools.cache
def code() -> str:
    """Return a digest of the code that boots and judges: other code may judge differently."""
    return closure.digest(JUDGES, NO_PART)


def seal_path(directory: Path, hypervisor: str) -> Path:
    """Return the path of a verdict's seal in an image's directory."""
    return directory / "boot" / f"{hypervisor}.seal.json"


def write(directory: Path, hypervisor: str) -> None:
    """Seal the verdict that a test boot has just left in an image's directory.

    The caller holds the directory's lock.
    """
    names = ["manifest.json", f"boot/{hypervisor}.json", f"boot/{hypervisor}/serial.log"]
    names.append(f"boot/{report.place(hypervisor)}")
    names += sorted(path.name for path in directory.glob("*.sub"))
    body = {
        "schema": 1,
        "hypervisor": hypervisor,
        "files": {name: checksum.sha256(directory / name) for name in names if (directory / name).is_file()},
        "tester": {"user": _user(), "host": socket.gethostname()},
        "code": code(),
    }
    write_atomically(seal_path(directory, hypervisor), (json.dumps(sealed(body), indent=1) + "\n").encode())


def sealed(body: dict[str, Any]) -> dict[str, Any]:
    """Return the body of a seal with its signature by this account; the key is created if there is none.

    Raises `ValueError` for a key that others can read.
    """
    return {**body, "hmac": _hmac(_key(create=True), body)}


def opened(directory: Path, hypervisor: str) -> Attestation | str:
    """Return the seal of a verdict, or what is wrong with it; everything it covers must be unchanged since the boot."""
    path = seal_path(directory, hypervisor)
    try:
        data = jsontext.read(path)
        signature = data.pop("hmac")
        made_here = hmac.compare_digest(str(signature), _hmac(_key(create=False), data))
        found = Attestation({str(name): str(one) for name, one in data["files"].items()}, dict(data["tester"]))
    except FileNotFoundError:
        return f"boot/{hypervisor}.json was not written by a boot of this account"
    except (OSError, ValueError) as error:
        return f"boot/{path.name} cannot be read: {getattr(error, 'strerror', None) or error}"
    except (KeyError, TypeError, AttributeError):
        return f"boot/{path.name} cannot be read: it is damaged"
    if not made_here or data.get("hypervisor") != hypervisor:
        return f"boot/{path.name} was changed, or written by another account"
    if data.get("code") != code():
        return f"boot/{hypervisor}.json was written by another version of roost"
    return next(_changes(directory, hypervisor, found.files), None) or found


def _changes(directory: Path, hypervisor: str, files: Mapping[str, str]) -> Iterator[str]:
    for name, digest in files.items():
        try:
            now = checksum.sha256(directory / name)
        except OSError:
            yield f"{name} was removed after the boot"
            continue
        if now != digest:
            yield f"{name} was changed after the boot"
    missing = {"manifest.json", f"boot/{hypervisor}.json"} - files.keys()
    new = {path.name for path in directory.glob("*.sub")} - files.keys()
    for name in sorted(missing | new):
        yield f"{name} does not belong to the image that was booted"


def missing(directory: Path, hypervisor: str) -> bool:
    """Return whether there is no verdict that this account and this version of roost can have sealed."""
    needed = (directory / "boot" / f"{hypervisor}.json", seal_path(directory, hypervisor), paths.state_root() / KEY)
    if not all(path.exists() for path in needed):
        return True
    try:
        return bool(jsontext.read(seal_path(directory, hypervisor))["code"] != code())
    except (OSError, ValueError, KeyError, TypeError):
        # A verdict of an older roost lacks this key. The gate reports other faults.
        return True


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _hmac(key: bytes, body: dict[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _key(*, create: bool) -> bytes:
    path = paths.state_root() / KEY
    if create:
        secretfile.create_once(path, lambda: secrets.token_bytes(_KEY_BYTES))
    with files.open_regular(path) as file:
        status = os.fstat(file.fileno())
        key = file.read()
    if status.st_mode & 0o077 or status.st_uid != os.geteuid():
        raise ValueError(f"{path} can be read by others: remove it, and boot again")
    if len(key) != _KEY_BYTES:
        raise ValueError(f"{path} is not a key of {_KEY_BYTES} bytes")
    return key
