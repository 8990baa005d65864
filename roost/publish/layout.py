"""The layout of a catalogue, and the format of release.json. Pure.

    URL/NAME/VERSION/     one published image; never changes once release.json, which is written last, is in it
    URL/NAME/latest.json  the version to use
    URL/_base/SHA256/     base disks of the overlays of several images, each published once
    URL/allowed_signers   the signing keys, in the format of `ssh-keygen -Y verify`

A directory without release.json is not published: an upload is in progress, or was killed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from roost.errors import ImageError, UsageError
from roost.host import jsontext

RELEASE = "release.json"
LATEST = "latest.json"
MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.sig"
KEYS = "allowed_signers"
SBOM = "sbom.cdx.json"
PROVENANCE = "provenance.json"
BASES = "_base"
#: The directory of claims, in which a publisher records the version that it is about to write.
CLAIMS = ".publishing"
#: The file among the bases that lists those being removed.
REMOVING = ".removing.json"
#: The prefix of partial files; they are abandoned once their writer has ended.
PARTIAL = ".part-"
SCHEMA = 1

Verdict = Literal["passed", "untested", "checked, not booted"]

_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")


def json_bytes(value: Mapping[str, Any]) -> bytes:
    """Return JSON in the canonical form used in a catalogue: the same value gives the same bytes."""
    return (json.dumps(value, indent=1, ensure_ascii=True) + "\n").encode()


def sha256(data: bytes) -> str:
    """Return the sha256 of bytes in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def checked_version(version: str) -> str:
    """Return a version that is valid as a directory name; raise `UsageError` for any other."""
    if not _VERSION.fullmatch(version) or version.endswith(".json"):
        raise UsageError(
            f"{version!r} is not a valid version", hint="letters, digits and . _ + - only, such as 2026.11"
        )
    return version


def is_name(name: str) -> bool:
    """Return whether an entry of a catalogue's root can be an image."""
    return _NAME.fullmatch(name) is not None


def is_version(name: str) -> bool:
    """Return whether an entry of an image's directory can be a version."""
    return _VERSION.fullmatch(name) is not None and not name.endswith(".json")


def is_partial(name: str) -> bool:
    """Return whether a name is that of a partial file."""
    return re.fullmatch(rf"{re.escape(PARTIAL)}\d+-\d+-.+", name) is not None


def base_path(sha: str, name: str) -> str:
    """Return the path of a shared base disk, relative to the catalogue's root."""
    return f"{BASES}/{sha}/{name}"


def content_version(epoch: int | None, identity: str) -> str:
    """Return the version of these bytes: the date of the archive's index, and a part of their digest.

    `epoch` is in seconds since 1970 (UTC); `identity` is the sha256 of what is published. The same bytes get the
    same version, independent of the publisher and the time.
    """
    day = datetime.fromtimestamp(epoch, UTC).strftime("%Y%m%d-") if epoch is not None else ""
    return f"{day}{identity[:12]}"


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """One file of a release: `path` is relative to the catalogue's root, `size` is the transfer size in bytes."""

    name: str
    path: str
    role: str
    format: str
    size: int
    virtual: int
    sha256: str
    backing: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the file's entry in release.json."""
        entry = {
            "name": self.name,
            "path": self.path,
            "role": self.role,
            "format": self.format,
            "size": self.size,
            "virtual": self.virtual,
            "sha256": self.sha256,
        }
        return entry if self.backing is None else {**entry, "backing": self.backing}


@dataclass(frozen=True, slots=True)
class Release:
    """A parsed release.json; `raw` is its whole content."""

    name: str
    version: str
    created: str
    identity: str
    untested: bool
    files: tuple[ReleaseFile, ...]
    raw: Mapping[str, Any]

    @property
    def directory(self) -> str:
        """The version's directory, relative to the catalogue's root."""
        return f"{self.name}/{self.version}"


def parse_release(data: bytes, where: str) -> Release:
    """Return a parsed release.json; raise `ImageError` when it is invalid."""
    try:
        raw = jsontext.loads(data)
    except ValueError as error:
        raise ImageError(f"{where} is not JSON") from error
    try:
        files = tuple(
            ReleaseFile(
                str(entry["name"]),
                str(entry["path"]),
                str(entry["role"]),
                str(entry["format"]),
                int(entry["size"]),
                int(entry["virtual"]),
                str(entry["sha256"]),
                entry.get("backing"),
            )
            for entry in raw["files"]
        )
        release = Release(
            str(raw["name"]),
            str(raw["version"]),
            str(raw["created"]),
            str(raw["identity"]),
            bool(raw["untested"]),
            files,
            raw,
        )
    except KeyError as error:
        raise ImageError(f"{where} has no {error.args[0]!r}: it was not written by roost") from error
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ImageError(f"{where} has a value of an unexpected type") from error
    for file in release.files:
        if not is_inside(file.path, release.directory):
            raise ImageError(f"{where} names a file outside of its version: {file.path!r}")
    return release


def is_inside(path: str, directory: str) -> bool:
    """Return whether a path of a catalogue is a file of the version in `directory`, or a shared base."""
    parts = path.split("/")
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        return False
    return path.startswith(f"{directory}/") or (parts[0] == BASES and len(parts) == 3)


def sums(files: Sequence[ReleaseFile], directory: str, release_sha256: str) -> bytes:
    """Return SHA256SUMS: every file of a release and release.json, in the format of `sha256sum -c`.

    A shared base is listed by its path relative to the version's directory, so that the check includes it.
    """
    lines = [f"{release_sha256}  {RELEASE}\n"]
    for file in sorted(files, key=lambda one: one.path):
        inside = file.path.removeprefix(f"{directory}/")
        lines.append(f"{file.sha256}  {inside if inside != file.path else f'../../{file.path}'}\n")
    return "".join(lines).encode()
