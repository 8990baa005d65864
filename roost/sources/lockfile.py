"""NAME.lock: the exact external inputs of an image. TOML, sorted, to be reviewed.

It holds no secret: packages, digests, names. The entries about the host explain a difference, and are not enforced.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, field_validator, model_validator

from roost.errors import Location, Problem, RecipeError
from roost.host import files, output
from roost.recipe.loader import Loaded
from roost.recipe.words import shown
from roost.sources import lockfile_errors
from roost.sources.lockfile_errors import HINT
from roost.sources.packages import Package, Selection, package

SUFFIX = ".lock"
VERSION = 1
#: Maximum bytes of a lock: 10,000 packages with a line of 200 bytes each, and room to spare.
MOST = 4 << 20

Text = Annotated[str, StringConstraints(max_length=1000, pattern=r"^[^\x00-\x1f\x7f]*$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class LockedPackage(_Part):
    """A package of an archive."""

    name: Text
    version: Text
    architecture: Text
    sha256: Sha256

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        package(self.name, self.version, self.architecture, self.sha256)
        return self

    @property
    def value(self) -> Package:
        """The package as used in a selection."""
        return Package(self.name, self.version, self.architecture, self.sha256)


class LockedSource(_Part):
    """An input with its sha256: an archive's index, an archive file, a directory's tar, an image."""

    name: Text
    sha256: Sha256


class Lock(_Part):
    """A lock. `requested` are the packages that the recipe asks for, `kernel` is the guest's kernel."""

    lock: int
    name: Text
    roost: Text
    suite: Text = ""
    requested: list[Text] = []
    kernel: dict[Text, Text] = {}
    sources: list[LockedSource] = []
    packages: list[LockedPackage] = []
    tools: list[LockedPackage] = []
    host: dict[Text, Text] = {}

    @field_validator("lock")
    @classmethod
    def _is_known(cls, value: int) -> int:
        if value != VERSION:
            raise ValueError(f"this version of roost reads locks of version {VERSION}")
        return value

    def selection(self) -> Selection:
        """Return the packages, and those that a build uses besides the tree."""
        packages, tools = (tuple(sorted(one.value for one in some)) for some in (self.packages, self.tools))
        return Selection(packages, None, tools)


def path_of(loaded: Loaded) -> Path:
    """Return the path of an image's lock: next to its recipe."""
    return loaded.directory / f"{loaded.recipe.name}{SUFFIX}"


def public(address: str) -> str:
    """Return an address without user and password."""
    return re.sub(r"(?<=://)[^/@\s]*@", "", address)


def text(lock: Lock) -> str:
    """Return the text of a lock: the same for the same content, one entry a line."""
    content = lock.model_dump()
    lines = [
        f"# What the image {content['name']} is made from: written by `inv lock`, reviewed like code.",
        "# `inv build NAME --locked` builds exactly this, `inv lock NAME --update` takes what there is now.",
    ]
    for key in ("lock", "name", "roost", "suite"):
        lines.append(f"{key} = {_value(content[key])}")
    lines.append(_list("requested", [_value(one) for one in sorted(content["requested"])]))
    for key in ("sources", "packages", "tools"):
        lines.append(_list(key, [_table(entry) for entry in content[key]]))
    for key in ("kernel", "host"):
        lines += [
            "",
            f"[{key}]",
            *(f"{_value(name)} = {_value(value)}" for name, value in sorted(content[key].items())),
        ]
    return "\n".join(lines) + "\n"


def _value(value: str | int) -> str:
    # JSON's strings are TOML's basic strings, except for DEL, which no value here contains.
    return json.dumps(value)


def _table(entry: Mapping[str, str]) -> str:
    return "{" + ", ".join(f"{key} = {_value(value)}" for key, value in entry.items()) + "}"


def _list(key: str, entries: Sequence[str]) -> str:
    return f"{key} = [\n" + "".join(f"  {entry},\n" for entry in entries) + "]" if entries else f"{key} = []"


def write(path: Path, lock: Lock) -> None:
    """Write a lock, whole or not at all."""
    output.write(path, text(lock).encode())


def read(path: Path) -> Lock | None:
    """Return a lock, None if the file does not exist; raise `RecipeError` for a file that is not one."""
    import tomllib

    try:
        data = files.read_bytes(path, MOST)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _wrong(path, error.strerror or str(error)) from error
    try:
        return Lock.model_validate(tomllib.loads(data.decode()))
    except UnicodeDecodeError as error:
        raise _wrong(path, f"byte 0x{data[error.start]:02x} is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError([lockfile_errors.not_toml(error, data.decode(), str(path))]) from error
    except ValidationError as error:
        raise RecipeError(lockfile_errors.of_model(error, Lock, data.decode(), str(path))) from error
    except RecursionError as error:
        raise _wrong(path, "nested too deep") from error
    except ValueError as error:
        # tomllib leaves a number of thousands of digits to Python.
        raise _wrong(path, "a number in it is too large") from error


def of(loaded: Loaded) -> Lock | None:
    """Return the lock of an image, None if there is none; raise `RecipeError` also for the lock of another image."""
    path = path_of(loaded)
    found = read(path)
    if found is not None and found.name != loaded.recipe.name:
        what = f"this is the lock of {shown(found.name)}, not of {loaded.recipe.name}"
        raise RecipeError([Problem(what, Location(str(path)), HINT)])
    return found


def _wrong(path: Path, why: str) -> RecipeError:
    return RecipeError([Problem(f"the lock cannot be read: {why}", Location(str(path)), HINT)])
