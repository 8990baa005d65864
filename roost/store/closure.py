"""The code that makes a result: modules with all their imports inside roost, and the data files that they read.

Files are parsed, not run: all import statements of a file count, wherever they are, including those for types only (a
value's methods are part of the result's code). A string that is the name of a module (a program run with `python -m`)
counts as an import of it. The data files of a package (hooks, templates, scripts of the guest) count if a module names
the package this way, or finds its own files by `__file__`.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
#: Modules that carry out or display what the others decide, without influence on the result.
LEFT_OUT = ("roost.host", "roost.errors", "roost.events", "roost.cli")

_MODULE = r"(roost(?:\.[\w.]+)?)(?!\w)"
#: Each begins with fixed text, which `re` finds faster than any start of a line.
_FROM = re.compile(rf"from {_MODULE} import (\([^)]*\)|.*)")
_IMPORT = re.compile(rf"import {_MODULE}")
_NAMED = (re.compile(r"\"(roost(?:\.\w+)+)[\"']"), re.compile(r"'(roost(?:\.\w+)+)[\"']"))


@dataclass(frozen=True, slots=True)
class _File:
    """A parsed module file: its sha256, its imports (modules and names in them), the modules that it names.

    `own` says whether it looks for files next to it.
    """

    sha256: str
    imports: tuple[str, ...]
    named: tuple[str, ...]
    own: bool


@functools.cache
def _read(path: str | Path, size: int, mtime_ns: int) -> _File:
    """Return a parsed module file; a change of size or time means new content."""
    data = Path(path).read_bytes()
    text = data.decode()
    imports: dict[str, None] = {found[1]: None for found in _statements(_IMPORT, text)}
    for found in _statements(_FROM, text):
        for line in found[2].strip("()").splitlines():
            for name in re.findall(r"(\w+)(?: as \w+)?", line.partition("#")[0]):
                imports[f"{found[1]}.{name}"] = None
    named = tuple(dict.fromkeys(name for pattern in _NAMED for name in pattern.findall(text)))
    return _File(hashlib.sha256(data).hexdigest(), tuple(imports), named, own="__file__" in text)


def _statements(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """Yield the matches of a pattern that are preceded only by blanks on their line."""
    place = 0
    while found := pattern.search(text, place):
        begins = not text[text.rfind("\n", 0, found.start()) + 1 : found.start()].strip(" \t")
        place = found.end() if begins else found.start() + 1
        if begins:
            yield found


def _modules(package: str) -> dict[str, str]:
    """Map each module or package below the directory of roost to its file."""
    found = {}
    above = len(os.path.dirname(package)) + 1  # noqa: PTH120 - thousands of Path would cost more than all else here
    for directory, directories, names in os.walk(package):
        directories[:] = [name for name in directories if name != "__pycache__"]
        place = directory[above:].replace(os.sep, ".")
        for name in names:
            if name.endswith(".py"):
                found[place if name == "__init__.py" else f"{place}.{name[:-3]}"] = f"{directory}{os.sep}{name}"
    return found


def _data(directory: Path) -> Iterator[Path]:
    """Yield the files of a package that are not modules, without those of its subpackages."""
    for path in sorted(directory.iterdir()):
        if path.is_dir() and not (path / "__init__.py").exists() and path.name != "__pycache__":
            yield from _data(path)
        elif path.is_file() and path.suffix != ".py":
            yield path


def _below(module: str, packages: Sequence[str]) -> bool:
    return any(module == one or module.startswith(f"{one}.") for one in packages)


def files(makers: Sequence[str], left_out: Sequence[str] = LEFT_OUT, package: Path = PACKAGE) -> dict[Path, str]:
    """Return the files that the modules `makers` consist of, each with its sha256.

    `left_out` are modules and packages that are not followed; `package` is the directory of roost. Raises `ValueError`
    for a maker that is not a module.
    """
    return {package / name: sha256 for name, sha256 in listed(makers, left_out, package).items()}


def listed(makers: Sequence[str], left_out: Sequence[str] = LEFT_OUT, package: Path = PACKAGE) -> dict[str, str]:
    """Return the names of all files of `files`, relative to the package and sorted, each with its sha256."""
    modules = _modules(str(package))
    absent = [maker for maker in makers if maker not in modules]
    if absent:
        raise ValueError(f"no such module: {', '.join(absent)}")
    found: dict[str, str] = {}
    waiting, seen = list(makers), set()
    while waiting:
        module = waiting.pop()
        # An import names a module, or a name in the module before the last dot.
        path = modules.get(module) or modules.get(module := module.rpartition(".")[0])
        if path is None or module in seen or _below(module, left_out):
            continue
        seen.add(module)
        status = os.stat(path)  # noqa: PTH116 - see _modules
        read = _read(path, status.st_size, status.st_mtime_ns)
        found[path] = read.sha256
        # Importing a module runs the packages that contain it.
        waiting += [*read.imports, *read.named, *([module.rpartition(".")[0]] if module.count(".") else [])]
        named = (Path(modules[name]) for name in read.named if name in modules and not _below(name, left_out))
        packages = [one.parent for one in named if one.name == "__init__.py"]
        for directory in [*packages, Path(path).parent] if read.own else packages:
            found |= {str(one): hashlib.sha256(one.read_bytes()).hexdigest() for one in _data(directory)}
    below = len(str(package)) + 1
    return {path[below:]: sha256 for path, sha256 in sorted(found.items())}


def digest(makers: Sequence[str], left_out: Sequence[str] = LEFT_OUT, package: Path = PACKAGE) -> str:
    """Return a digest of the names and contents of all files of `files`."""
    lines = sorted(f"{name} {sha256}\n" for name, sha256 in listed(makers, left_out, package).items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()
