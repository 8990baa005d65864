"""Write a release to a catalogue that stays valid at every moment, even if a process is killed.

Validity follows from the order: files, SHA256SUMS and its signature, release.json, latest.json. Without release.json
a version is not listed; afterwards its directory does not change. Files sent by a killed publisher are kept if valid.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roost.errors import ImageError
from roost.events import Events
from roost.host import jsontext
from roost.publish import layout
from roost.publish.claim import Claim, Wish, await_removal, held
from roost.publish.counted import Counted
from roost.publish.layout import Release, parse_release
from roost.publish.release import Artifact, Draft, latest
from roost.publish.signature import Key, read_keys
from roost.publish.targets.target import Progress, Target, unwatched


@dataclass(frozen=True, slots=True)
class Written:
    """The result of a publication: bytes sent, bytes that already existed, whether anything was published."""

    new: bool
    sent: int
    kept: int
    release: Release


def write(target: Target, draft: Draft, key: Key, events: Events, *, take_over: bool = False) -> Written:
    """Write a release, unless it already exists.

    Raises `ImageError` when this version exists with other bytes or is damaged, when a file does not read back as
    sent, or when a local file changes while it is sent.
    """
    existing = _published(target, draft)
    if existing is None or _damage(target, existing) is not None or not _is_latest(target, existing):
        digest = layout.sha256(draft.release)
        files = [item.file.path for item in draft.items]
        with held(target, draft.name, draft.version, digest, Wish(events, files, take_over)) as claim:
            # The previous holder of the claim may have completed or removed the version.
            existing = _published(target, draft)
            if existing is None:
                return _write(target, draft, key, claim, events, take_over=take_over)
            # Again, because without the claim the version may have been in the middle of its removal.
            _require_whole(target, existing)
            _mend_latest(target, existing)
    return Written(False, 0, sum(file.size for file in existing.files), existing)


def _published(target: Target, draft: Draft) -> Release | None:
    """Return the existing release of this version; raise `ImageError` when it differs."""
    data = target.read(f"{draft.directory}/{layout.RELEASE}")
    if data is None:
        return None
    try:
        release = parse_release(data, f"{target.url}/{draft.directory}/{layout.RELEASE}")
    except ImageError as error:
        raise ImageError(error.problem.what, hint=_repair(target, draft.directory)) from error
    if release.identity != draft.identity:
        raise ImageError(
            f"{draft.name} {draft.version} is published with other bytes, and a version never changes",
            hint="choose another --version, or leave it out",
        )
    return release


def _damage(target: Target, release: Release) -> str | None:
    """Return which file of a listed version is missing or of another size, as the storage lists it; None if none is.

    Nothing is read back: `inv verify` does that.
    """
    directory = release.directory
    # The length does not depend on the sum of release.json.
    sums = layout.sums(release.files, directory, layout.sha256(b""))
    wanted: dict[str, int | None] = {file.path: file.size for file in release.files}
    wanted |= {f"{directory}/{layout.SUMS}": len(sums), f"{directory}/{layout.SIGNATURE}": None}
    for path, size in wanted.items():
        found = target.size(path)
        if found is None:
            return f"{path} is missing"
        if found != size and (size is not None or not found):
            return f"{path} has {found} bytes" + (f" instead of {size}" if size is not None else "")
    return None


def _require_whole(target: Target, release: Release) -> None:
    """Raise `ImageError` for a listed version that lacks a file, or has one of another size."""
    damage = _damage(target, release)
    if damage is not None:
        raise ImageError(
            f"{release.name} {release.version} is in the catalogue, but damaged: {target.url}/{damage}",
            hint=_repair(target, release.directory),
        )


def _repair(target: Target, directory: str) -> str:
    return f"remove {target.url}/{directory} and publish again; inv verify {target.url} shows all"


def _write(target: Target, draft: Draft, key: Key, claim: Claim, events: Events, *, take_over: bool = False) -> Written:
    total = sum(item.file.size for item in draft.items)
    counted = Counted(events, "publish", 2 * total)
    _tidy(target, draft)
    sent = 0
    for item in draft.items:
        if isinstance(item.source, Path):
            # Before each long operation: a process that took over this version writes files under the same names.
            claim.check()
        if item.file.path.startswith(f"{layout.BASES}/"):
            await_removal(target, item.file.path, events, take_over=take_over)
        sent += _send(target, item, counted)
    _allow(target, key)
    for name, data in ((layout.SUMS, draft.sums), (layout.SIGNATURE, draft.signature)):
        path = f"{draft.directory}/{name}"
        if target.read(path) != data:
            target.write(path, data)
            _same(target, path, layout.sha256(data))
    claim.check()
    path = f"{draft.directory}/{layout.RELEASE}"
    if not target.create(path, draft.release) and target.read(path) != draft.release:
        raise ImageError(f"another process published {draft.name} {draft.version} first", hint="choose a --version")
    _same(target, path, layout.sha256(draft.release))
    target.write(f"{draft.name}/{layout.LATEST}", draft.latest)
    # Again, because another's first publication may have overwritten the file without our line.
    _allow(target, key)
    return Written(True, sent, total - sent, parse_release(draft.release, path))


def _send(target: Target, item: Artifact, counted: Counted) -> int:
    """Send a file unless it exists, and read it back; return the number of bytes sent."""
    file, source = item.file, item.source
    counted.doing(f"sending {file.name}")
    if target.size(file.path) == file.size and target.digest(file.path, counted) == file.sha256:
        counted(file.size)
        return 0
    if isinstance(source, Path):
        target.put(file.path, source, file.sha256, counted)
    else:
        target.write(file.path, source)
        counted(file.size)
    counted.doing(f"reading {file.name} back")
    try:
        _same(target, file.path, file.sha256, counted)
    except ImageError:
        if not file.path.startswith(f"{layout.BASES}/"):
            target.remove(file.path)
        raise
    return file.size


def _same(target: Target, path: str, sha256: str, progress: Progress = unwatched) -> None:
    seen = target.digest(path, progress)
    if seen != sha256:
        raise ImageError(
            f"{target.url}/{path} differs from what was sent: sha256 {seen or 'unknown'} instead of {sha256}",
            hint="the file changed while it was sent, or the storage does not keep what it is sent",
        )


def _tidy(target: Target, draft: Draft) -> None:
    """Remove files of a killed publisher that are in the version's directory but not in this release.

    Shared bases are not touched: another image's publisher may be sending one.
    """
    wanted = {item.file.path for item in draft.items}
    wanted |= {f"{draft.directory}/{name}" for name in (layout.SUMS, layout.SIGNATURE)}
    for path in walk(target, draft.directory):
        if path not in wanted:
            target.remove(path)


def walk(target: Target, directory: str) -> list[str]:
    """Return the paths of all files below a directory of the catalogue."""
    found = []
    for name in target.names(directory):
        path = f"{directory}/{name}" if directory else name
        found += walk(target, path.rstrip("/")) if name.endswith("/") else [path]
    return found


def _allow(target: Target, key: Key) -> None:
    """Add a key to the catalogue's allowed_signers; another publisher may be adding its own at the same time."""
    for _ in range(5):
        content = target.read(layout.KEYS) or b""
        if key in read_keys(content)[0]:
            return
        joined = content if not content or content.endswith(b"\n") else content + b"\n"
        target.write(layout.KEYS, joined + key.line.encode())
    raise ImageError(f"{target.url}/{layout.KEYS} does not keep the signing key")


def _latest_of(target: Target, release: Release) -> bytes:
    data = target.read(f"{release.directory}/{layout.RELEASE}") or b""
    return latest(release.name, release.version, data)


def _is_latest(target: Target, release: Release) -> bool:
    return target.read(f"{release.name}/{layout.LATEST}") == _latest_of(target, release)


def _mend_latest(target: Target, release: Release) -> None:
    """Update latest.json to a listed version, if a killed publisher did not. Requires the version's claim."""
    other = current(target, release.name)
    # Times have a resolution of one second: of two releases in the same second, prefer the requested one.
    if not _is_latest(target, release) and (other is None or other.created <= release.created):
        target.write(f"{release.name}/{layout.LATEST}", _latest_of(target, release))


def current(target: Target, name: str) -> Release | None:
    """Return the release named by an image's latest.json, or None when it cannot be read."""

    try:
        pointer = jsontext.loads(target.read(f"{name}/{layout.LATEST}") or b"")
        version = str(pointer["version"])
        path = f"{name}/{version}/{layout.RELEASE}"
        data = target.read(path) if layout.is_version(version) else None
        return parse_release(data, path) if data is not None else None
    except (ValueError, KeyError, TypeError, ImageError):
        return None
