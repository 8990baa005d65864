"""Libraries that only some tasks need: an extra of the package each, and the error where one is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from roost.errors import HostError

#: The library that an extra of pyproject.toml brings, as it is imported, and what it is for.
EXTRAS: Mapping[str, tuple[str, str]] = {
    "s3": ("s3fs", "catalogues in S3"),
    "sftp": ("paramiko", "catalogues over sftp"),
    "sbom": ("cyclonedx", "the bill of materials of a build"),
}


def require(extra: str) -> None:
    """Raise `HostError` with what to install where the library of an extra is missing."""
    library, purpose = EXTRAS[extra]
    if importlib.util.find_spec(library) is None:
        raise HostError(
            f"{purpose} needs the Python package {library}, which is not installed",
            hint=f"pip install 'roost[{extra}]'; in a checkout ./inv installs it",
        )
