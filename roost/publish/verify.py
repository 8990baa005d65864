"""`inv verify`: verify that everything listed in a catalogue exists, is unchanged, signed, and tested as claimed.

The chain: allowed_signers has the key, the key signed SHA256SUMS, SHA256SUMS has the sha256 of release.json and of
every file, release.json describes each file, the verdict names the disks that it booted. Where two sides of a link
disagree, they are compared with a third, so that the report names the wrong file and not both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roost.errors import UsageError
from roost.events import Events, Silent
from roost.host import causes, files
from roost.publish import claim, layout, signature
from roost.publish.counted import Counted
from roost.publish.listing import find, parsed, read_sums, versions
from roost.publish.release import latest
from roost.publish.targets.target import Target
from roost.publish.verify_version import Keys, Verified, Wrong, verify_version


def verify(url: str, *, key: Path | None = None, events: Events | None = None) -> dict[str, Any]:
    """Return the JSON of `inv verify`: every listed version with its problems.

    `key` is a public key or an allowed_signers file to trust instead of the catalogue's own. Raises `UsageError` when
    there is no catalogue.
    """
    events = events or Silent()
    scope = find(url)
    target = scope.target
    problems: list[Wrong] = []
    keys = _keys(target, key, problems)
    names = [scope.name] if scope.name else [name.rstrip("/") for name in target.names("") if name.endswith("/")]
    found: list[Verified] = []
    bases: dict[str, tuple[str | None, int]] = {}
    counted = Counted(events, "verify")
    for name in names:
        if not layout.is_name(name):
            continue
        listed = [scope.version] if scope.version else versions(target, name)
        for version in listed:
            counted.doing(f"{name} {version}")
            seen = verify_version(target, name, version, keys, bases, counted)
            if seen.problems and target.size(f"{name}/{version}/{layout.RELEASE}") is None:
                # It is being removed by a collection, which removes release.json first.
                continue
            found.append(seen)
        if not scope.version:
            elsewhere = [one.really for one in found if one.name == name and one.really]
            problems += _latest(target, name, listed, elsewhere)
            _moved_back(target, name, [one for one in found if one.name == name])
    if not found:
        # Nothing is listed yet, so missing signatures are not a problem.
        problems.clear()
    every = [*problems, *(problem for one in found for problem in one.problems)]
    return {
        "ok": not every and bool(found),
        "url": target.url,
        "key": str(key) if key else f"{target.url}/{layout.KEYS}",
        "images": [one.to_json() for one in found],
        "problems": [{"file": one.file, "what": one.what} for one in every],
    }


def _keys(target: Target, given: Path | None, problems: list[Wrong]) -> Keys:
    if given is not None:
        try:
            keys, _ = signature.read_keys(files.read_bytes(given))
        except OSError as error:
            raise UsageError(files.unreadable(given, error, "key"), hint=causes.hint(error)) from error
        if not keys:
            raise UsageError(f"{given} has no Ed25519 key", hint="a .pub file, or an allowed_signers file")
        return Keys(tuple(keys), "")
    data = target.read(layout.KEYS)
    if data is None:
        problems.append(Wrong(layout.KEYS, "is missing: no key to verify with (--key FILE names one)"))
        # The missing file is reported once, not for every signature.
        return Keys((), "")
    keys, wrong = signature.read_keys(data)
    problems += [Wrong(layout.KEYS, f"line {number} was not written by roost") for number in wrong]
    return Keys(tuple(keys), layout.KEYS)


def _latest(target: Target, name: str, versions: Sequence[str], elsewhere: Sequence[tuple[str, str]]) -> list[Wrong]:
    """Return the problems of latest.json, without which the latest version of an image cannot be selected.

    The publication of an image's first version lists the version before it writes the file. `elsewhere` are versions
    whose directory was renamed; those are reported separately.
    """
    path = f"{name}/{layout.LATEST}"
    data = target.read(path)
    if data is None:
        if not versions or _is_being_published(target, name) or target.read(path) is not None:
            # A publication that is running, or ended since the first check, explains it.
            return []
        return [Wrong(path, "is missing: it says which version is the latest (publish again)")]
    pointer = parsed(data) or {}
    if (pointer.get("name", name), pointer.get("version")) in elsewhere or (name, pointer.get("version")) in elsewhere:
        return []
    return _latest_of(target, name, data, versions)


def _latest_of(target: Target, name: str, data: bytes, versions: Sequence[str]) -> list[Wrong]:
    """Return the problems of the contents of latest.json."""
    path = f"{name}/{layout.LATEST}"
    pointer = parsed(data)
    if pointer is None:
        return [Wrong(path, "is not JSON")]
    version = pointer.get("version")
    if version not in versions:
        return [Wrong(path, f"names the version {version!r}, which is not published")]
    release = target.read(f"{name}/{version}/{layout.RELEASE}") or b""
    if data == latest(name, str(version), release):
        return []
    listed = read_sums(target.read(f"{name}/{version}/{layout.SUMS}")).get(layout.RELEASE)
    if listed is not None and listed != layout.sha256(release):
        # release.json was changed, which is reported with its version.
        return []
    return [Wrong(path, "does not match the checksum of the release that it names")]


def _is_being_published(target: Target, name: str) -> bool:
    """Return whether a publisher that may be alive holds a claim to a version of an image."""
    directory = f"{name}/{layout.CLAIMS}"
    claims = [target.read(f"{directory}/{one}") for one in target.names(directory) if not one.endswith("/")]
    return any(not claim.dead(one) for one in claims if one is not None)


def _moved_back(target: Target, name: str, found: Sequence[Verified]) -> None:
    """Note a latest.json that names a version other than the newest: it may have been reverted.

    latest.json is derived from signed files but is not signed itself, so an earlier copy is also valid.
    """
    pointer = parsed(target.read(f"{name}/{layout.LATEST}")) or {}
    latest = next((one for one in found if one.version == pointer.get("version")), None)
    newest = max(found, key=lambda one: one.created, default=None)
    if latest is not None and newest is not None and newest.created > latest.created:
        latest.notes.append(f"latest.json names this version, and {newest.version} is newer: was it reverted?")
