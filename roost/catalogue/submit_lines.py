"""The submit lines offered to a reader, by hypervisor and transfer, with the catalogue's location marked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from roost.catalogue.model import Version
from roost.condor import emit
from roost.errors import ImageError, RoostError
from roost.host import paths
from roost.publish import describe
from roost.publish.describe import ReleasedImage
from roost.publish.targets.target import Target

#: Placeholders used when the catalogue's location for jobs is not known.
UNKNOWN = {"shared": "/path/of/the/catalogue", "url": "https://catalogue.invalid/images"}
TRANSFERS = ("files", "shared", "url")


@dataclass(frozen=True, slots=True)
class Roots:
    """The location of the catalogue for jobs: as a shared directory, and by URL; None: not known."""

    shared: str | None
    url: str | None

    def of(self, transfer: str) -> tuple[str | None, bool]:
        """Return the root for a transfer, and whether it is not a placeholder."""
        known = {"files": None, "shared": self.shared, "url": self.url}[transfer]
        return (known, True) if known is not None or transfer == "files" else (UNKNOWN[transfer], False)


def roots(target: Target, public: str | None) -> Roots:
    """Return the location of a catalogue for jobs; `public` is a URL or an absolute path given by the user."""
    shared = str(target.local) if target.local is not None else None
    scheme = target.url.partition("://")[0]
    url = target.url if scheme in {"http", "https", "osdf"} else f"file://{shared}" if shared else None
    if public is None:
        return Roots(shared, url)
    given = public.rstrip("/")
    return Roots(shared, given) if "://" in given else Roots(given, url if url != f"file://{shared}" else None)


@dataclass(frozen=True, slots=True)
class SubmitLines:
    """One choice: `whole` and `snippet` as pieces of text, where every second piece is the catalogue's root.

    `known` is false when the root is a placeholder. `refused` is why there are no lines.
    """

    hypervisor: str
    transfer: str
    root: str
    known: bool
    whole: tuple[str, ...] = ()
    snippet: tuple[str, ...] = ()
    refused: str = ""

    def needs(self, name: str) -> bool:
        """Return whether the lines name this file: some disks of an image are for its other hypervisor only."""
        text = "".join(self.whole)
        return re.search(rf"(?<![\w.+-]){re.escape(name)}(?![\w.+-])", text) is not None


def choices(version: Version, where: Roots) -> list[SubmitLines]:
    """Return the lines of a version for each of its hypervisors and each transfer."""
    return list(_choices(version, where))


def _choices(version: Version, where: Roots) -> Iterator[SubmitLines]:
    remarks = {side.hypervisor: _remark(version, side.hypervisor) for side in version.sides}
    for hypervisor in (side.hypervisor for side in version.sides):
        for transfer in TRANSFERS:
            root, known = where.of(transfer)
            try:
                if version.recipe is None:
                    whole, snippet = _published(version, hypervisor, transfer)
                    yield SubmitLines(hypervisor, transfer, "", True, (whole,), (snippet,))
                    continue
                whole, snippet = describe.descriptions(
                    ReleasedImage(version.recipe, version.images, root),
                    "xen" if hypervisor == "xen" else "kvm",
                    remarks=remarks[hypervisor],
                    templates=emit.template_directories(paths.project_root()),
                )
            except RoostError as error:
                refused = "; ".join(problem.what for problem in error.problems)
                yield SubmitLines(hypervisor, transfer, root or "", known, refused=refused)
                continue
            yield SubmitLines(hypervisor, transfer, root or "", known, _pieces(whole, root), _pieces(snippet, root))


def _published(version: Version, hypervisor: str, transfer: str) -> tuple[str, str]:
    """Return the description and its snippet as published, for a release of another roost version."""
    try:
        assert version.release is not None
        lines = version.release.raw["submit"][hypervisor][transfer]
        return str(lines["description"]), str(lines["snippet"])
    except (KeyError, TypeError) as error:
        raise ImageError("this version was published without submit lines for this transfer") from error


def _remark(version: Version, hypervisor: str) -> list[str]:
    remarks = version.release.raw.get("remarks") if version.release else None
    remark = remarks.get(hypervisor) if isinstance(remarks, dict) else None
    return [str(remark)] if remark else []


def _pieces(text: str, root: str | None) -> tuple[str, ...]:
    """Split a text at each root; text and roots alternate, text first."""
    if not root:
        return (text,)
    parts = text.split(f"{root}/")
    pieces = [parts[0]]
    for part in parts[1:]:
        pieces += [root, f"/{part}"]
    return tuple(pieces)
