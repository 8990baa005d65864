"""manifest.json: the inputs of a build, and the checksum and sizes of each of its files.

It is written last, so a directory with a manifest is complete. `is_fresh` compares without reading images: the key of
all inputs, and each file's size and time.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

import roost
from roost.errors import ImageError, UsageError
from roost.host import files, jsontext
from roost.host.paths import display
from roost.store import staging

NAME = "manifest.json"
SUMS = "SHA256SUMS"
#: Maximum bytes of a manifest: it lists packages, not files of the tree.
SIZE = 64 << 20


@dataclass(frozen=True, slots=True)
class BuiltFile:
    """One file of an image: `virtual` is the size in the guest, `allocated` that on disk, `size` that transferred.

    `backing` is the name of an overlay's base: another file of the same image. `root` is the kernel parameter
    `root=UUID=…` for a kernel that was taken from an existing image. `ctime_ns` is when anything about the file changed
    last, which no program can set; None if unknown.
    """

    name: str
    format: str
    sha256: str
    virtual: int
    allocated: int
    size: int
    mtime_ns: int
    backing: str | None = None
    root: str | None = None
    ctime_ns: int | None = None

    def public(self) -> dict[str, Any]:
        """Return the keys of the JSON contract, and the size that HTCondor transfers."""
        entry = {
            "name": self.name,
            "format": self.format,
            "sha256": self.sha256,
            "virtual": self.virtual,
            "allocated": self.allocated,
            "transfer": self.size,
        }
        return entry if self.backing is None else {**entry, "backing": self.backing}


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole record of a build; `facts` were found by the read-back (kernels, packages).

    `parts` is everything that the key of each stage was made from, `host` the host that built it. `recipe` has the
    final values of all keys; it is empty if an older roost built the image.
    """

    name: str
    key: str
    keys: Mapping[str, str]
    inputs: Mapping[str, Any]
    files: tuple[BuiltFile, ...]
    facts: Mapping[str, Any]
    seconds: Mapping[str, float]
    roost: str = roost.__version__
    parts: Mapping[str, Any] = field(default_factory=dict)
    host: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sums(self) -> dict[str, str]:
        """The SHA-256 of each file, by its name."""
        return {file.name: file.sha256 for file in self.files}

    def file(self, name: str) -> BuiltFile:
        """Return the record of one file; raise `ImageError` when there is none."""
        for file in self.files:
            if file.name == name:
                return file
        raise ImageError(f"{self.name} has no file {name}")


def describe(path: Path, file_format: str, virtual: int, sha256: str, backing: str | None = None) -> BuiltFile:
    """Return the record of a finished file; `backing` is the name of an overlay's base."""
    status = path.stat()
    allocated = status.st_blocks * 512
    return BuiltFile(
        path.name, file_format, sha256, virtual, allocated, status.st_size, status.st_mtime_ns,
        backing=backing, ctime_ns=status.st_ctime_ns,
    )  # fmt: skip


def write(directory: Path, manifest: Manifest) -> None:
    """Write manifest.json and SHA256SUMS into a directory that is not in use yet."""
    lines = [f"{file.sha256}  {file.name}\n" for file in manifest.files]
    (directory / SUMS).write_text("".join(lines))
    (directory / NAME).write_text(json.dumps(asdict(manifest), indent=2) + "\n")


def read(directory: Path) -> Manifest | None:
    """Return the manifest of a build directory, or None when there is none or another version of roost wrote it."""
    try:
        return parse(files.read_bytes(directory / NAME, SIZE))
    except OSError:
        return None


def is_damaged(directory: Path) -> bool:
    """Return whether a directory has a manifest.json that `read` cannot parse."""
    return os.path.lexists(directory / NAME) and read(directory) is None


def required(directory: Path, name: str, called: str) -> Manifest:
    """Return the manifest of the build of the image `name`, called `called` on the command line.

    Raises `UsageError` if there is none, `ImageError` if it cannot be read.
    """
    record = read(directory)
    if record is not None:
        return record
    if is_damaged(directory):
        what = f"{directory / NAME} is damaged, or was written by another version of roost"
        raise ImageError(what, hint=f"inv build --force {called}")
    if (who := staging.changing(directory)) is not None:
        raise UsageError(f"{name} is being built by {who}", hint="wait for it, and run the same command again")
    raise UsageError(f"{name} is not built yet", hint=f"inv build {called}")


def parse(data: bytes) -> Manifest | None:
    """Return the parsed content of a manifest.json, or None when this version of roost did not write it."""
    try:
        content = jsontext.loads(data)
        unknown = content.keys() - Manifest.__dataclass_fields__.keys()
        return None if unknown else _adapter().validate_python(content)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


@functools.cache
def _adapter() -> TypeAdapter[Manifest]:
    return TypeAdapter(Manifest)


def changed_files(directory: Path, files: Sequence[BuiltFile]) -> list[str]:
    """Return the names of files that are missing or have changed since the build, by size and time."""
    changed = []
    for file in files:
        try:
            status = (directory / file.name).stat()
        except OSError:
            changed.append(file.name)
            continue
        if (status.st_size, status.st_mtime_ns) != (file.size, file.mtime_ns):
            changed.append(file.name)
    return changed


def what_became(directory: Path, name: str) -> str:
    """Return the state of a file of `changed_files`: missing, or changed."""
    return "changed" if os.path.lexists(directory / name) else "missing"


def describe_changes(directory: Path, files: Sequence[BuiltFile]) -> str | None:
    """Return a line about the files of `changed_files`, such as `root.raw is missing`, or None when there are none."""
    names = changed_files(directory, files)
    missing = [name for name in names if what_became(directory, name) == "missing"]
    changed = [name for name in names if name not in missing]
    changes = [f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"] if missing else []
    changes += [f"{', '.join(changed)} changed since the build"] if changed else []
    return "; ".join(changes) or None


def require_unchanged(directory: Path, record: Manifest, called: str) -> None:
    """Raise `ImageError` when a file of a build is missing or changed, by size and time."""
    changes = describe_changes(directory, record.files)
    if changes is not None:
        raise ImageError(f"{display(directory)}: {changes}", hint=f"inv build --force {called}")


def is_fresh(directory: Path, key: str) -> Manifest | None:
    """Return the manifest if the directory holds exactly what a build with `key` would make."""
    manifest = read(directory)
    if manifest is None or manifest.key != key or changed_files(directory, manifest.files):
        return None
    return manifest
