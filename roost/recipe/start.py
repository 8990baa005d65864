"""A new recipe: the user's answers, and the commented files generated from them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from pydantic import TypeAdapter, ValidationError

from roost.errors import Location
from roost.recipe.base import Name
from roost.recipe.messages import message
from roost.recipe.model import Machine
from roost.recipe.nodes import Node
from roost.recipe.quantities import parse_duration, parse_size


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution that a recipe can start from: its suite and what else it needs."""

    suite: str
    packages: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    kernel: str | None = None


DISTRIBUTIONS = {
    "debian-12": Distribution("bookworm"),
    "debian-13": Distribution("trixie"),
    "ubuntu-24.04": Distribution("noble", components=("main", "universe"), kernel="ubuntu"),
}
HYPERVISORS = {"kvm": ("kvm",), "xen": ("xen",), "kvm,xen": ("kvm", "xen")}
_NAME = TypeAdapter(Name)
NOWHERE = Location("")
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]*")


@dataclass(frozen=True, slots=True)
class Answers:
    """The properties of a new recipe. Sizes and the time are written as in recipes: `1GiB`, `4h`."""

    distribution: str = "debian-12"
    packages: tuple[str, ...] = ()
    hypervisors: str = "kvm"
    io: str = "256MiB"
    memory: str = "1GiB"
    cpus: int = 1
    timeout: str = "4h"

    def mistakes(self) -> list[str]:
        """Return all mistakes in the answers."""
        found = []
        if self.distribution not in DISTRIBUTIONS:
            found.append(f"--distribution {self.distribution}: one of {', '.join(DISTRIBUTIONS)}")
        if self.hypervisors not in HYPERVISORS:
            found.append(f"--hypervisor {self.hypervisors}: one of {'; '.join(HYPERVISORS)}")
        found += [f"--package {one}: not the name of a package" for one in self.packages if not _PACKAGE.fullmatch(one)]
        for flag, value, parse in (
            ("--io", self.io, parse_size),
            ("--memory", self.memory, parse_size),
            ("--timeout", self.timeout, parse_duration),
        ):
            try:
                if parse(value) <= 0:
                    found.append(f"{flag} {value}: must be more than 0")
            except ValueError as error:
                found.append(f"{flag}: {error}")
        reported = {one.split()[0].rstrip(":").removeprefix("--") for one in found}
        return found + list(self._out_of_bounds({"memory", "cpus"} - reported))

    def _out_of_bounds(self, keys: set[str]) -> Iterator[str]:
        """Yield those of these values that are out of bounds for a machine."""
        try:
            Machine.model_validate({key: getattr(self, key) for key in keys})
        except ValidationError as error:
            for one in error.errors(include_url=False):
                (flag,) = one["loc"]
                given = getattr(self, str(flag))
                _, bounds = message(one, Node(given, NOWHERE))
                yield f"--{flag} {given}: out of bounds ({bounds})"


def is_name(text: str) -> bool:
    """Return whether a text is a valid recipe name."""
    try:
        _NAME.validate_python(text)
    except ValidationError:
        return False
    return True


def written(name: str, answers: Answers) -> dict[PurePosixPath, tuple[str, int]]:
    """Return the files of a new recipe, as paths relative to its directory with their text and mode.

    The recipe itself, `NAME.yaml`, is last: where it exists, all files do.
    """
    environment = Environment(
        loader=PackageLoader("roost.recipe", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    # YAML and shell: names are checked, all other text goes through `yaml`. A JSON string is a YAML string.
    environment.filters["yaml"] = json.dumps
    system = DISTRIBUTIONS[answers.distribution]
    program, numbers = PurePosixPath(f"files/{name}/run"), PurePosixPath(f"files/{name}/numbers.txt")
    values: dict[str, Any] = {
        "name": name,
        "description": f"{answers.distribution} that runs one job and powers off",
        "suite": system.suite,
        "packages": [*system.packages, *answers.packages],
        "components": system.components,
        "kernel": system.kernel,
        "program": str(program),
        "inputs": str(numbers),
        "timeout": answers.timeout.replace(" ", ""),
        "memory": answers.memory.replace(" ", ""),
        "cpus": answers.cpus,
        "hypervisors": HYPERVISORS[answers.hypervisors],
        "io": answers.io.replace(" ", ""),
    }
    return {
        numbers: ("10\n14\n18\n", 0o644),
        program: (environment.get_template("new-run.j2").render(values), 0o755),
        PurePosixPath(f"{name}.yaml"): (environment.get_template("new.yaml.j2").render(values), 0o644),
    }
