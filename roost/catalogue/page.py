"""The pages of a catalogue as HTML: all images, one image, one version.

Values from a catalogue (names, versions, packages, a guest's console) are untrusted; `roost.host.webpage` documents
how they are escaped.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from roost.boot.report import timeline
from roost.catalogue.changes import KINDS, Changes, between
from roost.catalogue.model import Catalogue, CatalogueImage, Version
from roost.catalogue.submit_lines import Roots, SubmitLines, choices
from roost.host import webpage
from roost.recipe.quantities import format_size

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
_LOOK = webpage.look(TEMPLATES / "style.css", TEMPLATES / "script.js")
POLICY = _LOOK["policy"]

#: The transfers on the pages: the name of the choice, its explanation.
TRANSFERS = {
    "files": (
        "Files",
        "Download the files into the directory of the submit description; each job gets copies of them.",
    ),
    "shared": (
        "Shared directory",
        "The access point reads the catalogue as a directory; each job gets copies of the files.",
    ),
    "url": ("URL", "The execution point fetches the files itself; nothing passes through the access point."),
}


@dataclass(frozen=True)
class Pages:
    """Renders the pages of one catalogue.

    `files` is the base of links to published files: an http(s) URL, or the path from the site's root to the catalogue;
    None: no links.
    """

    catalogue: Catalogue
    roots: Roots
    files: str | None
    _known: dict[tuple[str, str], Sequence[SubmitLines]] = field(default_factory=dict)

    @cached_property
    def _environment(self) -> Environment:
        environment = webpage.environment("roost.catalogue")
        environment.filters.update(size=format_size, moment=_moment, seconds=_seconds, part=_part, sides=_sides)
        environment.globals.update(**_LOOK, transfers=TRANSFERS, kinds=KINDS, bars=_bars)
        return environment

    def _render(self, template: str, up: str, **values: Any) -> bytes:
        text = self._environment.get_template(template).render(
            catalogue=self.catalogue, up=up, link=lambda path: self._link(path, up), **values
        )
        return text.encode("utf-8", "replace")

    def _link(self, path: str, up: str) -> str | None:
        """Return the address of a published file, or None without a base."""
        if self.files is None:
            return None
        root = self.files if "://" in self.files else f"{up}{self.files}"
        return f"{root}/{quote(path)}"

    def index(self) -> bytes:
        """Return the page of all images."""
        keys = sorted({one.signed_by for image in self.catalogue.images for one in image.versions if one.signed_by})
        return self._render("index.html.j2", "", images=self.catalogue.images, keys=keys)

    def image(self, image: CatalogueImage) -> bytes:
        """Return the page of an image: its current version, all its versions, and what changed between them."""
        steps = history(image)
        return self._render(
            "image.html.j2",
            "../",
            image=image,
            version=image.current,
            lines=self._lines(image.current),
            steps=steps,
            changes=steps.get(image.current.version),
            data=_compared(image, steps),
        )

    def version(self, image: CatalogueImage, version: Version) -> bytes:
        """Return the page of one version."""
        return self._render(
            "version.html.j2",
            "../../",
            image=image,
            version=version,
            lines=self._lines(version),
            changes=history(image).get(version.version),
        )

    def _lines(self, version: Version) -> Sequence[SubmitLines]:
        key = (version.name, version.version)
        if key not in self._known:
            self._known[key] = () if version.problem else choices(version, self.roots)
        return self._known[key]


def history(image: CatalogueImage) -> Mapping[str, Changes]:
    """Return the changes of each version from the one before it, by version; the oldest has no entry."""
    good = [one for one in image.versions if not one.problem]
    return {newer.version: between(older, newer) for newer, older in itertools.pairwise(good)}


def _compared(image: CatalogueImage, steps: Mapping[str, Changes]) -> dict[str, Any]:
    """Return the data from which the page's script computes the difference of any two versions, oldest first."""
    versions = [one.version for one in reversed(image.versions) if not one.problem]
    return {
        "versions": versions,
        "steps": [[[one.kind, one.what, one.old, one.new] for one in steps[version].items] for version in versions[1:]],
        # By digest: a file that is in both versions, such as a shared base, need not be fetched again.
        "files": [
            {file.sha256: file.size for file in one.images} for one in reversed(image.versions) if not one.problem
        ],
    }


def _sides(image: CatalogueImage) -> list[list[str]]:
    """Return the filter values of an image: hypervisor and verdict of each side of the current version."""
    version = image.current
    return [["", "wrong"]] if version.problem else [[side.hypervisor, side.verdict] for side in version.sides]


def _moment(text: str) -> str:
    """Return an RFC 3339 time in readable form."""
    return f"{text[:10]} {text[11:16]} UTC" if len(text) == 20 and text.endswith("Z") else text


def _seconds(taken: float) -> str:
    return f"{taken:.1f} s" if taken < 100 else f"{taken:.0f} s"


def _part(sha: str) -> str:
    return sha[:12]


def _bars(seconds: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the timeline's bars with their positions in per cent, for the guest's phases only."""
    guest = [bar for bar in timeline(seconds) if bar["kind"] == "guest"]
    whole = math.fsum(bar["seconds"] for bar in guest) or 1.0
    at = 0.0
    for number, bar in enumerate(guest):
        bar |= {"at": round(100 * at / whole, 3), "width": round(100 * bar["seconds"] / whole, 3), "tone": number % 6}
        at += bar["seconds"]
    return guest
