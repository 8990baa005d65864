"""The catalogue of kernels: kernels/NAME.yaml says where a kernel comes from and what it can do."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from roost.errors import Location, Problem, RecipeError

Ability = Literal["virtio", "ide", "ahci", "scsi", "nvme", "xen-pv", "xen-dom0", "kvm-host", "usb", "physical"]


class KernelSpec(BaseModel):
    """One kernel of the catalogue: its package by Debian architecture, and its abilities.

    `compression` is that of vmlinuz by suite: what pygrub's and Xen's loaders must be able to unpack.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    description: str
    packages: dict[str, str]
    can: tuple[Ability, ...]
    compression: dict[str, Literal["gzip", "xz", "lz4", "zstd"]] = {}


def names(project: Path) -> list[str]:
    """Return the names of the kernels in a project's kernels/."""
    return sorted(path.stem for path in (project / "kernels").glob("*.yaml"))


def load(name: str, project: Path, where: Location | None = None) -> KernelSpec:
    """Return a kernel by name; raise `RecipeError` (at `where`) for an unknown one, with a suggestion."""
    path = project / "kernels" / f"{name}.yaml"
    if not path.is_file():
        known = names(project)
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean '{close[0]}'?" if close else f"the catalogue has: {', '.join(known) or 'nothing'}"
        raise RecipeError([Problem(f"unknown kernel '{name}'", where, hint)])
    try:
        data = YAML(typ="safe", pure=True).load(path.read_bytes())
        return KernelSpec.model_validate({"name": name, **data})
    except (YAMLError, ValidationError, TypeError) as error:
        raise RecipeError([Problem(f"not a description of a kernel: {error}", Location(str(path)))]) from error
