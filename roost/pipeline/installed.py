"""The story of `inv packages`: what the package database of an image lists, of a build or a published version."""

from __future__ import annotations

from typing import Any

from roost.catalogue.model import Version
from roost.errors import UsageError
from roost.pipeline import sides


def packages(word: str, url: str = "") -> dict[str, Any]:
    """Return the packages of NAME or NAME@VERSION as JSON; `url` is the catalogue, empty: the build here.

    Raises `UsageError` for an image that is not there, `ImageError` for a list that was changed.
    """
    if url:
        return _told(sides.published(word, url).side.version, url)
    if "@" in word and not sides.is_build(word):
        raise UsageError(f"which catalogue has {word}?", hint=f"inv packages {word} --from URL")
    return _told(sides.required(word).side.version, None)


def _told(version: Version, url: str | None) -> dict[str, Any]:
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
