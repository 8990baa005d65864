"""A tar archive as input: decompressed, and split into layers if it is a container image.

Three forms are distinguished by content: a root tree (`docker export`, debootstrap, tar itself), an image of `docker
save` (manifest.json), an OCI image layout (index.json; image-spec, image-layout.md).
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from roost.errors import ImageError
from roost.host import archive_words, causes, jsontext
from roost.recipe.quantities import format_size
from roost.recipe.words import listed, shown
from roost.sources import compression
from roost.sources.bounds import LEAST, Bounds, Header
from roost.sources.oci import open_layer

CHUNK = 1 << 20
#: Bytes needed to detect the type of a file: the magic of an ISO image follows its first 32 KiB.
HEAD = 64 << 10
#: JSON of container images has a few kilobytes.
MOST_JSON = 8 << 20
#: Layers of a container image; Docker itself makes at most 127.
MOST_LAYERS = 256
#: Names examined to detect the form of an archive: a container image has a few dozen.
MOST_TOLD = 10_000
ARCHITECTURE = "amd64"


@dataclass(frozen=True, slots=True)
class Layers:
    """Uncompressed tars, lowest first; `whiteouts` says whether upper ones remove names of lower ones.

    `container` means that it is a container image: then it may be a single program.
    """

    paths: tuple[Path, ...]
    whiteouts: bool

    @property
    def container(self) -> bool:
        """Whether it is a container image, which has whiteouts and may be a single program."""
        return self.whiteouts


def layers_of(archive: Path, work: Path, log: Path) -> Layers:
    """Return the layers of an archive, uncompressed ones in the directory `work`.

    Raises `ImageError` for an archive that has none of the three forms, is truncated, exceeds `bounds`, or does not
    match its digests.
    """
    bounds = Bounds(archive.name, archive.stat().st_size)
    try:
        plain, names = _plain(archive, archive.name, work / "archive.tar", bounds, log)
        if _is_root_tree(names) or not ({"manifest.json", "index.json"} & names.keys()):
            return Layers((plain,), False)
        with plain.open("rb") as file, open_layer(file) as opened:
            if "manifest.json" in names:
                found = _docker(opened, names)
            elif "oci-layout" in names:
                found = _oci(opened, names)
            else:
                return Layers((plain,), False)
            if len(found) > MOST_LAYERS:
                raise ImageError(f"{archive.name} names {len(found)} layers; the limit is {MOST_LAYERS}")
            paths = [
                _layer(opened, member, digest, work / f"layer-{number}", bounds, log)
                for number, (member, digest) in enumerate(found)
            ]
            return Layers(tuple(paths), True)
    except (tarfile.TarError, EOFError, OverflowError) as error:
        raise _not_a_tar(archive, archive.name, error) from error
    except KeyError as error:
        what = f"{archive.name} looks like a container image, but {shown(str(error), 100)} is not in it"
        raise ImageError(what, hint="save the image again, with all of its layers") from error
    except (ValueError, TypeError, IndexError, RecursionError, AttributeError) as error:
        raise ImageError(f"{archive.name} looks like a container image, but its description is not valid") from error


_Names = Mapping[str, tarfile.TarInfo]
_Found = Sequence[tuple[tarfile.TarInfo, str | None]]


class _Tee:
    """A stream that is written to a file as it is read."""

    def __init__(self, source: IO[bytes], target: IO[bytes], bounds: Bounds) -> None:
        self.source, self.target, self.bounds = source, target, bounds
        self.total = 0

    def read(self, size: int) -> bytes:
        self.bounds.in_time()
        data = self.source.read(size)
        self.total += len(data)
        # Headers come on top of the content of files.
        if self.total > self.bounds.limit + LEAST:
            raise self.bounds.too_large(f"it unpacks to more than {format_size(self.total - len(data))}")
        self.target.write(data)
        return data


def _plain(path: Path, name: str, output: Path, bounds: Bounds, log: Path) -> tuple[Path, _Names]:
    """Return the uncompressed tar, which is `output` unless `path` is one itself, and its names, all of them counted.

    Of a root tree only the first names are returned; `name` is its name in messages.
    """
    with path.open("rb") as file:
        head = file.read(HEAD)
    kind = compression.kind_of(head)
    try:
        if kind is None:
            with path.open("rb") as file, open_layer(file) as opened:
                names = _counted(opened, bounds)
                file.seek(opened.offset)
                bounds.padding(file)
            return path, names
        with compression.opened(path, kind, log) as source, output.open("wb") as target:
            tee: Any = _Tee(source, target, bounds)
            with tarfile.open(
                fileobj=tee, mode="r|", bufsize=CHUNK, errors="surrogateescape", tarinfo=Header
            ) as opened:
                names = _counted(opened, bounds)
                bounds.padding(cast(IO[bytes], opened.fileobj))
        return output, names
    except (tarfile.TarError, EOFError, OverflowError, ValueError, IndexError, RecursionError) as error:
        raise _not_a_tar(path if kind is None else output, name, error, kind) from error


def _counted(opened: tarfile.TarFile, bounds: Bounds) -> _Names:
    names: dict[str, tarfile.TarInfo] = {}
    for member in opened:
        bounds.member(member)
        bounds.header(opened.pax_headers)
        if len(names) < MOST_TOLD:
            names[member.name.removeprefix("./")] = member
        # tarfile caches all members that it has read.
        opened.members.clear()  # type: ignore[attr-defined]
    return names


def _not_a_tar(unpacked: Path, name: str, error: Exception, kind: str | None = None) -> ImageError:
    """Return why a file is not an archive; `unpacked` is its content as far as it was decompressed from `kind`."""
    try:
        with unpacked.open("rb") as file:
            head = file.read(HEAD)
    except OSError as unread:
        causes.check(unread)
        head = b""
    if not head:
        what = "is empty" if kind is None else f"is empty once unpacked, or not a complete {kind} file"
        return ImageError(f"{name} {what}: it is not a complete tar archive", hint=archive_words.AGAIN)
    return compression.foreign(name, head) or ImageError(
        f"{name} is not a complete tar archive: {shown(archive_words.told(error), 100)}", hint=archive_words.AGAIN
    )


def _is_root_tree(names: Mapping[str, tarfile.TarInfo]) -> bool:
    return any(name.split("/")[0] in {"etc", "usr", "bin", "sbin"} for name in names)


def _json(opened: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    file = opened.extractfile(member)
    if file is None or member.size > MOST_JSON:
        raise ValueError(f"{member.name} is not a JSON file")
    return jsontext.loads(file.read(MOST_JSON))


def _docker(opened: tarfile.TarFile, names: _Names) -> _Found:
    """Return the layers of a `docker save`; in newer ones their names are digests."""
    images = _json(opened, names["manifest.json"])
    if len(images) != 1:
        tags = ", ".join(str(tag) for image in images for tag in (image.get("RepoTags") or ["untagged"]))
        raise ImageError(f"the archive holds {len(images)} images: {tags or 'none'}", hint="save one image alone")
    found = []
    for name in images[0]["Layers"]:
        member = names[name]
        if member.issym():
            # Older versions link to a layer that the archive already has.
            target = Path(name).parent / member.linkname
            member = names[str(Path(*_folded(target.parts)))]
        hexadecimal = re.fullmatch(r"blobs/sha256/([0-9a-f]{64})", name)
        found.append((member, hexadecimal[1] if hexadecimal else None))
    config = names.get(str(images[0].get("Config")))
    if config is not None:
        _fits_machine(_json(opened, config))
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
        described = jsontext.loads(_blob(opened, names, _fitting(described["manifests"])))
    config = described.get("config", {}).get("digest")
    if config is not None and _blob_name(config) in names:
        _fits_machine(jsontext.loads(_blob(opened, names, config)))
    return [(names[_blob_name(layer["digest"])], _hex(layer["digest"])) for layer in described["layers"]]


def _fitting(manifests: Sequence[Mapping[str, Any]]) -> str:
    """Return the digest of the single manifest for linux/amd64; one without a platform may be for any."""
    # BuildKit stores attestations about an image next to it, for the platform unknown/unknown.
    images = [one for one in manifests if "vnd.docker.reference.type" not in (one.get("annotations") or {})]
    fitting = [one for one in images if _platform(one) in {f"linux/{ARCHITECTURE}", ""}]
    # amd64/v2 and later need newer processors than an execution point may have.
    plain = [one for one in fitting if not (one.get("platform") or {}).get("variant")] or fitting
    digests = sorted({str(one["digest"]) for one in plain})
    if len(digests) != 1:
        held = listed(sorted({shown(_platform(one)) or "no platform" for one in images})) or "none"
        raise ImageError(
            f"the archive holds {len(digests)} images for linux/{ARCHITECTURE} (all of its images: {held})",
            hint="save one image alone, of that platform",
        )
    return digests[0]


def _platform(described: Mapping[str, Any]) -> str:
    platform = described.get("platform") or {}
    return f"{platform.get('os')}/{platform.get('architecture')}" if platform else ""


def _fits_machine(config: Mapping[str, Any]) -> None:
    """Raise unless an image's configuration is for Linux on our architecture, as far as it is set."""
    system, architecture = config.get("os") or "linux", config.get("architecture") or ARCHITECTURE
    if (system, architecture) != ("linux", ARCHITECTURE):
        raise ImageError(
            f"the container image is for {shown(str(system))}/{shown(str(architecture))}, not linux/{ARCHITECTURE}",
            hint=f"pull it with --platform linux/{ARCHITECTURE}, and save it again",
        )


def _hex(digest: str) -> str:
    kind, _, value = digest.partition(":")
    if kind != "sha256" or not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError(f"{digest!r} is not a sha256")
    return value


def _blob_name(digest: str) -> str:
    return f"blobs/sha256/{_hex(digest)}"


def _blob(opened: tarfile.TarFile, names: _Names, digest: str) -> bytes:
    member = names[_blob_name(digest)]
    file = opened.extractfile(member)
    if file is None or member.size > MOST_JSON:
        raise ValueError(f"{member.name} is not a description")
    data = file.read()
    if hashlib.sha256(data).hexdigest() != _hex(digest):
        raise ImageError(f"{member.name} in the archive does not match its digest", hint="save the image again")
    return data


def _layer(
    opened: tarfile.TarFile, member: tarfile.TarInfo, digest: str | None, raw: Path, bounds: Bounds, log: Path
) -> Path:
    """Write one layer to `raw`, check it against its digest, and return it uncompressed."""
    number = raw.name.removeprefix("layer-")
    name = f"layer {int(number) + 1} of {bounds.name}"
    file = opened.extractfile(member)
    if file is None:
        raise ValueError(f"{name}, {member.name}, is not a file")
    hashed = hashlib.sha256()
    bounds.add(member.size, f"{name} has {format_size(member.size)}")
    with file, raw.open("wb") as target:
        while data := file.read(CHUNK):
            hashed.update(data)
            target.write(data)
    if digest is not None and hashed.hexdigest() != digest:
        raise ImageError(f"{name} does not match its digest", hint="save the image again")
    plain, _ = _plain(raw, name, raw.with_suffix(".tar"), bounds, log)
    if plain != raw:
        raw.unlink()
    return plain
