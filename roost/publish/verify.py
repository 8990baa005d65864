"""`inv verify`: is everything that a catalogue lists there, unchanged, signed, and tested as it says?

The chain: allowed_signers names the key, the key signed SHA256SUMS, SHA256SUMS has the sha256 of release.json and of
every file, release.json says what each file is, the verdict names the disks that it booted. Where a link breaks, its
two sides are held against a third, so that the answer names the file that is wrong and not only those that disagree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roost.errors import ImageError, UsageError
from roost.events import Events, Silent
from roost.host import files, jsontext
from roost.publish import layout, signature
from roost.publish.layout import Release, parse_release
from roost.publish.release import IMAGE_ROLES, latest
from roost.publish.signature import Key
from roost.publish.targets.kinds import open_target
from roost.publish.targets.target import Target
from roost.publish.upload import walk


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that is wrong: the file, relative to the catalogue, and what about it."""

    file: str
    what: str


@dataclass
class Verified:
    """What was found of one version."""

    name: str
    version: str
    problems: list[Wrong] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    signed_by: str | None = None
    hypervisors: Mapping[str, Any] = field(default_factory=dict)
    untested: bool = False
    created: str = ""
    files: int = 0
    bytes: int = 0

    def wrong(self, file: str, what: str) -> None:
        """Note a problem, once."""
        entry = Wrong(file, what)
        if entry not in self.problems:
            self.problems.append(entry)

    def to_json(self) -> dict[str, Any]:
        """Return this version's entry of `inv verify --json`."""
        return {
            "name": self.name,
            "version": self.version,
            "ok": not self.problems,
            "untested": self.untested,
            "hypervisors": dict(self.hypervisors),
            "signed_by": self.signed_by,
            "files": self.files,
            "bytes": self.bytes,
            "problems": [{"file": one.file, "what": one.what} for one in self.problems],
            "notes": self.notes,
        }


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys to believe, and the catalogue's file that they are from ("": the caller's own)."""

    keys: tuple[Key, ...]
    file: str


@dataclass(frozen=True, slots=True)
class Scope:
    """What of a catalogue is asked about: all of it, one image, or one version."""

    target: Target
    name: str | None
    version: str | None


def find(url: str) -> Scope:
    """Return the catalogue that a URL or folder is, or is a part of; raise `UsageError` when it is none of these."""
    here = open_target(url)
    names = here.names("")
    if layout.RELEASE in names or here.size(layout.RELEASE) is not None:
        root, name, version = _above(url, 2)
        return Scope(root, name, version)
    if any(here.size(f"{name}{layout.RELEASE}") is not None for name in names if name.endswith("/")) or (
        here.size(layout.LATEST) is not None
    ):
        root, name, _ = _above(url, 1)
        return Scope(root, name, None)
    if not any(versions(here, name.rstrip("/")) for name in names if name.endswith("/")) and layout.KEYS not in names:
        raise UsageError(f"{url} is no catalogue, and no image or version of one", hint="inv publish NAME --to URL")
    return Scope(here, None, None)


def _above(url: str, levels: int) -> tuple[Target, str, str]:
    """Return the catalogue `levels` above a URL, and the last two names on the way (the nearest to it first)."""
    path = url.rstrip("/") if "://" in url else str(open_target(url).local)
    names: list[str] = []
    for _ in range(levels):
        path, _, name = path.rpartition("/")
        names.insert(0, name)
    return open_target(path or "/"), names[0], names[-1]


def verify(url: str, *, key: Path | None = None, events: Events | None = None) -> dict[str, Any]:
    """Return the JSON of `inv verify`: every listed version with what is wrong with it.

    `key` is a public key or an allowed_signers file to believe instead of the catalogue's own. Raises `UsageError` when
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
    for name in names:
        if not layout.is_name(name):
            continue
        listed = [scope.version] if scope.version else versions(target, name)
        for number, version in enumerate(listed):
            events.progress(f"verify {name}", number, len(listed))
            seen = _version(target, name, version, keys, bases)
            if seen.problems and target.size(f"{name}/{version}/{layout.RELEASE}") is None:
                # A collection removes it just now, and release.json goes first.
                continue
            found.append(seen)
        if not scope.version:
            problems += _latest(target, name, listed)
            _moved_back(target, name, [one for one in found if one.name == name])
    if not found:
        # Nothing is listed yet, so nobody has signed anything.
        problems.clear()
    every = [*problems, *(problem for one in found for problem in one.problems)]
    return {
        "ok": not every and bool(found),
        "url": target.url,
        "key": str(key) if key else f"{target.url}/{layout.KEYS}",
        "images": [one.to_json() for one in found],
        "problems": [{"file": one.file, "what": one.what} for one in every],
    }


def versions(target: Target, name: str) -> list[str]:
    """Return the versions of an image that are listed: those with release.json."""
    if not layout.is_name(name):
        return []
    entries = [entry.rstrip("/") for entry in target.names(name) if entry.endswith("/")]
    listed = [one for one in entries if layout.is_version(one)]
    found = [one for one in listed if target.size(f"{name}/{one}/{layout.RELEASE}") is not None]
    if not found and not entries:
        # A plain web server lists no folders; it has latest.json.
        said = _parsed(target.read(f"{name}/{layout.LATEST}"))
        version = str(said.get("version", "")) if said else ""
        found = [version] if layout.is_version(version) else []
    return found


def _parsed(data: bytes | None) -> Mapping[str, Any] | None:
    try:
        value = jsontext.loads(data or b"")
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _keys(target: Target, given: Path | None, problems: list[Wrong]) -> Keys:
    if given is not None:
        try:
            keys, _ = signature.read_keys(files.read_bytes(given))
        except OSError as error:
            raise UsageError(f"the key {given} cannot be read: {error.strerror}") from error
        if not keys:
            raise UsageError(f"{given} has no Ed25519 key", hint="a .pub file, or an allowed_signers file")
        return Keys(tuple(keys), "")
    data = target.read(layout.KEYS)
    if data is None:
        problems.append(Wrong(layout.KEYS, "is missing: no key to verify with (--key FILE names one)"))
        return Keys((), layout.KEYS)
    keys, wrong = signature.read_keys(data)
    problems += [Wrong(layout.KEYS, f"line {number} is not as roost wrote it") for number in wrong]
    return Keys(tuple(keys), layout.KEYS)


def _latest(target: Target, name: str, versions: Sequence[str]) -> list[Wrong]:
    """Return what is wrong with latest.json; one that is missing is a publication that was killed just before it."""
    path = f"{name}/{layout.LATEST}"
    data = target.read(path)
    if data is None:
        return []
    said = _parsed(data)
    if said is None:
        return [Wrong(path, "is no JSON")]
    version = said.get("version")
    if version not in versions:
        return [Wrong(path, f"names the version {version!r}, which is not published")]
    release = target.read(f"{name}/{version}/{layout.RELEASE}") or b""
    if data == latest(name, str(version), release):
        return []
    listed = _sums(target.read(f"{name}/{version}/{layout.SUMS}")).get(layout.RELEASE)
    if listed is not None and listed != layout.sha256(release):
        # release.json is what changed, and is reported with its version.
        return []
    return [Wrong(path, "does not have the sum of the release that it names")]


def _moved_back(target: Target, name: str, found: Sequence[Verified]) -> None:
    """Note a latest.json that names an older version than the newest: an earlier one that was put back, perhaps.

    latest.json follows from what is signed and is not signed itself, so an earlier one is as good as the last.
    """
    said = _parsed(target.read(f"{name}/{layout.LATEST}")) or {}
    latest = next((one for one in found if one.version == said.get("version")), None)
    newest = max(found, key=lambda one: one.created, default=None)
    if latest is not None and newest is not None and newest.created > latest.created:
        latest.notes.append(f"latest.json names this version, and {newest.version} is newer: was it put back?")


def _sums(data: bytes | None) -> dict[str, str]:
    lines = (data or b"").decode("utf-8", "replace").splitlines()
    return {line[66:]: line[:64] for line in lines if len(line) > 66}


def _version(target: Target, name: str, version: str, keys: Keys, bases: dict[str, tuple[str | None, int]]) -> Verified:
    """Return what is found of one version. `bases` remembers the sums and sizes of the shared bases."""
    seen = Verified(name, version)
    folder = f"{name}/{version}"
    parts = {one: target.read(f"{folder}/{one}") for one in (layout.RELEASE, layout.SUMS, layout.SIGNATURE)}
    for part, data in parts.items():
        if data is None:
            seen.wrong(f"{folder}/{part}", "is missing")
    release_bytes, sums = parts[layout.RELEASE] or b"", parts[layout.SUMS] or b""
    try:
        release: Release | None = parse_release(release_bytes, layout.RELEASE)
    except ImageError as error:
        release = None
        if parts[layout.RELEASE] is not None:
            seen.wrong(f"{folder}/{layout.RELEASE}", error.problem.what)
    listed = _sums(sums)
    whole = listed.get(layout.RELEASE) == layout.sha256(release_bytes)
    if release is not None and (release.name, release.version) != (name, version):
        seen.wrong(f"{folder}/{layout.RELEASE}", f"is of {release.name} {release.version}")
    intact = release is not None and sums == layout.sums(release.files, folder, layout.sha256(release_bytes))
    signed = _signature(seen, folder, parts[layout.SIGNATURE], parts[layout.SUMS], keys, intact)
    sums_wrong = any(problem.file == f"{folder}/{layout.SUMS}" for problem in seen.problems)
    if not whole and parts[layout.RELEASE] is not None and (signed or not sums_wrong):
        seen.wrong(f"{folder}/{layout.RELEASE}", f"is not what {layout.SUMS} lists")
    digests = _files(target, seen, folder, release, listed, bases)
    if release is not None:
        seen.hypervisors = release.raw.get("hypervisors") or {}
        seen.untested, seen.created = release.untested, release.created
        _verdicts(target, seen, release, digests)
        if release.untested:
            seen.notes.append("published WITHOUT a test boot that passed (--allow-untested)")
    return seen


def _signature(
    seen: Verified, folder: str, armoured: bytes | None, sums: bytes | None, keys: Keys, intact: bool
) -> bool:
    """Judge the signature; `intact`: SHA256SUMS says exactly what follows from release.json."""
    if armoured is None or sums is None:
        return False
    path = f"{folder}/{layout.SIGNATURE}"
    found = signature.signer(armoured)
    if found is None:
        seen.wrong(path, "is no signature as OpenSSH writes it")
        return False
    key, raw = found
    if signature.verifies(key, raw, sums):
        if key in keys.keys:
            seen.signed_by = key.fingerprint
            return True
        seen.wrong(keys.file or path, f"the key that signed, {key.fingerprint}, is not one to believe")
        return True
    if any(signature.verifies(one, raw, sums) for one in keys.keys):
        seen.wrong(path, "names another key than the one that signed")
        return True
    seen.wrong(
        path if intact else f"{folder}/{layout.SUMS}",
        f"is not the signature of {layout.SUMS}" if intact else "is not what was signed",
    )
    return False


def _files(
    target: Target,
    seen: Verified,
    folder: str,
    release: Release | None,
    listed: Mapping[str, str],
    bases: dict[str, tuple[str | None, int]],
) -> dict[str, str | None]:
    """Sum every file; return path → sha256 as read. Without a release.json that can be read, SHA256SUMS tells."""
    if release is not None:
        wanted = {file.path: file.sha256 for file in release.files}
    else:
        wanted = {
            one.removeprefix("../../") if one.startswith("../../") else f"{folder}/{one}": digest
            for one, digest in listed.items()
            if one != layout.RELEASE
        }
    digests: dict[str, str | None] = {}
    for path, digest in wanted.items():
        if path not in bases:
            sizes: list[int] = []
            bases[path] = (target.digest(path, sizes.append), sum(sizes))
        found, size = bases[path]
        digests[path] = found
        seen.files += 1
        seen.bytes += size
        inside = path.removeprefix(f"{folder}/")
        in_sums = listed.get(inside if inside != path else f"../../{path}")
        if found is None:
            seen.wrong(path, "is missing")
        elif found not in {digest, in_sums}:
            seen.wrong(path, f"changed: sha256 {found} instead of {digest}")
        elif found != digest:
            seen.wrong(f"{folder}/{layout.RELEASE}", f"lists {path} with another sum")
        elif in_sums != digest:
            seen.wrong(f"{folder}/{layout.SUMS}", f"lists {path} with another sum, or not at all")
    _strangers(target, seen, folder, wanted)
    return digests


def _strangers(target: Target, seen: Verified, folder: str, wanted: Mapping[str, str]) -> None:
    """Find files that are in a version's folder and not in its release."""
    known = {*wanted, *(f"{folder}/{one}" for one in (layout.RELEASE, layout.SUMS, layout.SIGNATURE))}
    for path in walk(target, folder):
        if path in known:
            continue
        if path.rpartition("/")[2].startswith(layout.PARTIAL):
            seen.notes.append(f"{path} was left by a publication that ended")
        else:
            seen.wrong(path, "is no file of this release")


def _verdicts(target: Target, seen: Verified, release: Release, digests: Mapping[str, str | None]) -> None:
    """Hold each hypervisor's verdict against the disks that it is about."""
    disks = {file.name: digests.get(file.path) for file in release.files if file.role in IMAGE_ROLES}
    where = f"{release.folder}/{layout.RELEASE}"
    for hypervisor, said in seen.hypervisors.items():
        if not isinstance(said, dict) or said.get("verdict") != "passed":
            continue
        path = f"{release.folder}/boot/{hypervisor}.json"
        verdict = _parsed(target.read(path))
        if verdict is None:
            seen.wrong(path, "is missing or no JSON, and the release says that it passed")
            continue
        if verdict.get("passed") is not True:
            seen.wrong(where, f"says that {hypervisor} passed, and its verdict does not")
        booted = [one for part in ("disks", "kernel", "bases") for one in verdict.get(part) or ()]
        if not booted:
            seen.wrong(path, "names no disk that was booted")
        for one in booted:
            name = str(one.get("name"))
            if disks.get(name) != one.get("sha256") and not _reported(seen, name):
                seen.wrong(path, f"was reached on another {name}")
    if not seen.untested and not any(
        isinstance(said, dict) and said.get("verdict") == "passed" for said in seen.hypervisors.values()
    ):
        seen.wrong(where, "has no test boot that passed, and does not say so")


def _reported(seen: Verified, name: str) -> bool:
    return any(problem.file.rpartition("/")[2] == name for problem in seen.problems)


def check_release(target: Target, name: str, version: str, release: bytes) -> None:
    """Raise `ImageError` unless release.json is what its version's signed sums list; reads no image."""
    folder = f"{name}/{version}"
    sums, armoured = target.read(f"{folder}/{layout.SUMS}"), target.read(f"{folder}/{layout.SIGNATURE}")
    found = signature.signer(armoured or b"")
    keys, _ = signature.read_keys(target.read(layout.KEYS) or b"")
    good = sums is not None and found is not None and found[0] in keys and signature.verifies(*found, sums)
    if not good or _sums(sums).get(layout.RELEASE) != layout.sha256(release):
        raise ImageError(f"{name} {version} is not as it was signed", hint=f"inv verify {target.url}")
