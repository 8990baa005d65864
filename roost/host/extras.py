"""Libraries that only some tasks need, each an extra of the package, and the error when one is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from roost.errors import HostError

#: Extra of pyproject.toml → the name under which its library is imported, and its purpose.
EXTRAS: Mapping[str, tuple[str, str]] = {
    "s3": ("s3fs", "catalogues in S3"),
    "sftp": ("paramiko", "catalogues over sftp"),
    "sbom": ("cyclonedx", "the bill of materials of a build"),
}


def require(extra: str) -> None:
    """Raise `HostError` with an install hint when the library of an extra is missing."""
    library, purpose = EXTRAS[extra]
    if importlib.util.find_spec(library) is None:
        raise HostError(
            f"{purpose} needs the Python package {library}, which is not installed",
            hint=f"pip install 'roost[{extra}]'; in a checkout ./inv installs it",
        )
