"""The gate: the conditions of a publication, verified by digests and never by times.

The chain leaves no gap in which a file could be changed: the recipe determines the manifest's key, the manifest has
the sha256 of every file, which is read again here; the seal ties the verdict to that manifest and to the submit
descriptions; the verdict has the sha256 of the disks it booted; the descriptions are those of the current recipe.
Uploaded files are checksummed again against the same manifest; small files are read only once, here, so that the
published bytes are those that were verified.
"""

from __future__ import annotations

import shlex
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from roost.boot import attestation
from roost.condor import submission
from roost.customize import inputs
from roost.errors import ImageError, RoostError
from roost.host import checksum, files, jsontext
from roost.publish import layout
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.loader import Loaded
from roost.recipe.words import shown
from roost.store import manifest
from roost.store.manifest import Manifest

#: The clock correction on one host that is not suspicious.
CLOCK = timedelta(minutes=5)

#: Size limit in bytes of one published file of a boot: a console, a screenshot, a report.
_MOST = 64 << 20


@dataclass(frozen=True, slots=True)
class Tested:
    """The test result of an image under one hypervisor; `cause` is why it is not `passed`, `version` is Xen's."""

    hypervisor: str
    verdict: layout.Verdict
    accelerator: str | None = None
    booted_at: str | None = None
    cause: str | None = None
    machine: str | None = None
    tester: Mapping[str, Any] | None = None
    version: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the hypervisor's entry in release.json."""
        entry: dict[str, Any] = {
            "verdict": self.verdict,
            "accelerator": self.accelerator,
            "booted_at": self.booted_at,
            "machine": self.machine,
            **({"version": self.version} if self.version else {}),
            "tester": dict(self.tester) if self.tester else None,
        }
        return entry if self.cause is None else {**entry, "cause": self.cause}


@dataclass(frozen=True, slots=True)
class Passed:
    """An image that passed the gate: as built, with its test results by hypervisor.

    `evidence` has the bytes of the sealed files of boot/ by name, `sbom` those of the bill of materials.
    """

    loaded: Loaded
    record: Manifest
    directory: Path
    tested: tuple[Tested, ...]
    evidence: Mapping[str, bytes] = field(default_factory=dict)
    sbom: bytes | None = None

    @property
    def untested(self) -> bool:
        """Whether a hypervisor's result was accepted only because of --allow-untested."""
        return any(one.verdict == "untested" for one in self.tested)


def examine(
    loaded: Loaded,
    directory: Path,
    *,
    allow_untested: bool = False,
    require_kvm: bool = False,
    now: datetime | None = None,
) -> Passed:
    """Return the publishable contents of a build directory; raise `ImageError` with the reason if it is refused.

    The caller holds the directory's lock. `allow_untested` accepts an image that was not booted or did not pass;
    one that was changed is always refused.
    """
    name = loaded.recipe.name
    written = _bytes(directory / manifest.NAME) or b""
    record = manifest.parse(written)
    if record is None:
        raise ImageError(f"{name} is not built", hint=f"inv build {_word(loaded)}")
    bill = _bytes(directory / layout.SBOM)
    for reason in (*_changed(loaded, record, directory), *_changed_bill(record, bill)):
        raise _refused(name, reason, f"inv build --force {_word(loaded)} && inv boot {_word(loaded)}")
    evidence: dict[str, bytes] = {}
    build = _Build(loaded, record, layout.sha256(written), directory)
    at = now or datetime.now(UTC)
    tested = [_tested(build, one, at, evidence) for one in loaded.recipe.hypervisors]
    for one in tested:
        if one.verdict == "untested" and not allow_untested:
            boot = f"inv boot {_word(loaded)} --hypervisor {one.hypervisor}"
            hint = f"{boot}; --allow-untested publishes it untested, and the release says so permanently"
            raise _refused(name, f"{one.hypervisor}: {one.cause}", hint)
        if require_kvm and one.hypervisor == "kvm" and one.accelerator != "kvm":
            how = f"it was booted under {one.accelerator}" if one.accelerator else "it was not booted"
            raise _refused(name, f"--require-kvm: {how}, not under KVM", f"inv boot {_word(loaded)} --require-kvm")
    return Passed(loaded, record, directory, tuple(tested), evidence, bill)


def _word(loaded: Loaded) -> str:
    """Return the name of the image on the command line, quoted for a shell."""
    return shlex.quote(loaded.called)


def _bytes(path: Path) -> bytes | None:
    try:
        return files.read_bytes(path, _MOST)
    except OSError:
        return None


def _refused(name: str, reason: str, hint: str) -> ImageError:
    return ImageError(f"{name} is not published: {reason}", hint=hint)


def _changed(loaded: Loaded, record: Manifest, directory: Path) -> Iterator[str]:
    """Yield the reasons why the directory is not, byte for byte, a build of the current recipe."""
    if record.name != loaded.recipe.name:
        yield f"the build belongs to {record.name}"
    if inputs.recipe_key(loaded.recipe, loaded.directory) != record.keys.get("recipe"):
        yield "the recipe changed since the build"
    yield from _changed_bytes(record, directory)
    yield from _changed_descriptions(loaded, record, directory)


def _changed_bytes(record: Manifest, directory: Path) -> Iterator[str]:
    if not record.files:
        yield "the build has no files"
    for file in record.files:
        path = directory / file.name
        try:
            plain = path.parent == directory and stat.S_ISREG(path.lstat().st_mode)
            if not plain:
                yield f"{file.name} is not a plain file of the build directory"
            elif checksum.sha256(path) != file.sha256:
                yield f"{file.name} changed since the build"
        except FileNotFoundError:
            yield f"{file.name} is missing"
        except OSError as error:
            yield f"{file.name} cannot be read: {error.strerror}"


def _changed_bill(record: Manifest, bill: bytes | None) -> Iterator[str]:
    """Yield the reason why the bill of materials is not the build's, whose checksum is among the manifest's facts."""
    wanted = record.facts.get("sbom_sha256")
    if wanted is None and bill is not None:
        yield f"{layout.SBOM} does not belong to this build"
    elif wanted is not None and bill is None:
        yield f"{layout.SBOM} is missing"
    elif bill is not None and layout.sha256(bill) != wanted:
        yield f"{layout.SBOM} changed since the build"


def _changed_descriptions(loaded: Loaded, record: Manifest, directory: Path) -> Iterator[str]:
    try:
        # Rendering also lints them, and raises the lint's errors.
        wanted = submission.descriptions(loaded, record.files, directory)
    except RoostError as error:
        yield f"its submit descriptions: {error.problem.what}"
        return
    for name, emitted in wanted.items():
        file = f"{name}.sub"
        try:
            if files.read_text(directory / file) != emitted.text:
                yield f"{file} is not the description of this image"
        except RoostError as error:
            yield f"{file}: {error.problem.what}"
        except FileNotFoundError:
            yield f"{file} is missing"
        except OSError as error:
            yield f"{file} cannot be read: {error.strerror or error}"
        except UnicodeDecodeError:
            yield f"{file} is not UTF-8"


@dataclass(frozen=True, slots=True)
class _Build:
    """A build: its record, and the sha256 of the manifest that it was read from."""

    loaded: Loaded
    record: Manifest
    written: str
    directory: Path


def _tested(build: _Build, hypervisor: Hypervisor, now: datetime, evidence: dict[str, bytes]) -> Tested:
    """Return the result in a hypervisor's verdict; raise `ImageError` if it was tampered with.

    The files that the verdict is based on are added to `evidence`.
    """
    loaded, record, directory = build.loaded, build.record, build.directory
    path = directory / "boot" / f"{hypervisor}.json"
    if not path.exists():
        return Tested(hypervisor, "untested", cause="it was not booted")
    name, again = loaded.recipe.name, f"inv boot {_word(loaded)}"
    sealed = attestation.opened(directory, hypervisor)
    if isinstance(sealed, str):
        raise _refused(name, sealed, again)
    try:
        if sealed.files[manifest.NAME] != build.written:
            raise _refused(name, f"{manifest.NAME} was changed after the boot", again)
        read = {one: files.read_bytes(directory / one, _MOST) for one in sealed.files if one.startswith("boot/")}
        for one, data in read.items():
            if layout.sha256(data) != sealed.files[one]:
                raise _refused(name, f"{one} was changed after the boot", again)
        evidence |= read
        verdict = jsontext.loads(read[f"boot/{hypervisor}.json"])
        for reason in _contradictions(loaded, record, hypervisor, verdict, now):
            raise _refused(name, reason, again)
        common: dict[str, Any] = {
            "accelerator": str(verdict["accelerator"]),
            "booted_at": str(verdict["finished"]),
            "machine": str(verdict["machine"]),
            "tester": sealed.tester,
            "version": shown(said, 40) if isinstance(said := verdict.get("hypervisor_version"), str) else None,
        }
        if verdict["passed"] is True:
            return Tested(hypervisor, "passed", **common)
        cause = f"the test boot failed: {verdict['cause']} ({verdict['phase']}){_detail(verdict)}"
        return Tested(hypervisor, "untested", cause=cause, **common)
    except (OSError, ValueError) as error:
        why = f"boot/{path.name} cannot be read: {getattr(error, 'strerror', None) or error}"
        raise _refused(name, why, again) from error
    except (KeyError, TypeError) as error:
        why = f"boot/{path.name} was not written by this version of roost"
        raise _refused(name, why, again) from error


def _detail(verdict: Mapping[str, Any]) -> str:
    detail = verdict.get("detail")
    return f": {shown(detail, 400)}" if isinstance(detail, str) and detail else ""


def _contradictions(
    loaded: Loaded, record: Manifest, hypervisor: Hypervisor, verdict: Mapping[str, Any], now: datetime
) -> Iterator[str]:
    """Yield the reasons why a verdict with a valid seal is not for this image: other bytes, or a contradiction."""
    file = f"boot/{hypervisor}.json"
    if verdict["hypervisor"] != hypervisor:
        yield f"{file} is for {verdict['hypervisor']}"
    built = record.sums
    machine = submission.machine(loaded, hypervisor, record, Path("/"))
    wanted = [disk.file for disk in machine.disks]
    if machine.kernel:
        wanted += [one for one in (machine.kernel.kernel, machine.kernel.initrd) if one]
    backing = {one.name: one.backing for one in record.files}
    for one in wanted:
        # A base that is read through an overlay was also booted.
        if (base := backing.get(one)) is not None and base not in wanted:
            wanted.append(base)
    seen = {one["name"]: one["sha256"] for one in [*verdict["disks"], *verdict["kernel"], *verdict.get("bases", ())]}
    yield from (f"{one} was not part of the boot" for one in wanted if one not in seen)
    yield from (f"{one} is not the file that was booted" for one in seen if built.get(one) != seen[one])
    test = verdict.get("test")
    if test is not None and test != inputs.boot_key(loaded.recipe, loaded.directory):
        yield "boot_test or an input of its job changed after the boot"
    if verdict["passed"] is True:
        unmet = [one["what"] for one in verdict["expectations"] if one["met"] is not True]
        dirty = [one["disk"] for one in verdict["filesystems"] if one["clean"] is False]
        if verdict["cause"] is not None or unmet or dirty:
            yield f"{file} contradicts itself: it says passed, but also {verdict['cause'] or [*unmet, *dirty][0]}"
        recipe, tries = loaded.recipe, hypervisor == "kvm"
        if len(verdict["expectations"]) < len(recipe.boot_test.expect):
            yield f"{file} is from a boot that did not try all that the recipe expects"
        # Under Xen neither is tested.
        if tries and recipe.boot_test.evict is True and verdict["eviction"]["obeyed"] is not True:
            yield f"{file} is from a boot that did not try eviction, and the recipe says that the image obeys"
        if (
            tries
            and recipe.submit.checkpoint
            and recipe.job is not None
            and verdict["checkpoint"]["restored"] is not True
        ):
            yield f"{file} is from a boot that did not try a checkpoint, and the recipe asks for them"
    finished = datetime.fromisoformat(str(verdict["finished"]))
    if finished > now + CLOCK:
        yield f"the boot ended at {verdict['finished']}, which is in the future: was the clock set back?"


def causes(tested: Sequence[Tested]) -> list[str]:
    """Return why the image is not `passed` under a hypervisor, one line each."""
    return [f"{one.hypervisor}: {one.verdict}{f', {one.cause}' if one.cause else ''}" for one in tested if one.cause]
