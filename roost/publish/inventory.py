"""The contents of a catalogue for a collection: signed versions, claims, shared bases.

Only what roost wrote is included. A version that does not match its signature is listed with the reason and kept, and
so are all bases then, because it may need any of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from roost.errors import ImageError
from roost.host import jsontext
from roost.publish import claim, layout, listing
from roost.publish.layout import Release
from roost.publish.targets.target import Target


@dataclass(frozen=True, slots=True)
class Listed:
    """A listed version; `release` is None when it is not trusted, `problem` is the reason."""

    name: str
    version: str
    release: Release | None
    data: bytes
    problem: str = ""

    @property
    def untested(self) -> bool:
        """Whether none of its test boots passed."""
        return self.release is not None and self.release.untested

    @property
    def order(self) -> tuple[str, str]:
        """The sort key: the newest version is the greatest."""
        return (self.release.created if self.release else "", self.version)

    @property
    def own(self) -> list[str]:
        """The files in its directory, starting with those whose removal unlists it."""
        directory = f"{self.name}/{self.version}"
        closing = [f"{directory}/{one}" for one in (layout.RELEASE, layout.SIGNATURE, layout.SUMS)]
        inside = (
            [file.path for file in self.release.files if file.path.startswith(f"{directory}/")] if self.release else []
        )
        return [*closing, *inside]

    @property
    def bases(self) -> list[str]:
        """The shared bases that it uses."""
        found = self.release.files if self.release else ()
        return [file.path for file in found if file.path.startswith(f"{layout.BASES}/")]

    @property
    def bytes(self) -> int:
        """The total size of the files in its directory according to release.json."""
        directory = f"{self.name}/{self.version}/"
        found = self.release.files if self.release else ()
        return sum(file.size for file in found if file.path.startswith(directory))


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim: the version that a process writes or removes, or did until it was killed.

    `dead` is determined when the claim is read, before the listed versions are. Later, a publication that completed
    meanwhile would look killed, and what it had just listed would be missing from both.
    """

    name: str
    version: str
    data: bytes
    dead: bool

    @property
    def path(self) -> str:
        """The path of the claim."""
        return claim.path_of(self.name, self.version)


@dataclass(slots=True)
class Inventory:
    """The contents of a catalogue; `latest` is the version named by each image's latest.json."""

    target: Target
    listed: list[Listed] = field(default_factory=list)
    claims: list[Claimed] = field(default_factory=list)
    latest: dict[str, str] = field(default_factory=dict)

    def of(self, name: str) -> list[Listed]:
        """Return the trusted versions of an image, newest first."""
        found = [one for one in self.listed if one.name == name and one.release is not None]
        return sorted(found, key=lambda one: one.order, reverse=True)

    def used(self, without: Sequence[Listed] = ()) -> set[str]:
        """Return the bases used by listed versions, except those in `without`."""
        excluded = {(one.name, one.version) for one in without}
        return {base for one in self.listed if (one.name, one.version) not in excluded for base in one.bases}

    @property
    def wrong(self) -> list[Listed]:
        """The versions that are not trusted."""
        return [one for one in self.listed if one.release is None]


def read(target: Target) -> Inventory:
    """Read claims, then listed versions, so that a version being published is in at least one of the two."""
    stock = Inventory(target)
    names = [name.rstrip("/") for name in target.names("") if name.endswith("/")]
    names = [name for name in names if layout.is_name(name)]
    stock.claims = [one for name in names for one in claims(target, name)]
    for name in names:
        for version in listing.versions(target, name):
            found = look(target, name, version)
            if found is not None:
                stock.listed.append(found)
        latest = latest_of(target, name)
        if latest:
            stock.latest[name] = latest
    return stock


def claims(target: Target, name: str) -> Iterator[Claimed]:
    """Yield the claims to versions of an image."""
    for entry in target.names(f"{name}/{layout.CLAIMS}"):
        version = entry.removesuffix(".json")
        if entry.endswith(".json") and layout.is_version(version):
            data = target.read(f"{name}/{layout.CLAIMS}/{entry}")
            if data is not None:
                yield Claimed(name, version, data, claim.dead(data))


def look(target: Target, name: str, version: str) -> Listed | None:
    """Return a listed version, or None when it is not listed."""
    path = f"{name}/{version}/{layout.RELEASE}"
    data = target.read(path)
    if data is None:
        return None
    try:
        listing.check_release(target, name, version, data)
        release = layout.parse_release(data, path)
        if (release.name, release.version) != (name, version):
            raise ImageError(f"{path} belongs to {release.name} {release.version}")
    except ImageError as error:
        return Listed(name, version, None, data, error.problem.what)
    return Listed(name, version, release, data)


def latest_of(target: Target, name: str) -> str:
    """Return the version named by an image's latest.json, or an empty string."""
    try:
        pointer = jsontext.loads(target.read(f"{name}/{layout.LATEST}") or b"")
        return str(pointer["version"])
    except (ValueError, KeyError, TypeError):
        return ""
