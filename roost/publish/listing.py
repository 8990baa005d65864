"""The listed contents of a catalogue: the scope of a URL, the versions of an image, the check of a signature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from roost.errors import ImageError, UsageError
from roost.host import jsontext
from roost.publish import layout, signature
from roost.publish.targets.kinds import open_target
from roost.publish.targets.target import Target


@dataclass(frozen=True, slots=True)
class Scope:
    """The part of a catalogue that a URL names: all of it, one image, or one version."""

    target: Target
    name: str | None
    version: str | None


def find(url: str) -> Scope:
    """Return the catalogue that a URL or directory is, or is a part of; raise `UsageError` for anything else."""
    here = open_target(url)
    here.require()
    names = here.names("")
    if layout.RELEASE in names or here.size(layout.RELEASE) is not None:
        root, name, version = _above(url, 2)
        return Scope(root, name, version)
    if any(here.size(f"{name}{layout.RELEASE}") is not None for name in names if name.endswith("/")) or (
        here.size(layout.LATEST) is not None
    ):
        root, name, _ = _above(url, 1)
        return Scope(root, name, None)
    if not any(versions(here, name.rstrip("/")) for name in names if name.endswith("/")) and layout.KEYS not in names:
        raise UsageError(f"{url} is not a catalogue, nor an image or version in one", hint="inv publish NAME --to URL")
    return Scope(here, None, None)


def _above(url: str, levels: int) -> tuple[Target, str, str]:
    """Return the catalogue `levels` above a URL, and the first and the last path component below it."""
    path = url.rstrip("/") if "://" in url else str(open_target(url).local)
    names: list[str] = []
    for _ in range(levels):
        path, _, name = path.rpartition("/")
        names.insert(0, name)
    return open_target(path or "/"), names[0], names[-1]


def versions(target: Target, name: str) -> list[str]:
    """Return the listed versions of an image: those with release.json."""
    if not layout.is_name(name):
        return []
    entries = [entry.rstrip("/") for entry in target.names(name) if entry.endswith("/")]
    listed = [one for one in entries if layout.is_version(one)]
    found = [one for one in listed if target.size(f"{name}/{one}/{layout.RELEASE}") is not None]
    if not found and not entries:
        # A plain web server cannot list directories, but has latest.json.
        latest = parsed(target.read(f"{name}/{layout.LATEST}"))
        version = str(latest.get("version", "")) if latest else ""
        found = [version] if layout.is_version(version) else []
    return found


def check_release(target: Target, name: str, version: str, release: bytes) -> None:
    """Raise `ImageError` unless release.json matches the signed checksums of its version; reads no disks."""
    directory = f"{name}/{version}"
    sums, armoured = target.read(f"{directory}/{layout.SUMS}"), target.read(f"{directory}/{layout.SIGNATURE}")
    found = signature.signer(armoured or b"")
    keys, _ = signature.read_keys(target.read(layout.KEYS) or b"")
    good = sums is not None and found is not None and found[0] in keys and signature.verifies(*found, sums)
    if not good or read_sums(sums).get(layout.RELEASE) != layout.sha256(release):
        raise ImageError(f"{name} {version} does not match its signature", hint=f"inv verify {target.url}")


def parsed(data: bytes | None) -> Mapping[str, Any] | None:
    """Return the JSON object in a small file of a catalogue; None if the file is missing or has no object."""
    try:
        value = jsontext.loads(data or b"")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def read_sums(data: bytes | None) -> dict[str, str]:
    """Return path → sha256 of a SHA256SUMS file, with paths as written."""
    lines = (data or b"").decode("utf-8", "replace").splitlines()
    return {line[66:]: line[:64] for line in lines if len(line) > 66}
