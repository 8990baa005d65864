"""The steps of `inv packages`: the package database of a build or a published version."""

from __future__ import annotations

from typing import Any

from roost.catalogue.model import Version
from roost.pipeline import sides


def packages(word: str, url: str = "") -> dict[str, Any]:
    """Return the packages of NAME or NAME@VERSION as JSON; `url` is the catalogue, empty for the local build.

    Raises `UsageError` for a missing image, `ImageError` for a list that was changed.
    """
    subject = sides.published(word, url) if url or sides.is_published(word) else sides.required(word)
    return _content(subject.side.version, url or None)


def _content(version: Version, url: str | None) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version or None,
        "from": url,
        "system": version.system,
        "kernel": version.kernel,
        "packages": [
            {"name": one.name, "version": one.version, "architecture": one.architecture, "source": one.source}
            for one in version.packages
        ],
    }
