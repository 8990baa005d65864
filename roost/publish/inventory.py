"""What a catalogue holds, as a collection sees it: versions as they were signed, claims, shared bases.

Only what roost wrote is here. A version that does not match its signature is listed with the reason and left alone, and
so are all bases while there is one: it may stand on any of them.
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
    """A version that is listed; `release` is None when it cannot be trusted, `problem` says why."""

    name: str
    version: str
    release: Release | None
    data: bytes
    problem: str = ""

    @property
    def untested(self) -> bool:
        """Whether no test boot of it passed."""
        return self.release is not None and self.release.untested

    @property
    def order(self) -> tuple[str, str]:
        """The newest is the greatest."""
        return (self.release.created if self.release else "", self.version)

    @property
    def own(self) -> list[str]:
        """The files in its own directory, those first without which it is listed no more."""
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
        """Bytes of the files in its own directory, as release.json has them."""
        directory = f"{self.name}/{self.version}/"
        found = self.release.files if self.release else ()
        return sum(file.size for file in found if file.path.startswith(directory))


@dataclass(frozen=True, slots=True)
class Claimed:
    """A claim: the version that somebody writes or removes, or wrote until it was killed.

    `dead` is how it was when the claim was read, before what is listed. Asked later, one that has ended well meanwhile
    would pass for one that was killed, and what it listed just before would be in neither.
    """

    name: str
    version: str
    data: bytes
    dead: bool

    @property
    def path(self) -> str:
        """Where the claim is."""
        return claim.path_of(self.name, self.version)


@dataclass(slots=True)
class Inventory:
    """All of a catalogue; `latest` is what each image's latest.json names."""

    target: Target
    listed: list[Listed] = field(default_factory=list)
    claims: list[Claimed] = field(default_factory=list)
    latest: dict[str, str] = field(default_factory=dict)

    def of(self, name: str) -> list[Listed]:
        """Return the versions of an image that can be trusted, the newest first."""
        found = [one for one in self.listed if one.name == name and one.release is not None]
        return sorted(found, key=lambda one: one.order, reverse=True)

    def used(self, without: Sequence[Listed] = ()) -> set[str]:
        """Return the bases that listed versions use, except those of `without`."""
        gone = {(one.name, one.version) for one in without}
        return {base for one in self.listed if (one.name, one.version) not in gone for base in one.bases}

    @property
    def wrong(self) -> list[Listed]:
        """The versions that cannot be trusted."""
        return [one for one in self.listed if one.release is None]


def read(target: Target) -> Inventory:
    """Read what is listed and claimed; claims first, so that what is being published is seen in one of the two."""
    stock = Inventory(target)
    names = [name.rstrip("/") for name in target.names("") if name.endswith("/")]
    names = [name for name in names if layout.is_name(name)]
    stock.claims = [one for name in names for one in claims(target, name)]
    for name in names:
        for version in listing.versions(target, name):
            found = look(target, name, version)
            if found is not None:
                stock.listed.append(found)
        said = latest_of(target, name)
        if said:
            stock.latest[name] = said
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
    """Return a version that is listed; None when it is not."""
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
    """Return the version that an image's latest.json names, or nothing."""
    try:
        said = jsontext.loads(target.read(f"{name}/{layout.LATEST}") or b"")
        return str(said["version"])
    except (ValueError, KeyError, TypeError):
        return ""
