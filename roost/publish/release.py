"""What a release consists of: every file of the version's directory, worked out before the first byte is sent.

All of it follows from the build directory as the gate found it, the signing key and the place: the same directory gives
the same bytes again, so a publication that was killed goes on where it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from roost.boot import report
from roost.condor import emit
from roost.host import jsontext, paths
from roost.publish import describe, gate, layout, provenance
from roost.publish.describe import ReleasedImage
from roost.publish.gate import Passed
from roost.publish.layout import ReleaseFile
from roost.store import keys

#: Roles of the files that a machine is made of.
IMAGE_ROLES = ("disk", "base", "kernel", "initrd")
_KERNELS = {"vmlinuz": "kernel", "initrd.img": "initrd"}
#: user:password@ of a URL, wherever one stands.
_USERINFO = re.compile(r"(?<=://)[^/@\s\"']+@")


class Signer(Protocol):
    """Signs SHA256SUMS."""

    def __call__(self, data: bytes, /) -> bytes:
        """Return the signature file for `data`."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file to publish: a local one, or bytes that were made for it."""

    file: ReleaseFile
    source: Path | bytes


@dataclass(frozen=True, slots=True)
class Draft:
    """A release that is ready to be written: the items in their order, then the three files that close it."""

    name: str
    version: str
    identity: str
    items: tuple[Artifact, ...]
    release: bytes
    sums: bytes
    signature: bytes

    @property
    def directory(self) -> str:
        """The version's directory, relative to the catalogue's root."""
        return f"{self.name}/{self.version}"

    @property
    def latest(self) -> bytes:
        """What latest.json says once this is what to take."""
        return latest(self.name, self.version, self.release)


def latest(name: str, version: str, release: bytes) -> bytes:
    """Return latest.json for a version whose release.json is `release`."""
    return layout.json_bytes({"name": name, "version": version, "release_sha256": layout.sha256(release)})


def identity(passed: Passed, public: str | None) -> str:
    """Return the sha256 over what makes a release what it is: bytes, recipe and how it was tested; no times.

    A second boot of the same image with the same result is the same release.
    """
    return keys.digest(
        {
            "name": passed.record.name,
            "files": sorted((file.name, file.sha256) for file in passed.record.files),
            "recipe": passed.record.keys.get("recipe"),
            "tested": [(one.hypervisor, one.verdict, one.accelerator) for one in passed.tested],
            "public": public,
        }
    )


def draft(passed: Passed, *, version: str | None, root: str | None, public: str | None, signer: Signer) -> Draft:
    """Return the release of an image that came through the gate.

    `root` is where jobs find the catalogue (a URL or an absolute path; None: its files are carried beside the
    description), `public` what of it the user has said, `version` the user's or None for the content's.
    """
    record, directory = passed.record, passed.directory
    unique = identity(passed, public)
    epoch = record.inputs.get("epoch")
    name = record.name
    chosen = version or layout.content_version(epoch if isinstance(epoch, int) else None, unique)
    prefix = f"{name}/{chosen}"
    images = _images(passed, prefix)
    created = _created(passed)
    remarks = _remarks(passed)
    items = [Artifact(file, directory / file.name) for file in images]
    items += _descriptions(passed, images, prefix, root, remarks)
    evidence = _evidence(passed, prefix)
    items += evidence
    subject = [item.file for item in items if item not in evidence]
    statement = provenance.statement(passed, chosen, subject, [item.file for item in evidence], created)
    items.append(_made(prefix, layout.PROVENANCE, "provenance", _scrubbed(statement)))
    items.append(_made(prefix, layout.MANIFEST, "manifest", _scrubbed(_manifest(passed, chosen, images, created))))
    if passed.sbom is not None:
        items.append(_made(prefix, layout.SBOM, "sbom", passed.sbom))
    release = layout.json_bytes(
        {
            "schema": layout.SCHEMA,
            "name": name,
            "version": chosen,
            "created": created,
            "identity": unique,
            "description": passed.loaded.recipe.description,
            "hypervisors": {one.hypervisor: one.to_json() for one in passed.tested},
            "untested": passed.untested,
            "remarks": remarks,
            "files": [item.file.to_json() for item in items],
            "packages": [
                {"name": one["name"], "version": one["version"]} for one in provenance.packages(passed.record)
            ],
            "submit": _submit(passed, images, root, remarks),
            "kernel": _kernel(record.facts),
            "recipe_key": record.keys.get("recipe"),
            **({} if public is None else {"public": public.rstrip("/")}),
        }
    )
    sums = layout.sums([item.file for item in items], prefix, layout.sha256(release))
    return Draft(name, chosen, unique, tuple(items), release, sums, signer(sums))


def _kernel(facts: Mapping[str, Any]) -> str | None:
    """Return the release of an image's kernel, by what the build saw."""
    seen = facts.get("kernel")
    if isinstance(seen, Mapping):
        return str(seen["version"])
    return next((str(one["version"]) for one in facts.get("kernels") or ()), None)


def _images(passed: Passed, prefix: str) -> list[ReleaseFile]:
    """Return the disks and kernels; what other disks stand on goes where all images share it."""
    backing = backings(passed)
    bases = set(backing.values())
    found = []
    for file in passed.record.files:
        role = "base" if file.name in bases else _KERNELS.get(file.name, "disk")
        path = layout.base_path(file.sha256, file.name) if role == "base" else f"{prefix}/{file.name}"
        found.append(
            ReleaseFile(
                file.name, path, role, file.format, file.size, file.virtual, file.sha256, backing.get(file.name)
            )
        )
    return found


def backings(passed: Passed) -> Mapping[str, str]:
    """Return overlay → base for the files of a build that name one."""
    return {file.name: file.backing for file in passed.record.files if file.backing is not None}


def _created(passed: Passed) -> str:
    """Return when the newest thing about the release came to be: its last boot, else its build. RFC 3339, UTC."""
    boots = [one.booted_at for one in passed.tested if one.booted_at]
    if boots:
        return max(boots)
    built = (passed.directory / layout.MANIFEST).stat().st_mtime
    return datetime.fromtimestamp(int(built), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _remarks(passed: Passed) -> dict[str, str]:
    """Return, by hypervisor, what a reader must be told before the rest."""
    found = {}
    for one in passed.tested:
        if one.verdict == "untested":
            found[one.hypervisor] = f"UNTESTED: published without a test boot that passed ({one.cause})"
        elif one.verdict == "checked, not booted":
            found[one.hypervisor] = f"{one.hypervisor}: checked, not booted ({one.cause})"
    return found


def _descriptions(
    passed: Passed, images: Sequence[ReleaseFile], prefix: str, root: str | None, remarks: Mapping[str, str]
) -> list[Artifact]:
    recipe = passed.loaded.recipe
    items = []
    for hypervisor in recipe.hypervisors:
        if recipe.submit.checkpoint:
            # It would need the disks in place, and published ones never change; release.json says so.
            continue
        if not describe.kernel_is_found(recipe, hypervisor, root):
            # release.json says this too: only a copy of the catalogue at an absolute path has what xen can start.
            continue
        texts = describe.descriptions(
            ReleasedImage(recipe, images, root),
            hypervisor,
            remarks=[remarks[hypervisor]] if hypervisor in remarks else [],
            templates=emit.template_directories(paths.project_root()),
        )
        items.append(_made(prefix, f"{hypervisor}.sub", "submit", texts.description.encode()))
    return items


def _submit(
    passed: Passed, images: Sequence[ReleaseFile], root: str | None, remarks: Mapping[str, str]
) -> dict[str, Any]:
    """Return release.json's `submit`: by hypervisor and transfer, the description and the lines to paste."""
    roots: dict[str, str | None] = {"files": None}
    if root is not None:
        roots["url" if "://" in root else "shared"] = root
    recipe = passed.loaded.recipe
    return {
        hypervisor: describe.by_transfer(
            ReleasedImage(recipe, images),
            hypervisor,
            roots,
            [remarks[hypervisor]] if hypervisor in remarks else [],
            emit.template_directories(paths.project_root()),
        )
        for hypervisor in recipe.hypervisors
    }


def _evidence(passed: Passed, prefix: str) -> list[Artifact]:
    items = []
    for one in passed.tested:
        name, console = f"boot/{one.hypervisor}.json", f"boot/{one.hypervisor}/serial.log"
        page = f"boot/{report.place(one.hypervisor)}"
        if name not in passed.evidence:
            continue
        said = jsontext.loads(passed.evidence[name])
        # Where things were on the machine that booted is nobody's business, and would not be true here.
        said |= {"serial_log": console, "report": page}
        said.pop("argv", None)
        items.append(_made(prefix, name, "verdict", layout.json_bytes(said)))
        if console in passed.evidence:
            items.append(_made(prefix, console, "console", passed.evidence[console]))
        if page in passed.evidence:
            items.append(_made(prefix, page, "report", passed.evidence[page]))
    return items


def _manifest(passed: Passed, version: str, images: Sequence[ReleaseFile], created: str) -> dict[str, Any]:
    """Return the build's manifest, with the recipe, the version, and how it was tested."""
    return {
        **asdict(passed.record),
        "version": version,
        "created": created,
        "untested": passed.untested,
        "hypervisors": {one.hypervisor: one.to_json() for one in passed.tested},
        "recipe": passed.loaded.recipe.model_dump(mode="json", by_alias=True),
        "published": [file.to_json() for file in images],
        "tools": provenance.tool_versions(),
    }


def _scrubbed(value: Mapping[str, Any]) -> bytes:
    """Return JSON without the user and password of any URL in it: a mirror's are secrets."""
    return _USERINFO.sub("", layout.json_bytes(value).decode()).encode()


def _made(prefix: str, name: str, role: str, data: bytes) -> Artifact:
    kind = {".json": "json", ".html": "html", ".sub": "submit", ".log": "text"}[Path(name).suffix]
    file = ReleaseFile(name, f"{prefix}/{name}", role, kind, len(data), len(data), layout.sha256(data))
    return Artifact(file, data)


def causes(passed: Passed) -> list[str]:
    """Return why sides of an image are not `passed`, a line each."""
    return gate.causes(passed.tested)
