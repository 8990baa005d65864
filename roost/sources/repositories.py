"""Further repositories of the source `debian`: their keys, and their apt sources on the host and in the image.

While the tree is installed, apt runs on the host and the key is not yet a file of the tree: it is embedded in the
source. In the image it is a file in /etc/apt/keyrings, which the source names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.host import files
from roost.recipe.debian import Debian, Repository
from roost.sources import openpgp
from roost.sources.aptsource import AptSource


@dataclass(frozen=True, slots=True)
class Extra:
    """A repository with its key: `name` is that of its files, `key` armored, `fingerprints` of its primary keys."""

    name: str
    repository: Repository
    key: str
    fingerprints: tuple[str, ...]

    @property
    def source(self) -> AptSource:
        """The repository as one of the archive's sources."""
        return AptSource(self.repository.uri, self.repository.suite, self.repository.parts, further=True)

    def inputs(self) -> dict[str, Any]:
        """Return what the tree depends on."""
        return {
            "uri": self.repository.uri,
            "suite": self.repository.suite,
            "components": self.repository.parts,
            "key": self.key,
        }

    def outside(self, architecture: str) -> str:
        """Return the source for apt on the host, with its key embedded; apt copies packages of local archives."""
        lines = [" ." if not line else f" {line}" for line in self.key.rstrip("\n").split("\n")]
        uri = re.sub(r"^file:", "copy:", self.repository.uri)
        return self._source(uri, architecture, "\n" + "\n".join(lines))

    def inside(self, architecture: str) -> str:
        """Return the source for apt in the image."""
        return self._source(self.repository.uri, architecture, f" {self.keyring}")

    @property
    def keyring(self) -> str:
        """The path of the key in the image."""
        return f"/etc/apt/keyrings/{self.name}.asc"

    def _source(self, uri: str, architecture: str, signed_by: str) -> str:
        components = f"Components: {' '.join(self.repository.parts)}\n" if self.repository.parts else ""
        return (
            f"Types: deb\nURIs: {uri}\nSuites: {self.repository.suite}\n{components}"
            f"Architectures: {architecture}\nSigned-By:{signed_by}\n"
        )


def _names(repositories: Sequence[Repository]) -> Iterator[str]:
    """Yield a file name for each repository, derived from its address."""
    taken: set[str] = set()
    for repository in repositories:
        address = re.sub(r"^[a-z]+:/*", "", repository.uri)
        stem = re.sub(r"[^a-z0-9]+", "-", address.lower()).strip("-")[:60] or "repository"
        name = next(
            found for number in range(len(repositories) + 1)
            if (found := stem if not number else f"{stem}-{number + 1}") not in taken
        )  # fmt: skip
        taken.add(name)
        yield name


def read(debian: Debian, directory: Path) -> tuple[Extra, ...]:
    """Return the repositories with their keys, which are next to the recipe, in `directory`.

    Raises `openpgp.NoKeyError` and `OSError`.
    """
    found = []
    for repository, name in zip(debian.repositories, _names(debian.repositories), strict=True):
        binary = openpgp.dearmored(files.read_bytes(directory / repository.key))
        found.append(Extra(name, repository, openpgp.armored(binary), openpgp.fingerprints(binary)))
    return tuple(found)
