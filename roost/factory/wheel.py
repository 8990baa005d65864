"""roost itself as a wheel, made from the running package, for a job on another machine to unpack or pip to install.

A wheel is a zip of the package and its metadata (PyPA, binary distribution format 1.0). It has exactly the
code that made the workflow, even from a checkout with uncommitted changes.
"""

from __future__ import annotations

import base64
import hashlib
import re
import stat
import tomllib
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import roost
from roost.errors import HostError
from roost.host import paths
from roost.store import closure

#: The earliest time that a zip can express, so that the same code gives the same bytes.
_TIME = (1980, 1, 1, 0, 0, 0)
_TAGS = "Wheel-Version: 1.0\nGenerator: roost\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
#: The extra of pyproject.toml that builds require (roost.host.extras).
BUILDS = "sbom"
_SCRIPTS = "[console_scripts]\nroost = roost.__main__:main\n"


def write(directory: Path) -> Path:
    """Write the wheel to a directory; return its path."""
    name = f"roost-{roost.__version__}"
    info = f"{name}.dist-info"
    wheel = directory / f"{name}-py3-none-any.whl"
    record = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data, mode in [*_package(), *_information(info)]:
            entry = zipfile.ZipInfo(path, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            # Hooks of mmdebstrap are executable, and installers keep the mode.
            entry.external_attr = (stat.S_IFREG | mode) << 16
            archive.writestr(entry, data)
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
            record.append(f"{path},sha256={digest},{len(data)}\n")
        archive.writestr(zipfile.ZipInfo(f"{info}/RECORD", _TIME), "".join([*record, f"{info}/RECORD,,\n"]))
    return wheel


def unpack(wheel: Path, directory: Path) -> None:
    """Unpack a wheel, with the modes of its files."""
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            Path(archive.extract(entry, directory)).chmod(entry.external_attr >> 16 & 0o777 or 0o644)


def requirements() -> list[str]:
    """Return the requirements of a job's roost in pip's syntax: those of roost, and of builds."""
    project = closure.PACKAGE.parent / "pyproject.toml"
    if project.is_file():
        project_table = tomllib.loads(project.read_text())["project"]
        return sorted([*project_table["dependencies"], *project_table["optional-dependencies"][BUILDS]])
    try:
        found = metadata.distribution("roost").requires or []
    except metadata.PackageNotFoundError as error:
        raise HostError("this roost is neither a checkout nor installed", hint="pip install roost") from error
    needed = [one.partition(";")[0].strip() for one in found if re.search(rf"extra == ['\"]{BUILDS}['\"]", one)]
    return sorted([*(one for one in found if "extra ==" not in one), *needed])


def _package() -> Iterator[tuple[str, bytes, int]]:
    """Yield the files of the package, with the recipes and kernels that an installed package includes."""
    for path in _files(closure.PACKAGE):
        yield f"roost/{path.relative_to(closure.PACKAGE)}", path.read_bytes(), _mode(path)
    shipped = paths.shipped_root()
    if not shipped.is_relative_to(closure.PACKAGE):
        for part in ("recipes/base", "kernels"):
            for path in _files(shipped / part):
                yield f"roost/shipped/{path.relative_to(shipped)}", path.read_bytes(), _mode(path)


def _mode(path: Path) -> int:
    return 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644


def _files(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path


def _information(info: str) -> Iterator[tuple[str, bytes, int]]:
    lines = ["Metadata-Version: 2.1", "Name: roost", f"Version: {roost.__version__}"]
    lines += [f"Requires-Dist: {one}" for one in requirements()]
    yield f"{info}/METADATA", ("\n".join(lines) + "\n").encode(), 0o644
    yield f"{info}/WHEEL", _TAGS.encode(), 0o644
    yield f"{info}/entry_points.txt", _SCRIPTS.encode(), 0o644
