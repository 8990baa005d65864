"""An image's entries in a catalogue: its releases by name and version, their recipes, where jobs find their files."""

from __future__ import annotations

import re
from collections.abc import Sequence

import roost.sources.registry  # noqa: F401 - registers all sources, so that a recipe can name them
from roost.errors import ImageError, RecipeError, UsageError
from roost.host import jsontext, paths
from roost.publish import layout, listing, upload
from roost.publish.layout import Release
from roost.publish.targets.target import Target
from roost.recipe import loader
from roost.recipe.model import Recipe
from roost.recipe.words import near

#: A URL or an absolute path that is valid in HTCondor's file lists.
_PLACE = re.compile(r"(?:/|[a-z][a-z0-9+.-]*://)(?:[A-Za-z0-9._~:@!&=+/\[\]-]|%[0-9A-Fa-f]{2})*")


def named(name: str) -> tuple[str, str | None]:
    """Split NAME@VERSION; for the path of a recipe, the name is the recipe's."""
    head, at, version = name.rpartition("@")
    if at and head and "/" not in version:
        return named(head)[0], layout.checked_version(version)
    if loader.is_path(name):
        return loader.load(name, paths.project_root()).recipe.name, None
    return name, None


def source_of(source: str) -> tuple[str, str | None]:
    """Split CATALOGUE@VERSION; the @ of a user in a URL is in the authority, before its path."""
    head, at, tail = source.rpartition("@")
    if at and head and "/" not in tail and layout.is_version(tail):
        return head, tail
    return source, None


def root(target: Target, public: str | None) -> str | None:
    """Return where jobs find the catalogue.

    This is `public` if given, else the directory, or the URL if HTCondor fetches it without keys.

    None: the files are transferred from the description's directory.
    """
    if public is not None:
        if "://" not in public and not public.startswith("/"):
            raise UsageError(f"--public {public} is neither a URL nor an absolute path")
        return public.rstrip("/")
    if target.local is not None:
        return str(target.local)
    scheme = target.url.partition("://")[0]
    return target.url if scheme in {"http", "https", "osdf"} else None


def public(found: Release) -> str | None:
    """Return where jobs find the catalogue according to its publisher (`--public`); None if not given.

    Raises `ImageError` for an invalid place: the text goes into a submit description.
    """
    place = found.raw.get("public")
    if place is None:
        return None
    if not isinstance(place, str) or not _PLACE.fullmatch(place):
        raise ImageError(
            f"{found.directory}/{layout.RELEASE}: 'public' is neither a URL nor an absolute path",
            hint="--transfer URL says where jobs find the catalogue",
        )
    return place


def find(target: Target, name: str, version: str | None) -> Release:
    """Return a catalogue's release of a name; raise `UsageError` if there is none, `ImageError` if it was changed."""
    if not layout.is_name(name):
        raise UsageError(f"{name!r} is not a valid image name")
    if version is None:
        found = upload.current(target, name)
        if found is None:
            directories = [one[:-1] for one in target.names("") if one.endswith("/")]
            known = [one for one in directories if listing.versions(target, one)]
            if name in known:
                raise _no_latest(target, name)
            target.require()
            raise UsageError(f"{target.url} has no image {name}", hint=_close(name, known, target))
        version = found.version
    layout.checked_version(version)
    path = f"{name}/{version}/{layout.RELEASE}"
    data = target.read(path)
    if data is None:
        hint = _close(version, listing.versions(target, name), target)
        raise UsageError(f"{target.url} has no {name} {version}", hint=hint)
    listing.check_release(target, name, version, data)
    return layout.parse_release(data, path)


def _no_latest(target: Target, name: str) -> ImageError:
    """Return the error for an image with versions whose latest cannot be read: it names the file at fault."""
    path = f"{name}/{layout.LATEST}"
    data = target.read(path)
    version = str((listing.parsed(data) or {}).get("version", ""))
    hint = f"name a version: @{listing.versions(target, name)[-1]}; or publish again"
    if not layout.is_version(version):
        what = "is missing" if data is None else "is damaged"
        return ImageError(f"{target.url} does not say which version of {name} is the latest: {path} {what}", hint=hint)
    release = f"{name}/{version}/{layout.RELEASE}"
    content = target.read(release)
    if content is None:
        return ImageError(f"{target.url}/{release} is missing, and {path} names that version", hint=hint)
    try:
        layout.parse_release(content, f"{target.url}/{release}")
    except ImageError as error:
        return ImageError(error.problem.what, hint=f"inv verify {target.url}")
    return ImageError(f"{target.url}/{path} is being replaced", hint="try again")


def _close(word: str, known: Sequence[str], target: Target) -> str:
    """Return a hint with similar names, else with the place that lists all."""
    close = near(word, known)
    return f"did you mean {close}?" if close else f"inv catalogue --from {target.url} lists what it has"


def recipe(target: Target, found: Release) -> Recipe:
    """Return the recipe in a release's manifest, after verifying the manifest's digest."""
    entry = next((file for file in found.files if file.role == "manifest"), None)
    data = target.read(entry.path) if entry else None
    if entry is None or data is None or layout.sha256(data) != entry.sha256:
        raise ImageError(f"{found.directory}/{layout.MANIFEST} is missing or changed", hint="inv verify shows details")
    try:
        return Recipe.model_validate(jsontext.loads(data)["recipe"])
    except (ValueError, KeyError, TypeError, RecipeError) as error:
        what = f"{entry.path} has no recipe that this version of roost can read"
        raise ImageError(what, hint="publish the image again, or use the roost that published it") from error
