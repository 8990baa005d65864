"""The story of publication: what is stale is built and booted, the gate looks at it, the catalogue gets it; and back.

`publish` and `verify` are the tasks' functions, `published_description` is `inv submit NAME --from`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roost.boot import seal
from roost.condor import emit, submission
from roost.condor.jobs_file import read_jobs
from roost.customize import inputs
from roost.errors import ImageError, RecipeError, UsageError
from roost.events import Events, Stages
from roost.host import checksum, jsontext, paths
from roost.host import output as writing
from roost.pipeline import boot as booting
from roost.pipeline import build as building
from roost.publish import describe, gate, layout, listing, release, signature, upload
from roost.publish import verify as verification
from roost.publish.describe import ReleasedImage
from roost.publish.layout import Release, ReleaseFile
from roost.publish.targets.kinds import open_target
from roost.publish.targets.target import Target
from roost.recipe import loader
from roost.recipe.loader import Loaded
from roost.recipe.model import Hypervisor, Recipe
from roost.store import manifest, staging
from roost.store.manifest import Manifest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: In the build folder: where this very build was published last.
RECORD = "published.json"


@dataclass(frozen=True, slots=True)
class Published:
    """What `publish` did: where the version is, its files, what was sent and what another version had already.

    `fetched` are the bytes that are new to those who have the version `before`, if there is one.
    """

    release: Release
    url: str
    new: bool
    sent: int
    kept: int
    fetched: int
    signed_by: str
    before: str | None
    remarks: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON contract of `inv publish NAME --json`."""
        return {
            "name": self.release.name,
            "version": self.release.version,
            "url": f"{self.url}/{self.release.folder}",
            "catalogue": self.url,
            "new": self.new,
            "untested": self.release.untested,
            "hypervisors": self.release.raw["hypervisors"],
            "files": [file.to_json() for file in self.release.files],
            "transfer": {"sent": self.sent, "kept": self.kept, "new_to_users": self.fetched, "since": self.before},
            "signed_by": self.signed_by,
        }


def publish(
    name: str,
    *,
    to: str,
    events: Events,
    version: str | None = None,
    public: str | None = None,
    key: Path | None = None,
    allow_untested: bool = False,
    require_kvm: bool = False,
    take_over: bool = False,
) -> Published:
    """Build and boot what is stale of an image, and publish it to a catalogue if it passed.

    `to` is a folder or URL, `public` the URL or path under which jobs find the catalogue if that is another. Raises
    `ImageError` for what the gate refuses, and before anything is built when files of a finished build were changed.
    """
    if version is not None:
        layout.checked_version(version)
    target = open_target(to)
    private = signature.load_private_key(key, events)
    loaded = loader.load(name, paths.project_root())
    folder = loaded.build
    _refuse_changed(loaded, folder)
    building.build(name, events=events)
    if not allow_untested:
        _boot_what_is_not(name, loaded, folder, events, require_kvm=require_kvm)
    stages = Stages(events)
    with staging.lock(folder, lambda: events.note(f"{loaded.recipe.name} is being built: waiting for it")):
        with stages.stage("gate", "is this, byte for byte, what passed"):
            passed = gate.examine(loaded, folder, allow_untested=allow_untested, require_kvm=require_kvm)
        return write(
            passed, target, private_key=private, events=events, version=version, public=public, take_over=take_over
        )


def _refuse_changed(loaded: Loaded, folder: Path) -> None:
    """Refuse a build that somebody changed: to build it again would hide that, and what was meant is not known."""
    record = manifest.read(folder)
    if record is None or inputs.recipe_key(loaded.recipe, loaded.folder) != record.keys.get("recipe"):
        return
    changed = manifest.changed_files(folder, record.files)
    if changed:
        name = loaded.recipe.name
        what = f"{name} is not published: {', '.join(changed)} changed since the build"
        raise ImageError(what, hint=f"inv build {loaded.called} makes it anew")


def _boot_what_is_not(name: str, loaded: Loaded, folder: Path, events: Events, *, require_kvm: bool) -> None:
    """Boot each side unless a boot of this account has left a verdict; what that says is the gate's business."""
    for hypervisor in loaded.recipe.hypervisors:
        insists = require_kvm and hypervisor == "kvm"
        other = insists and _accelerator(folder) != "kvm"
        if seal.missing(folder, hypervisor) or other or _other_test(loaded, folder, hypervisor):
            options = booting.Options(hypervisor=hypervisor, require_kvm=insists)
            booting.boot(name, events=events, options=options)


def _other_test(loaded: Loaded, folder: Path, hypervisor: Hypervisor) -> bool:
    """Return whether the verdict is of another test than the recipe asks for now."""
    try:
        test = jsontext.read(folder / "boot" / f"{hypervisor}.json").get("test")
    except (OSError, ValueError, AttributeError):
        return False
    return test is not None and test != inputs.boot_key(loaded.recipe, loaded.folder)


def _accelerator(folder: Path) -> str | None:
    try:
        return str(jsontext.read(folder / "boot" / "kvm.json")["accelerator"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write(
    passed: gate.Passed,
    target: Target,
    *,
    private_key: Ed25519PrivateKey,
    events: Events,
    version: str | None = None,
    public: str | None = None,
    take_over: bool = False,
) -> Published:
    """Write what came through the gate into a catalogue; the caller holds the build folder's lock."""
    key = signature.public_key(private_key)
    stages = Stages(events)
    with stages.stage("publish", f"{passed.record.name} to {target.url}"):
        draft = release.draft(
            passed,
            version=version,
            root=_root(target, public),
            public=public,
            signer=lambda data: signature.sign(private_key, data),
        )
        before = upload.current(target, passed.record.name)
        written = upload.write(target, draft, key, events, take_over=take_over)
    remarks = {str(name): str(text) for name, text in dict(written.release.raw.get("remarks") or {}).items()}
    for remark in remarks.values():
        events.note(f"{passed.record.name}: {remark}")
    note = {"url": target.url, "version": written.release.version, "manifest": _manifest_sum(passed.folder)}
    staging.write_atomically(passed.folder / RECORD, layout.json_bytes(note))
    return Published(
        release=written.release,
        url=target.url,
        new=written.new,
        sent=written.sent,
        kept=written.kept,
        fetched=_new_bytes(before, written.release),
        signed_by=key.fingerprint,
        before=before.version if before else None,
        remarks=remarks,
    )


def _root(target: Target, public: str | None) -> str | None:
    """Return where jobs find the catalogue: as said, else the folder, or the URL if HTCondor fetches it without keys.

    None: the files are carried from beside the description.
    """
    if public is not None:
        if "://" not in public and not public.startswith("/"):
            raise UsageError(f"--public {public} is neither a URL nor an absolute path")
        return public.rstrip("/")
    if target.local is not None:
        return str(target.local)
    scheme = target.url.partition("://")[0]
    return target.url if scheme in {"http", "https", "osdf"} else None


def _new_bytes(before: Release | None, now: Release) -> int:
    """Return the bytes of disks and kernels that those who have the version before must fetch."""
    had = {file.sha256 for file in before.files} if before else set()
    images = [file for file in now.files if file.role in release.IMAGE_ROLES]
    return sum(file.size for file in images if file.sha256 not in had)


def _manifest_sum(folder: Path) -> str:
    return checksum.sha256(folder / manifest.NAME)


def is_published(folder: Path, record: Manifest) -> bool:
    """Return whether this build, exactly as it stands, was published from here."""
    try:
        said = jsontext.read(folder / RECORD)
        return bool(record.files) and said["manifest"] == _manifest_sum(folder)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def verify(url: str, *, key: Path | None, events: Events) -> dict[str, Any]:
    """Verify a catalogue, one image of it, or one version; see `publish.verify`."""
    return verification.verify(url, key=key, events=events)


def published_description(
    name: str,
    source: str,
    *,
    hypervisor: str | None,
    transfer: str | None,
    jobs: Path | None,
    snippet: bool,
    output: Path | None,
) -> str:
    """Return the submit description of a published image: `source` is CATALOGUE or CATALOGUE@VERSION.

    `transfer` is files (beside the description), shared (the catalogue's absolute path), or the URL or path of a copy
    of the catalogue; by default where the catalogue is. Nothing of the image itself is read, only what describes it.
    """
    url, version = _source(source)
    name, wanted = _named(name)
    if wanted is not None and version not in {None, wanted}:
        raise UsageError(f"which version: {wanted} or {version}?", hint="name it once")
    version = wanted or version
    target = open_target(url)
    found = _release(target, name, version)
    recipe = _recipe(target, found)
    if hypervisor not in {None, "kvm", "xen"}:
        raise UsageError(f"there is no hypervisor '{hypervisor}'", hint="kvm or xen")
    chosen: Hypervisor = "xen" if hypervisor == "xen" else "kvm" if hypervisor else recipe.hypervisors[0]
    told = found.raw.get("remarks")
    remark = told.get(chosen) if isinstance(told, dict) else None
    texts = describe.descriptions(
        ReleasedImage(recipe, _images(found), _root_for(target, transfer)),
        chosen,
        remarks=[str(remark)] if remark else [],
        jobs=read_jobs(jobs) if jobs else None,
        templates=emit.template_folders(paths.project_root()),
        at=submission.place_of(output),
    )
    text = texts.snippet if snippet else texts.description
    if output is not None:
        writing.write(output, text.encode())
    return text


def _named(name: str) -> tuple[str, str | None]:
    """Split NAME@VERSION; of the path of a recipe the name is what the recipe says."""
    head, at, version = name.rpartition("@")
    if at and head and "/" not in version:
        return _named(head)[0], layout.checked_version(version)
    if "/" in name or name.endswith(loader.SUFFIXES):
        return loader.load(name, paths.project_root()).recipe.name, None
    return name, None


def _source(source: str) -> tuple[str, str | None]:
    """Split CATALOGUE@VERSION; an @ of a URL's user stands before its path."""
    head, at, tail = source.rpartition("@")
    if at and head and "/" not in tail and layout.is_version(tail):
        return head, tail
    return source, None


def _root_for(target: Target, transfer: str | None) -> str | None:
    if transfer == "files":
        return None
    if transfer is None:
        return _root(target, None)
    if transfer == "shared":
        if target.local is None:
            raise UsageError(f"{target.url} is no folder that machines share", hint="--transfer files, or a URL")
        return str(target.local)
    if "://" not in transfer and not transfer.startswith("/"):
        hint = "files, shared, or the URL or absolute path of the catalogue"
        raise UsageError(f"there is no transfer '{transfer}'", hint=hint)
    return transfer.rstrip("/")


def _images(found: Release) -> list[ReleaseFile]:
    return [file for file in found.files if file.role in release.IMAGE_ROLES]


def _release(target: Target, name: str, version: str | None) -> Release:
    """Return what a catalogue has under a name; raise `UsageError` for nothing, `ImageError` for what was changed."""
    if not layout.is_name(name):
        raise UsageError(f"{name!r} is no name of an image")
    if version is None:
        found = upload.current(target, name)
        if found is None:
            folders = [one[:-1] for one in target.names("") if one.endswith("/")]
            known = [one for one in folders if listing.versions(target, one)]
            if name in known:
                have = listing.versions(target, name)
                raise ImageError(
                    f"{target.url} does not say which version of {name} is the latest:"
                    f" {name}/latest.json is not there or damaged",
                    hint=f"name one: @{have[-1]}; or publish again",
                )
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


def _close(word: str, known: Sequence[str], target: Target) -> str:
    """Return what somebody may have meant, else where all of it is listed."""
    close = difflib.get_close_matches(word, [one for one in known if one != word], 1)
    return f"did you mean {close[0]}?" if close else f"inv catalogue --from {target.url} lists what it has"


def _recipe(target: Target, found: Release) -> Recipe:
    """Return the recipe that is in a release's manifest, its bytes being those of the release."""
    entry = next((file for file in found.files if file.role == "manifest"), None)
    data = target.read(entry.path) if entry else None
    if entry is None or data is None or layout.sha256(data) != entry.sha256:
        raise ImageError(f"{found.folder}/{layout.MANIFEST} is missing or changed", hint="inv verify says more")
    try:
        return Recipe.model_validate(jsontext.loads(data)["recipe"])
    except (ValueError, KeyError, TypeError) as error:
        raise ImageError(f"{entry.path} has no recipe that this roost reads: {error}") from error
    except RecipeError as error:
        raise ImageError(f"{entry.path} has no recipe that this roost reads") from error
