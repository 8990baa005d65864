"""The steps of publication: stale images are built and booted, checked by the gate, and added to the catalogue.

`publish` and `verify` are the functions of the tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roost.customize import inputs
from roost.errors import ImageError
from roost.events import Events, Stages
from roost.host import checksum, jsontext, paths
from roost.pipeline import boot as booting
from roost.pipeline import booted, planning, released
from roost.pipeline import build as building
from roost.publish import gate, layout, release, signature, upload
from roost.publish import verify as verification
from roost.publish.layout import Release
from roost.publish.targets.kinds import open_target
from roost.publish.targets.target import Target
from roost.recipe import loader
from roost.recipe.loader import Loaded
from roost.store import manifest, staging
from roost.store.manifest import Manifest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: In the build directory: where this build was last published.
RECORD = "published.json"


@dataclass(frozen=True, slots=True)
class Published:
    """The result of `publish`: the place of the version, its files, what was sent and what other versions already had.

    `fetched` are the bytes that are new relative to the version `before`, if there is one.
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
            "url": f"{self.url}/{self.release.directory}",
            "catalogue": self.url,
            "new": self.new,
            "untested": self.release.untested,
            "hypervisors": self.release.raw["hypervisors"],
            "files": [file.to_json() for file in self.release.files],
            "transfer": {"sent": self.sent, "kept": self.kept, "new_to_users": self.fetched, "since": self.before},
            "signed_by": self.signed_by,
        }


@dataclass(frozen=True, slots=True)
class Options:
    """How to publish: `version` is derived from the image's content unless given.

    `public` is the URL or path under which jobs find the catalogue if it differs from the one written to.
    """

    version: str | None = None
    public: str | None = None
    allow_untested: bool = False
    require_kvm: bool = False
    take_over: bool = False

    def __post_init__(self) -> None:
        if self.version is not None:
            layout.checked_version(self.version)


DEFAULTS = Options()


def publish(name: str, *, to: str, events: Events, options: Options = DEFAULTS, key: Path | None = None) -> Published:
    """Build and boot an image as far as it is stale, and publish it to the directory or URL `to` if it passed.

    Raises `ImageError` for what the gate refuses, and, before anything is built, when files of a finished build were
    changed.
    """
    target = open_target(to)
    loaded = loader.load(name, paths.project_root(), (), planning.problems)
    # A key is made at its first use: not for an unknown recipe.
    private = signature.load_private_key(key, events)
    directory = loaded.build
    _refuse_changed(loaded, directory)
    building.image(loaded, events=events)
    if not options.allow_untested:
        _boot_what_is_not(loaded, directory, events, require_kvm=options.require_kvm)
    return hand_over(loaded, target, private_key=private, events=events, options=options)


def hand_over(
    loaded: Loaded, target: Target, *, private_key: Ed25519PrivateKey, events: Events, options: Options = DEFAULTS
) -> Published:
    """Publish the image of a recipe as it was built and booted; raise `ImageError` for what the gate refuses."""
    directory, stages = loaded.build, Stages(events)
    with staging.lock(directory, lambda: events.note(staging.in_use(directory))):
        with stages.stage("gate", "compare each byte with what passed"):
            untested, kvm = options.allow_untested, options.require_kvm
            passed = gate.examine(loaded, directory, allow_untested=untested, require_kvm=kvm)
        return write(passed, target, private_key=private_key, events=events, options=options)


def _refuse_changed(loaded: Loaded, directory: Path) -> None:
    """Refuse a build whose files were changed: a rebuild would hide that, and the intent is unknown."""
    record = manifest.read(directory)
    if record is None or inputs.recipe_key(loaded.recipe, loaded.directory) != record.keys.get("recipe"):
        return
    changed = manifest.describe_changes(directory, record.files)
    if changed is not None:
        name = loaded.recipe.name
        what = f"{name} is not published: {changed}"
        raise ImageError(what, hint=f"inv build {loaded.called} makes it again")


def _boot_what_is_not(loaded: Loaded, directory: Path, events: Events, *, require_kvm: bool) -> None:
    """Boot each hypervisor without a verdict of this account; the gate judges the verdicts."""
    for hypervisor in loaded.recipe.hypervisors:
        if booted.is_due(loaded, directory, hypervisor, require_kvm=require_kvm):
            insists = require_kvm and hypervisor == "kvm"
            options = booting.Options(hypervisor=hypervisor, require_kvm=insists)
            booting.image(loaded, events=events, options=options)


def write(
    passed: gate.Passed,
    target: Target,
    *,
    private_key: Ed25519PrivateKey,
    events: Events,
    options: Options = DEFAULTS,
) -> Published:
    """Write an image that passed the gate into a catalogue; the caller holds the build directory's lock."""
    key = signature.public_key(private_key)
    stages = Stages(events)
    with stages.stage("publish", f"{passed.record.name} to {target.url}"):
        draft = release.draft(
            passed,
            version=options.version,
            root=released.root(target, options.public),
            public=options.public,
            signer=lambda data: signature.sign(private_key, data),
        )
        before = upload.current(target, passed.record.name)
        written = upload.write(target, draft, key, events, take_over=options.take_over)
    remarks = {str(name): str(text) for name, text in dict(written.release.raw.get("remarks") or {}).items()}
    for remark in remarks.values():
        events.note(f"{passed.record.name}: {remark}")
    note = {"url": target.url, "version": written.release.version, "manifest": _manifest_sum(passed.directory)}
    staging.write_atomically(passed.directory / RECORD, layout.json_bytes(note))
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


def _new_bytes(before: Release | None, now: Release) -> int:
    """Return the bytes of disks and kernels that users of the previous version must fetch."""
    had = {file.sha256 for file in before.files} if before else set()
    images = [file for file in now.files if file.role in release.IMAGE_ROLES]
    return sum(file.size for file in images if file.sha256 not in had)


def _manifest_sum(directory: Path) -> str:
    return checksum.sha256(directory / manifest.NAME)


def is_published(directory: Path, record: Manifest) -> bool:
    """Return whether this build, in its current state, was published from here."""
    try:
        last = jsontext.read(directory / RECORD)
        return bool(record.files) and last["manifest"] == _manifest_sum(directory)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def verify(url: str, *, key: Path | None, events: Events) -> dict[str, Any]:
    """Verify a catalogue, one image of it, or one version; see `publish.verify`."""
    with Stages(events).stage("verify", url):
        return verification.verify(url, key=key, events=events)
