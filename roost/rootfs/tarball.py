"""A tar archive as it comes: unpacked from its compression, and, if it is a container image, taken apart into layers.

Three forms are told apart by what is in them: a root tree (`docker export`, debootstrap, tar itself), an image of
`docker save` (manifest.json), an OCI image layout (index.json; image-spec, image-layout.md).
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

from roost.errors import ImageError
from roost.host import process
from roost.rootfs.layers import open_layer

CHUNK = 1 << 20
#: JSON of container images is a few kilobytes.
MOST_JSON = 8 << 20
#: Where the tree of a guest ends up must hold it all, and more than this is no root tree.
MOST_BYTES = 512 << 30
ARCHITECTURE = "amd64"

_MAGIC: Mapping[bytes, str] = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True)
class Layers:
    """Uncompressed tars, the lowest first; `whiteouts` says whether upper ones take names of lower ones away."""

    paths: tuple[Path, ...]
    whiteouts: bool


def layers_of(archive: Path, work: Path, log: Path) -> Layers:
    """Return the layers of an archive, uncompressed ones in the folder `work`.

    Raises `ImageError` for what is none of the three forms, is cut off, or is not what its digests say.
    """
    plain = uncompressed(archive, work / "archive.tar", log)
    try:
        with plain.open("rb") as file, open_layer(file) as opened:
            names = {member.name.removeprefix("./"): member for member in opened}
            if "manifest.json" in names and not _is_root_tree(names):
                found = _docker(opened, names)
            elif "index.json" in names and "oci-layout" in names:
                found = _oci(opened, names)
            else:
                return Layers((plain,), False)
            paths = [_layer(opened, member, digest, work, number, log) for number, (member, digest) in enumerate(found)]
            return Layers(tuple(paths), True)
    except (tarfile.TarError, EOFError, OverflowError) as error:
        raise ImageError(f"{archive.name} is no whole tar archive: {error}") from error
    except (ValueError, KeyError, TypeError, IndexError, RecursionError) as error:
        raise ImageError(f"{archive.name} looks like a container image, but it is none: {error!r}") from error


def uncompressed(archive: Path, output: Path, log: Path) -> Path:
    """Return the archive itself if it is not compressed, else `output` with what was in it."""
    with archive.open("rb") as file:
        head = file.read(8)
    kind = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    if kind is None:
        return archive
    try:
        with output.open("wb") as target:
            if kind == "zstd":
                with process.spawn(["zstd", "-dcq", "--", archive], log=log, stdout=target) as tool:
                    if tool.wait(3600) != 0:
                        raise ImageError(f"{archive.name} is no whole zstd file", log=log)
            else:
                with _opened(archive, kind) as source:
                    _copy(source, target)
    except (OSError, EOFError, lzma.LZMAError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ImageError(f"{archive.name} is no whole {kind} file: {error}") from error
    return output


def _opened(archive: Path, kind: str) -> BinaryIO:
    if kind == "gzip":
        return cast(BinaryIO, gzip.open(archive, "rb"))
    return cast(BinaryIO, bz2.open(archive, "rb") if kind == "bzip2" else lzma.open(archive, "rb"))


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    total = 0
    while data := source.read(CHUNK):
        total += len(data)
        if total > MOST_BYTES:
            raise ImageError(f"the archive unpacks to more than {MOST_BYTES >> 30} GiB")
        target.write(data)


def _is_root_tree(names: Mapping[str, tarfile.TarInfo]) -> bool:
    return any(name.split("/")[0] in {"etc", "usr", "bin", "sbin"} for name in names)


_Names = Mapping[str, tarfile.TarInfo]
_Found = Sequence[tuple[tarfile.TarInfo, str | None]]


def _json(opened: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    file = opened.extractfile(member)
    if file is None or member.size > MOST_JSON:
        raise ValueError(f"{member.name} is no file of JSON")
    return json.load(file)


def _docker(opened: tarfile.TarFile, names: _Names) -> _Found:
    """Return the layers of a `docker save`; their names are digests in newer ones."""
    images = _json(opened, names["manifest.json"])
    if len(images) != 1:
        tags = ", ".join(str(tag) for image in images for tag in (image.get("RepoTags") or ["untagged"]))
        raise ImageError(f"the archive holds {len(images)} images: {tags}", hint="save one image alone")
    found = []
    for name in images[0]["Layers"]:
        member = names[name]
        if member.issym():
            # Older ones point at a layer that they hold already.
            target = Path(name).parent / member.linkname
            member = names[str(Path(*_folded(target.parts)))]
        hexadecimal = re.fullmatch(r"blobs/sha256/([0-9a-f]{64})", name)
        found.append((member, hexadecimal[1] if hexadecimal else None))
    return found


def _folded(parts: Sequence[str]) -> list[str]:
    folded: list[str] = []
    for part in parts:
        if part == "..":
            folded = folded[:-1]
        else:
            folded.append(part)
    return folded


def _oci(opened: tarfile.TarFile, names: _Names) -> _Found:
    """Return the layers of an OCI image layout: those of its image for our architecture."""
    described = _json(opened, names["index.json"])
    for _ in range(4):
        if "layers" in described:
            break
        fitting = [one for one in described["manifests"] if _fits(one)]
        if len(fitting) != 1:
            raise ImageError(
                f"the archive holds {len(fitting)} images for linux/{ARCHITECTURE}", hint="save one image alone"
            )
        described = json.loads(_blob(opened, names, fitting[0]["digest"]))
    return [(names[_blob_name(layer["digest"])], _hex(layer["digest"])) for layer in described["layers"]]


def _fits(described: Mapping[str, Any]) -> bool:
    platform = described.get("platform")
    if platform is None:
        return True
    return bool(platform.get("os") == "linux" and platform.get("architecture") == ARCHITECTURE)


def _hex(digest: str) -> str:
    kind, _, value = digest.partition(":")
    if kind != "sha256" or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError(f"{digest!r} is no sha256")
    return value


def _blob_name(digest: str) -> str:
    return f"blobs/sha256/{_hex(digest)}"


def _blob(opened: tarfile.TarFile, names: _Names, digest: str) -> bytes:
    member = names[_blob_name(digest)]
    file = opened.extractfile(member)
    if file is None or member.size > MOST_JSON:
        raise ValueError(f"{member.name} is no description")
    data = file.read()
    if hashlib.sha256(data).hexdigest() != _hex(digest):
        raise ImageError(f"{member.name} in the archive is not what its digest says", hint="save the image again")
    return data


def _layer(
    opened: tarfile.TarFile, member: tarfile.TarInfo, digest: str | None, work: Path, number: int, log: Path
) -> Path:
    """Write one layer out, check it against its digest, and return it uncompressed."""
    file = opened.extractfile(member)
    if file is None:
        raise ValueError(f"the layer {member.name} is no file")
    raw = work / f"layer-{number}"
    hashed = hashlib.sha256()
    with file, raw.open("wb") as target:
        while data := file.read(CHUNK):
            hashed.update(data)
            target.write(data)
    if digest is not None and hashed.hexdigest() != digest:
        raise ImageError(f"layer {number + 1} of the archive is not what its digest says", hint="save the image again")
    plain = uncompressed(raw, work / f"layer-{number}.tar", log)
    if plain != raw:
        raw.unlink()
    return plain
