"""Read the contents of a catalogue: images, their versions, how each was tested, what it contains.

Only files in the version's signed checksums are trusted: release.json by the signature, any other file by the
checksum in release.json. A version that does not match its signature is kept with the reason, without its content.
Disks are not read; `inv verify` does that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from roost.boot.console import LINE
from roost.catalogue.model import Catalogue, CatalogueImage, Package, Side, Version
from roost.errors import ImageError, RecipeError
from roost.events import Events
from roost.host import jsontext, safetext
from roost.host.safetext import clean
from roost.publish import layout, listing, signature
from roost.publish.layout import Release
from roost.publish.targets.target import Target
from roost.recipe.model import Recipe
from roost.recipe.quantities import format_size

#: The maximum length of a displayed value of a catalogue, and the maximum number of console lines.
LONGEST = 400
CONSOLE = 60


def read(url: str, events: Events) -> Catalogue:
    """Read a catalogue, or one image or version of it; raise `UsageError` when there is no catalogue."""
    scope = listing.find(url)
    target = scope.target
    names = [scope.name] if scope.name else [name.rstrip("/") for name in target.names("") if name.endswith("/")]
    images = []
    for number, name in enumerate(sorted(names)):
        events.progress("catalogue", number, len(names))
        if not layout.is_name(name):
            continue
        listed = [scope.version] if scope.version else listing.versions(target, name)
        found = [read_version(target, name, one) for one in listed]
        # A version being removed by `inv gc` is no longer listed: its release.json was removed first.
        found = [one for one in found if not one.problem or target.size(f"{name}/{one.version}/{layout.RELEASE}")]
        if found:
            found.sort(key=lambda one: (one.created, one.version), reverse=True)
            images.append(CatalogueImage(name, _latest(target, name), tuple(found)))
    return Catalogue(target, tuple(images))


def _latest(target: Target, name: str) -> str:
    latest = _parsed(target.read(f"{name}/{layout.LATEST}"))
    return str(latest.get("version", ""))


def read_version(target: Target, name: str, version: str) -> Version:
    """Read the files of one version."""
    path = f"{name}/{version}/{layout.RELEASE}"
    try:
        data = target.read(path)
        if data is None:
            raise ImageError(f"{path} is missing")
        listing.check_release(target, name, version, data)
        release = layout.parse_release(data, path)
        if (release.name, release.version) != (name, version):
            raise ImageError(f"{path} belongs to {release.name} {release.version}")
        return _trusted(target, release)
    except ImageError as error:
        return Version(name, version, problem=error.problem.what)


def _trusted(target: Target, release: Release) -> Version:
    def content(name: str) -> Mapping[str, Any]:
        file = next((one for one in release.files if one.name == name), None)
        if file is None:
            return {}
        data = target.read(file.path)
        if data is None or layout.sha256(data) != file.sha256:
            raise ImageError(f"{file.path} does not match the signed checksums")
        return _parsed(data)

    raw = release.raw
    manifest = content(layout.MANIFEST)
    signer = signature.signer(target.read(f"{release.directory}/{layout.SIGNATURE}") or b"")
    return replace(
        _of_manifest(manifest, content(layout.SBOM), raw),
        name=release.name,
        version=release.version,
        created=_text(release.created),
        description=_text(raw.get("description")),
        untested=release.untested,
        sides=tuple(
            _side(_text(name), _mapping(result), content(f"boot/{name}.json"))
            for name, result in _mapping(raw.get("hypervisors")).items()
        ),
        files=release.files,
        signed_by=signer[0].fingerprint if signer else "",
        recipe=_recipe(manifest.get("recipe")),
        release=release,
        filesystems=tuple(_sequence(_mapping(manifest.get("facts")).get("filesystems"))),
    )


def of_record(record: Mapping[str, Any], bill: bytes) -> Version:
    """Return a version from the manifest and bill of materials of a local build; it has no release or verdicts."""
    return _of_manifest(record, _parsed(bill), {})


def _of_manifest(manifest: Mapping[str, Any], bill: Mapping[str, Any], raw: Mapping[str, Any]) -> Version:
    """Return a version from a manifest and its bill of materials; missing parts are taken from release.json (`raw`)."""
    facts = _mapping(manifest.get("facts"))
    return Version(
        name=_text(manifest.get("name")),
        version="",
        packages=_packages(bill, raw),
        kernel=_kernel(facts, raw),
        system=_text(_mapping(facts.get("os")).get("PRETTY_NAME")),
        settings=settings(manifest.get("recipe")),
        sources={_text(key): _text(value) for key, value in _mapping(_inputs(manifest).get("files")).items()},
    )


def settings(recipe: object) -> dict[str, str]:
    """Return the values of a recipe in JSON by their dotted keys; unset values are omitted."""
    return dict(_flat(recipe))


def _side(name: str, result: Mapping[str, Any], verdict: Mapping[str, Any]) -> Side:
    seconds = {
        _text(phase): float(taken)
        for phase, taken in _mapping(verdict.get("seconds")).items()
        if isinstance(taken, int | float) and 0 <= taken < 1e6
    }
    lines = str(verdict.get("console") or "").encode("utf-8", "replace").splitlines()
    return Side(
        hypervisor=name,
        verdict=_text(result.get("verdict")),
        accelerator=_text(result.get("accelerator")),
        booted_at=_text(result.get("booted_at")),
        cause=_text(result.get("cause")),
        machine=_text(result.get("machine")),
        version=_text(result.get("version")),
        seconds=seconds,
        expectations=tuple(
            (one.get("met") is True, _text(one.get("what")), _text(one.get("seen")))
            for one in _sequence(verdict.get("expectations"))
        ),
        console=tuple(clean(line[:LINE])[:LONGEST] for line in lines[-CONSOLE:]),
    )


def _packages(sbom: Mapping[str, Any], raw: Mapping[str, Any]) -> tuple[Package, ...]:
    """Return the packages by name, from the SBOM, else from release.json."""
    entries = _sequence(sbom.get("components")) or _sequence(raw.get("packages"))
    found = set()
    for entry in entries:
        if entry.get("scope") == "excluded":
            # Removed from the guest, with only its configuration left.
            continue
        properties = {str(one.get("name")): _text(one.get("value")) for one in _sequence(entry.get("properties"))}
        found.add(
            Package(
                _text(entry.get("name")),
                _text(entry.get("version")),
                properties.get("roost:dpkg:architecture", ""),
                properties.get("roost:dpkg:source", ""),
            )
        )
    return tuple(sorted(found, key=lambda one: (one.name, one.architecture, one.version)))


def _kernel(facts: Mapping[str, Any], raw: Mapping[str, Any]) -> str:
    kernels = [_text(one.get("version")) for one in _sequence(facts.get("kernels"))]
    return ", ".join(kernels) or _text(raw.get("kernel"))


def _recipe(value: object) -> Recipe | None:
    try:
        return Recipe.model_validate(value)
    except (ValueError, TypeError, RecipeError):
        # A recipe of another roost version: the submit lines published with it are used.
        return None


def _inputs(manifest: Mapping[str, Any]) -> Mapping[str, Any]:
    return _mapping(manifest.get("inputs"))


def _flat(value: object, prefix: str = "") -> list[tuple[str, str]]:
    """Return the settings of a recipe as dotted key → value; lists of plain values are one value."""
    if isinstance(value, Mapping):
        return [pair for key, one in value.items() for pair in _flat(one, f"{prefix}.{key}" if prefix else str(key))]
    if isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        names = [_named(one, number) for number, one in enumerate(value)]
        labels = names if len(set(names)) == len(names) else [str(number) for number in range(len(names))]
        return [pair for label, one in zip(labels, value, strict=True) for pair in _flat(one, f"{prefix}[{label}]")]
    if value is None or value == []:
        return []
    if isinstance(value, int) and value >= 1 << 20 and value % 1024 == 0:
        # A size, written as in recipes.
        return [(_text(prefix), format_size(value))]
    shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return [(_text(prefix), _text(shown))]


def _named(entry: object, number: int) -> str:
    """Return the label of a list's entry: its name if it has one, so that inserting an entry does not change others."""
    fields = _mapping(entry)
    return next(
        (one for key in ("name", "path", "mount") if isinstance(one := fields.get(key), str) and one), str(number)
    )


def _parsed(data: bytes | None) -> Mapping[str, Any]:
    try:
        return _mapping(jsontext.loads(data or b""))
    except (ValueError, RecursionError):
        return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _sequence(value: object) -> Sequence[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _text(value: object) -> str:
    """Return a value as one printable line of limited length."""
    text = "" if value is None else str(value)
    shown = safetext.printable(text[: LONGEST + 1])
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}…"
