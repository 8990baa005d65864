"""Source `image`: an existing disk, from a file, a URL, or another recipe's build, edited on a layer.

The original is only ever opened for reading. The files of another recipe's build are kept by hard links, so that a
concurrent build of it cannot remove them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from roost.errors import ImageError
from roost.existing import image_file
from roost.existing.image_file import Original
from roost.host import checksum, source_date
from roost.store import keys, manifest
from roost.store.cache import Cache
from roost.store.manifest import Manifest
from roost.store.stage import Stage

#: The time of files written into an image whose own time is unknown: arbitrary, but constant.
EPOCH = 1735689600
BASES = Stage("bases", (__name__,), ("qemu-img",))


@dataclass(frozen=True, slots=True)
class OriginalImage:
    """An inspected original: its sha256, and the recipe that built it, if any."""

    original: Original
    sha256: str
    parent: Manifest | None = None

    @property
    def epoch(self) -> int:
        """The time of files written into it: $SOURCE_DATE_EPOCH, that of the other recipe's build, or a constant."""
        given = source_date.given()
        parent_epoch = self.parent.inputs.get("epoch") if self.parent is not None else None
        return given if given is not None else parent_epoch if isinstance(parent_epoch, int) else EPOCH

    @property
    def key(self) -> str:
        """The key of the original."""
        return keys.digest(self.inputs())

    def inputs(self) -> dict[str, Any]:
        """Return everything that the image depends on, as JSON: the parts of its key."""
        parent = {"recipe": self.parent.name, "recipe_key": self.parent.key} if self.parent is not None else {}
        return {
            "source": "image",
            "sha256": self.sha256,
            "format": self.original.format,
            "virtual": self.original.size,
            "epoch": self.epoch,
            **parent,
        }


def of_file(path: Path, declared: Literal["raw", "qcow2"] | None) -> OriginalImage:
    """Return the image in a file, inspected; raise `ImageError` if roost does not support it."""
    return OriginalImage(image_file.look(path, declared), keys.large_digest(path))


def of_build(directory: Path, disk: str, record: Manifest) -> OriginalImage:
    """Return the root disk of another recipe's build."""
    names = {file.name: file for file in record.files}
    file = names.get(f"{disk}.qcow2") or names.get(f"{disk}.raw")
    if file is None:
        raise ImageError(f"the build of {record.name} has no disk {disk}", hint=f"inv build --force {record.name}")
    kind: Literal["raw", "qcow2"] = "qcow2" if file.name.endswith(".qcow2") else "raw"
    return OriginalImage(image_file.look(directory / file.name, kind), file.sha256, record)


@contextmanager
def held(image: OriginalImage, directory: Path) -> Iterator[Original]:
    """Yield the original, kept from removal while the block runs. `directory` gets temporary links."""
    if image.parent is None:
        yield image.original
        return
    place = directory / ".original"
    place.mkdir()
    try:
        original = image.original
        linked = _linked(original.path, place)
        base = _linked(original.base, place) if original.base is not None else None
        if manifest.changed_files(place, [file for file in image.parent.files if file.name == linked.name]):
            raise ImageError(f"{linked.name} of {image.parent.name} changed meanwhile", hint="build again")
        yield replace(original, path=linked, base=base)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _linked(path: Path, directory: Path) -> Path:
    target = directory / path.name
    try:
        os.link(path, target)
    except OSError:
        # Another file system, or one without links.
        shutil.copy2(path, target)
    return target


def base(original: Original, sha256: str, cache: Cache, directory: Path, compress: str, log: Path) -> Path:
    """Put the base of overlays into `directory`, named after its sha256: the original as qcow2, made once.

    All recipes share the same file for one original, so that it is published and transferred once.
    """

    def make(place: Path) -> None:
        layer = place / "layer.qcow2"
        image_file.layer(original, layer, size=None, log=log)
        image_file.flatten(layer, place / "base", "qcow2", compress=compress, log=log)
        layer.unlink()
        made = place / "base"
        made.rename(place / f"base-{checksum.sha256(made)[:12]}.qcow2")

    inputs = {"original": sha256, "format": original.format, "compress": compress}
    (kept,) = BASES.stored(cache, inputs, make).iterdir()
    target = directory / kept.name
    shutil.copyfile(kept, target)
    target.chmod(0o644)
    return target
