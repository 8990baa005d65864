"""The catalogue of kernels: kernels/NAME.yaml describes the source and capabilities of a kernel."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from roost.errors import ImageError, Location, Problem, RecipeError
from roost.host import files, paths
from roost.host.paths import display
from roost.recipe.base import Line, Model
from roost.recipe.messages import message
from roost.recipe.nodes import Node
from roost.recipe.parse import parse
from roost.recipe.schema import keys
from roost.recipe.words import did_you_mean, kind, near, shown

Ability = Literal["virtio", "ide", "ahci", "scsi", "nvme", "xen-pv", "xen-dom0", "kvm-host", "usb", "physical"]
Packed = Literal["gzip", "bzip2", "lzma", "xz", "lzo", "lz4", "zstd"]


class Part(Model):
    """A file: by its path, relative to the directory of the description, or by URL; `sha256` is verified."""

    path: Annotated[str, StringConstraints(pattern=r"^[^\x00\n]+$")] | None = None
    url: Annotated[str, StringConstraints(pattern=r"^(https?|file)://[^\s\"'<>]+$")] | None = None
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if (self.path is None) == (self.url is None):
            raise ValueError("give exactly one of path and url")
        if self.url is not None and self.sha256 is None:
            raise ValueError("a URL needs a sha256")
        return self


class Files(Model):
    """A kernel that is not a package: its bzImage, its modules as a tar, and an initrd made for it."""

    kernel: Part
    modules: Part | None = None
    initrd: Part | None = None


class KernelSpec(Model):
    """One kernel of the catalogue: a package by Debian architecture, or files; and its capabilities.

    `compression` is that of vmlinuz by suite, which the loaders of pygrub and Xen must support. These claims
    are checked before a build; a built kernel is checked by its files. An empty `can` makes no claims.
    """

    name: str
    description: Line
    packages: dict[str, Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.-]*$")]] = Field(
        default_factory=dict
    )
    files: Files | None = None
    can: tuple[Ability, ...] = ()
    compression: dict[str, Packed] = Field(default_factory=dict)
    #: The path of the description, and the location of each part in it; not part of the description.
    path: str = Field(default="", exclude=True)
    places: Mapping[str, Location] = Field(default_factory=dict, exclude=True)

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if bool(self.packages) == (self.files is not None):
            raise ValueError("give exactly one of packages and files")
        return self

    @property
    def parts(self) -> dict[str, Part]:
        """The files of a kernel that is not a package, by role; empty for a package."""
        if self.files is None:
            return {}
        named = {"kernel": self.files.kernel, "modules": self.files.modules, "initrd": self.files.initrd}
        return {name: part for name, part in named.items() if part is not None}

    def package(self, architecture: str) -> str | None:
        """Return its package, or None if it is files; raise `ImageError` for an architecture without a package."""
        if self.files is None and architecture not in self.packages:
            raise ImageError(f"kernel {self.name} has no package for {architecture}")
        return self.packages.get(architecture)

    def where(self, part: str) -> Location | None:
        """Return the location of a part in the description."""
        return self.places.get(part)


def names(project: Path) -> list[str]:
    """Return the names of the kernels in a project's kernels/, or else of those that come with roost."""
    own = project / "kernels"
    directory = own if own.is_dir() else paths.shipped_root() / "kernels"
    return sorted(path.stem for path in directory.glob("*.yaml") if not path.name.startswith("."))


def _roots(project: Path) -> tuple[Path, ...]:
    """Return the directories that kernels are looked up in: the project's, then roost's own."""
    return (project, paths.shipped_root())


def load(name: str, project: Path, where: Location | None = None) -> KernelSpec:
    """Return a kernel by name; raise `RecipeError` for an unknown one (at `where`) or with all mistakes in it."""
    places = [root / "kernels" / f"{name}.yaml" for root in _roots(project)]
    path = next((place for place in places if os.path.lexists(place)), places[0])
    try:
        data = files.read_bytes(path)
    except FileNotFoundError as error:
        known = names(project)
        close = near(name, known)
        hint = f"did you mean '{close}'?" if close else f"the catalogue has: {', '.join(known) or 'nothing'}"
        raise RecipeError([Problem(f"unknown kernel '{shown(name)}'", where, hint)]) from error
    except OSError as error:
        raise RecipeError([Problem(f"cannot be read: {error.strerror}", Location(display(path)))]) from error
    return read(data, name, path)


def load_all(project: Path) -> tuple[list[KernelSpec], list[Problem]]:
    """Return all kernels of a project that can be read, and the problems of the others."""
    found: list[KernelSpec] = []
    problems: list[Problem] = []
    for name in names(project):
        try:
            found.append(load(name, project))
        except RecipeError as error:
            problems += error.problems
    return found, problems


def read(data: bytes, name: str, path: Path) -> KernelSpec:
    """Return the kernel in a description; raise `RecipeError` with all of its mistakes and their locations."""
    file = display(path)
    tree, problems = parse(data, file)
    problems = [
        Problem(problem.what.replace("the recipe", "the file"), problem.where, problem.hint) for problem in problems
    ]
    if tree is not None and not isinstance(tree.value, Mapping):
        what = f"a kernel's file is a mapping (lines of `key: value`), found {kind(tree.value)}"
        problems.append(Problem(what, tree.where))
    elif tree is not None:
        try:
            # The name is the file's and the locations are the reader's; a description cannot set them.
            words = {key: node.plain() for key, node in tree.items.items()}
            forbidden = [tree.items[key] for key in ("name", "path", "places") if key in words]
            problems += [Problem("this key cannot be set here", node.key or node.where) for node in forbidden]
            if not forbidden:
                spec = KernelSpec.model_validate_json(json.dumps({**words, "name": name}), strict=True)
                places = {part: tree.locate(("files", part)) for part in ("kernel", "modules", "initrd")}
                problems += _absent(spec, path.parent, tree)
                if not problems:
                    return spec.model_copy(update={"path": os.fspath(path), "places": places})
        except ValidationError as error:
            problems += _problems(tree, error.errors(include_url=False))
    raise RecipeError(sorted(problems, key=lambda problem: _order(problem.where)))


def _order(where: Location | None) -> tuple[int, int]:
    return (where.line, where.column) if where else (0, 0)


def _absent(spec: KernelSpec, directory: Path, tree: Node) -> Iterator[Problem]:
    for name, part in spec.parts.items():
        if part.path is not None and not os.path.isfile(directory / part.path):  # noqa: PTH113 - never raises
            yield Problem(
                f"no such file: '{shown(part.path)}'",
                tree.locate(("files", name, "path")),
                f"looked for {shown(os.fspath(directory / part.path), 400)}",
            )


def _problems(tree: Node, errors: Sequence[Mapping[str, Any]]) -> Iterator[Problem]:
    """Yield pydantic's errors as problems, each located at its key or value."""
    for error in errors:
        path = tuple(step for step in error["loc"] if isinstance(step, str | int))
        node = tree.find(path)
        place = tree.locate(path)
        if error["type"] == "extra_forbidden":
            known = [key for key in keys(path[:-1], KernelSpec) if key not in ("name", "path", "places")]
            what, hint = f"unknown key '{shown(str(path[-1]))}'", did_you_mean(str(path[-1]), known)
            place = node.key if node is not None and node.key is not None else place
        elif error["type"] == "missing" and near(str(path[-1]), list((tree.find(path[:-1]) or tree).items)):
            # The key is misspelt, which is already reported.
            continue
        else:
            what, hint = message(error, node)
        yield Problem(what, place, hint)
