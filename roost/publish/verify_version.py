"""Verify one version: complete, unchanged, signed, and tested as claimed. `publish.verify` documents the chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from roost.errors import ImageError
from roost.publish import layout, signature
from roost.publish.layout import Release, parse_release
from roost.publish.listing import parsed, read_sums
from roost.publish.release import IMAGE_ROLES
from roost.publish.signature import Key
from roost.publish.targets.target import Progress, Target, unwatched
from roost.publish.upload import walk


@dataclass(frozen=True, slots=True)
class Wrong:
    """One problem: the file, relative to the catalogue, and the message."""

    file: str
    what: str


@dataclass
class Verified:
    """The findings about one version."""

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
    #: The name and version in its release.json, if the directory belongs to another version.
    really: tuple[str, str] | None = None
    progress: Progress = unwatched

    def wrong(self, file: str, what: str) -> None:
        """Record a problem, once."""
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
    """The keys to trust, and the catalogue's file that they are from ("": the caller's own, or none)."""

    keys: tuple[Key, ...]
    file: str


def verify_version(
    target: Target,
    name: str,
    version: str,
    keys: Keys,
    bases: dict[str, tuple[str | None, int]],
    progress: Progress = unwatched,
) -> Verified:
    """Return the findings about one version. `bases` caches the checksums and sizes of the shared bases."""
    seen = Verified(name, version, progress=progress)
    directory = f"{name}/{version}"
    parts = {one: target.read(f"{directory}/{one}") for one in (layout.RELEASE, layout.SUMS, layout.SIGNATURE)}
    for part, data in parts.items():
        if data is None:
            seen.wrong(f"{directory}/{part}", "is missing")
    release_bytes, sums = parts[layout.RELEASE] or b"", parts[layout.SUMS] or b""
    try:
        release: Release | None = parse_release(release_bytes, layout.RELEASE)
    except ImageError as error:
        release = None
        if parts[layout.RELEASE] is not None:
            seen.wrong(f"{directory}/{layout.RELEASE}", error.problem.what.removeprefix(f"{layout.RELEASE} "))
    listed = read_sums(sums)
    whole = listed.get(layout.RELEASE) == layout.sha256(release_bytes)
    if release is not None and (release.name, release.version) != (name, version):
        if whole:
            # The checksums belong to that version, too: all other problems would follow from this one.
            seen.really = (release.name, release.version)
            what = f"belongs to {release.directory}: the directory was renamed or copied (rename it back, or remove it)"
            seen.wrong(f"{directory}/{layout.RELEASE}", what)
            return seen
        seen.wrong(f"{directory}/{layout.RELEASE}", f"belongs to {release.name} {release.version}")
    intact = release is not None and sums == layout.sums(release.files, directory, layout.sha256(release_bytes))
    signed = _signature(seen, directory, parts[layout.SIGNATURE], parts[layout.SUMS], keys, intact)
    sums_wrong = any(problem.file == f"{directory}/{layout.SUMS}" for problem in seen.problems)
    if not whole and parts[layout.RELEASE] is not None and (signed or not sums_wrong):
        seen.wrong(f"{directory}/{layout.RELEASE}", f"does not match {layout.SUMS}")
    digests = _files(target, seen, directory, release, listed, bases)
    if release is not None:
        hypervisors = release.raw.get("hypervisors")
        seen.hypervisors = hypervisors if isinstance(hypervisors, dict) else {}
        seen.untested, seen.created = release.untested, release.created
        _verdicts(target, seen, release, digests)
        if release.untested:
            seen.notes.append("published WITHOUT a test boot that passed (--allow-untested)")
    return seen


def _signature(
    seen: Verified, directory: str, armoured: bytes | None, sums: bytes | None, keys: Keys, intact: bool
) -> bool:
    """Verify the signature; `intact`: SHA256SUMS is exactly what follows from release.json."""
    if armoured is None or sums is None:
        return False
    path = f"{directory}/{layout.SIGNATURE}"
    found = signature.signer(armoured)
    if found is None:
        seen.wrong(path, "is not an OpenSSH signature")
        return False
    key, raw = found
    if signature.verifies(key, raw, sums):
        if key in keys.keys:
            seen.signed_by = key.fingerprint
            return True
        if keys.file:
            seen.wrong(keys.file, f"does not list {key.fingerprint}, the key that signed: it is not a trusted key")
        else:
            seen.wrong(path, f"is signed by {key.fingerprint}, which is not a trusted key")
        return True
    if any(signature.verifies(one, raw, sums) for one in keys.keys):
        seen.wrong(path, "names a different key from the one that signed")
        return True
    seen.wrong(
        path if intact else f"{directory}/{layout.SUMS}",
        f"is not the signature of {layout.SUMS}" if intact else "differs from what was signed",
    )
    return False


def _files(
    target: Target,
    seen: Verified,
    directory: str,
    release: Release | None,
    listed: Mapping[str, str],
    bases: dict[str, tuple[str | None, int]],
) -> dict[str, str | None]:
    """Checksum every file; return path → sha256 as read. If release.json is unreadable, SHA256SUMS lists the files."""
    if release is not None:
        wanted = {file.path: file.sha256 for file in release.files}
    else:
        named = {
            one.removeprefix("../../") if one.startswith("../../") else f"{directory}/{one}": digest
            for one, digest in listed.items()
            if one != layout.RELEASE
        }
        wanted = {path: digest for path, digest in named.items() if layout.is_inside(path, directory)}
        if len(wanted) < len(named):
            seen.wrong(f"{directory}/{layout.SUMS}", "names a file outside of its version")
    digests: dict[str, str | None] = {}
    for path, digest in wanted.items():
        if path not in bases:
            sizes: list[int] = []

            def read(size: int, sizes: list[int] = sizes) -> None:
                sizes.append(size)
                seen.progress(size)

            try:
                bases[path] = (target.digest(path, read), sum(sizes))
            except ImageError as error:
                seen.wrong(path, error.problem.what.removeprefix(f"{target.url}: "))
                continue
        found, size = bases[path]
        digests[path] = found
        seen.files += 1
        seen.bytes += size
        inside = path.removeprefix(f"{directory}/")
        in_sums = listed.get(inside if inside != path else f"../../{path}")
        if found is None:
            seen.wrong(path, "is missing")
        elif found not in {digest, in_sums}:
            seen.wrong(path, f"changed: sha256 {found} instead of {digest}")
        elif found != digest:
            seen.wrong(f"{directory}/{layout.RELEASE}", f"lists {path} with a different checksum")
        elif in_sums != digest:
            seen.wrong(f"{directory}/{layout.SUMS}", f"lists {path} with a different checksum, or not at all")
    _unlisted_files(target, seen, directory, wanted)
    return digests


def _unlisted_files(target: Target, seen: Verified, directory: str, wanted: Mapping[str, str]) -> None:
    """Report files in a version's directory that are not in its release."""
    known = {*wanted, *(f"{directory}/{one}" for one in (layout.RELEASE, layout.SUMS, layout.SIGNATURE))}
    for path in walk(target, directory):
        if path in known:
            continue
        if path.rpartition("/")[2].startswith(layout.PARTIAL):
            seen.notes.append(f"{path} was left by a publication that ended")
        else:
            seen.wrong(path, "is not a file of this release")


def _verdicts(target: Target, seen: Verified, release: Release, digests: Mapping[str, str | None]) -> None:
    """Compare each hypervisor's verdict with the disks that it names."""
    disks = {file.name: digests.get(file.path) for file in release.files if file.role in IMAGE_ROLES}
    where = f"{release.directory}/{layout.RELEASE}"
    for hypervisor, result in seen.hypervisors.items():
        if not isinstance(result, dict) or result.get("verdict") != "passed":
            continue
        path = f"{release.directory}/boot/{hypervisor}.json"
        verdict = parsed(target.read(path))
        if verdict is None:
            seen.wrong(path, "is missing or not JSON, and the release says that it passed")
            continue
        if verdict.get("passed") is not True:
            seen.wrong(where, f"says that {hypervisor} passed, but its verdict does not")
        parts = [verdict.get(part) or [] for part in ("disks", "kernel", "bases")]
        booted = [one for part in parts for one in (part if isinstance(part, list) else [part])]
        if not all(isinstance(one, dict) and isinstance(one.get("sha256"), str) for one in booted):
            seen.wrong(path, "has an invalid list of what was booted")
            continue
        if not booted:
            seen.wrong(path, "names no disk that was booted")
        for one in booted:
            name = str(one.get("name"))
            if disks.get(name) != one.get("sha256") and not _reported(seen, name):
                seen.wrong(path, f"comes from a boot with a different {name}")
    if not seen.untested and not any(
        isinstance(result, dict) and result.get("verdict") == "passed" for result in seen.hypervisors.values()
    ):
        seen.wrong(where, "has no test boot that passed, and does not say so")


def _reported(seen: Verified, name: str) -> bool:
    return any(problem.file.rpartition("/")[2] == name for problem in seen.problems)
