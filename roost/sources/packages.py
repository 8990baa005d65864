"""The packages that apt selects for a tree, as values, and apt's lists of an archive's packages. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from roost.errors import ImageError
from roost.recipe.words import shown

#: A line of `apt-get --print-uris`: 'URI' FILE SIZE HASH:SUM.
_URI = re.compile(r"'[^']+' (?P<file>\S+\.deb) (?P<size>\d+) ?(?P<sum>\S*)")
_NAME = re.compile(r"[a-z0-9][a-z0-9+.-]*")
#: Debian Policy 5.6.12, restricted to characters that are safe in a file name.
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~:_-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """A package of an archive: `sha256` is that of its .deb, from the signed index."""

    name: str
    version: str
    architecture: str
    sha256: str

    @property
    def file(self) -> str:
        """The name of the .deb in apt's cache: an epoch's colon is written %3a (apt, pkgAcqArchive)."""
        return f"{self.name}_{_quoted(self.version)}_{self.architecture}.deb"

    @property
    def exact(self) -> str:
        """The package as an argument of apt-get(8): NAME=VERSION."""
        return f"{self.name}={self.version}"

    def parts(self) -> list[str]:
        """Return it as JSON, in the form used in keys."""
        return [self.name, self.version, self.architecture, self.sha256]


def _quoted(text: str) -> str:
    return "".join(f"%{ord(char):02x}" if char in "_:%" else char for char in text)


def package(name: object, version: object, architecture: object, sha256: object) -> Package:
    """Return a package from untrusted strings; raise `ValueError` if they are not valid."""
    rules = ((name, _NAME), (version, _VERSION), (architecture, re.compile(r"[a-z0-9-]+")), (sha256, _SHA256))
    for value, rule in rules:
        if not isinstance(value, str) or len(value) > 256 or not rule.fullmatch(value):
            raise ValueError(f"not a package's name, version, architecture or sha256: {shown(str(value), 80)}")
    return Package(str(name), str(version), str(architecture), str(sha256))


def of_uris(text: str) -> tuple[Package, ...]:
    """Return the packages in the output of `apt-get --print-uris`, sorted; raise `ImageError` without a sha256."""
    found = set()
    for line in text.splitlines():
        match = _URI.fullmatch(line.strip())
        if match is None:
            continue
        name, version, architecture = (unquote(part) for part in match["file"].removesuffix(".deb").split("_"))
        kind, _, value = match["sum"].partition(":")
        try:
            found.add(package(name, version, architecture, value if kind == "SHA256" else ""))
        except ValueError as error:
            what = f"the archive's index has no SHA256 of {shown(name)} {shown(version)}"
            raise ImageError(what, hint="its repository must be made again with a current tool") from error
    return tuple(sorted(found))


_FIELD = re.compile(r"^(Package|Version|Architecture|SHA256): *(\S+) *$", re.MULTILINE)


def only(data: bytes, wanted: Iterable[Package]) -> tuple[str, set[Package]]:
    """Return a Packages file reduced to the wanted packages, and which of them it has.

    It may have 50 MB, of which little is wanted: only that is decoded.
    """
    by_name: dict[bytes, set[Package]] = {}
    for one in wanted:
        by_name.setdefault(one.name.encode(), set()).add(one)
    kept, found = [], set()
    for content in data.split(b"\n\n"):
        named = _NAMED.match(content)
        if named is None or named[1] not in by_name:
            continue
        stanza = content.decode()
        fields = dict(_FIELD.findall(stanza))
        this = Package(*(fields.get(key, "") for key in ("Package", "Version", "Architecture", "SHA256")))
        if this in by_name[named[1]]:
            kept.append(stanza.strip("\n"))
            found.add(this)
    return "".join(f"{stanza}\n\n" for stanza in kept), found


def replaced(text: str, wanted: Iterable[Package]) -> set[Package]:
    """Return the wanted packages that a Packages file has in the same version, but with another sha256."""
    sums: dict[tuple[str, str, str], set[str]] = {}
    for stanza in text.split("\n\n"):
        fields = dict(_FIELD.findall(stanza))
        name, version, architecture = (fields.get(key, "") for key in ("Package", "Version", "Architecture"))
        sums.setdefault((name, version, architecture), set()).add(fields.get("SHA256", ""))
    return {one for one in wanted if sums.get((one.name, one.version, one.architecture), {one.sha256}) - {one.sha256}}


_NAMED = re.compile(rb"\s*Package: *(\S+)")
_CONTENT = re.compile(r"^(?:Size|MD5sum|SHA1|SHA256|SHA512):.*\n?", re.MULTILINE)


def stored(text: str, sizes: Mapping[str, int]) -> str:
    """Return a Packages file with the sizes of the available files, by `Package.file`, and without checksums.

    apt recognizes the file of a package by its name and size.
    """
    kept = []
    for stanza in filter(None, text.split("\n\n")):
        fields = dict(_FIELD.findall(stanza))
        this = Package(*(fields.get(key, "") for key in ("Package", "Version", "Architecture", "SHA256")))
        size = sizes.get(this.file)
        kept.append(stanza if size is None else f"{_CONTENT.sub('', stanza).rstrip()}\nSize: {size}")
    return "".join(f"{stanza.strip()}\n\n" for stanza in kept)


def ordered(text: str) -> str:
    """Return a Packages file sorted by package name."""
    return "".join(f"{stanza}\n\n" for stanza in sorted(filter(None, (one.strip("\n") for one in text.split("\n\n")))))


@dataclass(frozen=True, slots=True)
class Selection:
    """What apt selects: the packages, sorted; `lists` is a directory of apt's lists with exactly these packages.

    Only these lists determine which packages are installed, and in which order.
    """

    packages: tuple[Package, ...] = ()
    lists: Path | None = None
    #: Packages of the same archive that are in no tree: build tools and files to copy, the same on all hosts.
    tools: tuple[Package, ...] = ()
    #: The packages that are installed first: the essential ones and their dependencies.
    essential: tuple[Package, ...] = ()

    def inputs(self) -> list[list[str]]:
        """Return what a tree depends on, as JSON."""
        return [one.parts() for one in self.packages]


def of_parts(found: Any) -> tuple[Package, ...]:
    """Return the packages in the result of `Selection.inputs`; raise `ValueError` for anything else."""
    if not isinstance(found, list):
        raise ValueError("not a list of packages")
    return tuple(sorted(package(*entry) if len(entry) == 4 else package("", "", "", "") for entry in found))
