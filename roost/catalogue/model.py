"""The model of a catalogue for its pages and JSON: images, their versions, the test results of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from roost.publish.layout import Release, ReleaseFile
from roost.publish.release import IMAGE_ROLES
from roost.publish.targets.target import Target
from roost.recipe.model import Recipe


@dataclass(frozen=True, slots=True)
class Side:
    """The test result for one hypervisor; `seconds` are the phases of its boot, `console` the last lines."""

    hypervisor: str
    verdict: str
    accelerator: str = ""
    booted_at: str = ""
    cause: str = ""
    machine: str = ""
    #: The version of the hypervisor, such as "Xen 4.17.6".
    version: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    expectations: tuple[tuple[bool, str, str], ...] = ()
    console: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Package:
    """A package in the guest's package database."""

    name: str
    version: str
    architecture: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """One version; `problem` is why its content is not trusted. Sizes are in bytes."""

    name: str
    version: str
    created: str = ""
    description: str = ""
    untested: bool = False
    sides: tuple[Side, ...] = ()
    files: tuple[ReleaseFile, ...] = ()
    packages: tuple[Package, ...] = ()
    kernel: str = ""
    system: str = ""
    signed_by: str = ""
    recipe: Recipe | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    release: Release | None = None
    problem: str = ""
    #: As in the manifest.
    filesystems: tuple[Mapping[str, Any], ...] = ()

    @property
    def booted(self) -> bool:
        """Whether `created` is the time of its last test boot, not of its build."""
        return any(one.booted_at for one in self.sides)

    @property
    def images(self) -> tuple[ReleaseFile, ...]:
        """The disks and kernels, which are the files that a job needs."""
        return tuple(file for file in self.files if file.role in IMAGE_ROLES)

    @property
    def transfer(self) -> int:
        """The transfer size of disks and kernels in bytes."""
        return sum(file.size for file in self.images)


@dataclass(frozen=True, slots=True)
class CatalogueImage:
    """An image: its versions, newest first; `latest` is the version named by latest.json."""

    name: str
    latest: str
    versions: tuple[Version, ...]

    @property
    def current(self) -> Version:
        """The version to use: the latest if it is trusted, else the newest trusted one."""
        good = [one for one in self.versions if not one.problem]
        return next((one for one in good if one.version == self.latest), (good or self.versions)[0])


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All images in a catalogue, by name."""

    target: Target
    images: tuple[CatalogueImage, ...]

    @property
    def problems(self) -> list[str]:
        """The problems of the listed versions, one line each."""
        return [one.problem for image in self.images for one in image.versions if one.problem]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON contract of `inv catalogue --json`."""
        return {
            "url": self.target.url,
            "ok": not self.problems,
            "images": [
                {
                    "name": image.name,
                    "description": image.current.description,
                    "latest": image.latest or None,
                    "versions": [_json(one) for one in image.versions],
                }
                for image in self.images
            ],
        }


def _json(version: Version) -> dict[str, Any]:
    return {
        "version": version.version,
        "created": version.created,
        "untested": version.untested,
        "hypervisors": {side.hypervisor: side.verdict for side in version.sides},
        "transfer": version.transfer,
        "files": [file.to_json() for file in version.images],
        "packages": len(version.packages),
        "kernel": version.kernel,
        "signed_by": version.signed_by or None,
        "problem": version.problem or None,
    }
