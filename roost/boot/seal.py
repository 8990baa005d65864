"""The seal on a verdict: which bytes it was reached on, under a key that only this user's roost has.

A verdict is a text file beside the image, and a publisher must be able to tell that nobody changed either since. The
boot therefore leaves HYPERVISOR.seal.json: the sha256 of the verdict, its report and console, of manifest.json and
of the submit descriptions as they were, with an HMAC-SHA256 over all of it. Times play no part in it. The key is made
at the first boot and stays in the user's state folder; a verdict from another host or account is not believed, there
the image is booted again. It guards against mistakes and other accounts, not against the account's own owner.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import hmac
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roost.host import paths
from roost.staging import write_atomically

KEY = "verdict.key"
_KEY_BYTES = 32


def seal_path(folder: Path, hypervisor: str) -> Path:
    """Return where the seal of a verdict is in an image's folder."""
    return folder / "boot" / f"{hypervisor}.seal.json"


def write(folder: Path, hypervisor: str) -> None:
    """Seal the verdict that a test boot has just left in an image's folder; the caller holds the folder's lock."""
    names = ["manifest.json", f"boot/{hypervisor}.json", "boot/report.html", f"boot/{hypervisor}/serial.log"]
    names += sorted(path.name for path in folder.glob("*.sub"))
    body = {
        "schema": 1,
        "hypervisor": hypervisor,
        "files": {name: _sum(folder / name) for name in names if (folder / name).is_file()},
        "tester": {"user": _user(), "host": socket.gethostname()},
    }
    data = {**body, "hmac": _hmac(_key(create=True), body)}
    write_atomically(seal_path(folder, hypervisor), (json.dumps(data, indent=1) + "\n").encode())


def broken(folder: Path, hypervisor: str) -> str | None:
    """Return what is wrong with the seal of a verdict, None when all it covers is as the boot left it."""
    path = seal_path(folder, hypervisor)
    try:
        data = json.loads(path.read_text())
        said = data.pop("hmac")
        files = dict(data["files"])
        made_here = hmac.compare_digest(str(said), _hmac(_key(create=False), data))
    except FileNotFoundError:
        return f"no boot of this account has sealed boot/{hypervisor}.json"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"boot/{path.name} cannot be read: {error}"
    if not made_here or data.get("hypervisor") != hypervisor:
        return f"boot/{path.name} is not what a boot of this account wrote"
    return next(_changes(folder, hypervisor, files), None)


def _changes(folder: Path, hypervisor: str, files: dict[str, str]) -> Iterator[str]:
    for name, digest in files.items():
        try:
            now = _sum(folder / name)
        except OSError:
            yield f"{name} is gone since the boot"
            continue
        if now != digest:
            yield f"{name} was changed after the boot"
    missing = {"manifest.json", f"boot/{hypervisor}.json"} - files.keys()
    new = {path.name for path in folder.glob("*.sub")} - files.keys()
    for name in sorted(missing | new):
        yield f"{name} is not of the image that was booted"


def missing(folder: Path, hypervisor: str) -> bool:
    """Return whether there is no verdict that a boot of this account can have sealed."""
    needed = (folder / "boot" / f"{hypervisor}.json", seal_path(folder, hypervisor), paths.state_root() / KEY)
    return not all(path.exists() for path in needed)


def tester(folder: Path, hypervisor: str) -> dict[str, Any]:
    """Return who booted the image, as the seal has it: user and host."""
    return dict(json.loads(seal_path(folder, hypervisor).read_text())["tester"])


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hmac(key: bytes, body: dict[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def _key(*, create: bool) -> bytes:
    path = paths.state_root() / KEY
    if create and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f".{KEY}.{os.getpid()}")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, os.urandom(_KEY_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        # A link fails where a name exists: of two first boots at once, both use the one key.
        with contextlib.suppress(FileExistsError):
            os.link(partial, path)
        partial.unlink()
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise ValueError(f"{path} is not a key of {_KEY_BYTES} bytes")
    return key
