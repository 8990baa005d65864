"""The tasks that publish images and verify published ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roost.cli import terminal
from roost.cli.verb import finish, verb
from roost.errors import UsageError
from roost.recipe.words import counted

if TYPE_CHECKING:
    from roost.pipeline.publish import Published


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of `publish`."""

    to: str = ""
    version: str = ""
    public: str = ""
    key: str = ""
    allow_untested: bool = False
    require_kvm: bool = False
    take_over: bool = False


@verb(
    positional=("name",),
    help={
        "to": "the catalogue: a directory, s3://BUCKET/PREFIX, sftp://USER@HOST/PATH, or another of fsspec's URLs",
        "version": "its version; default: the archive's day and a digest of the content",
        "public": "the URL or path under which jobs find the catalogue, if that is not --to",
        "key": "the private Ed25519 key to sign with; default: $ROOST_SIGNING_KEY, else your own, made at first use",
        "allow-untested": "publish although no test boot passed; the release says so permanently",
        "require-kvm": "insist on a test boot under KVM",
        "take-over": "resume a publication that was killed on another host",
    },
)
def publish(_context: object, name: str, flags: Flags, json: bool = False) -> None:
    """Build and boot what is stale of the image NAME, then publish it, signed, if it passed."""
    from roost.pipeline import publish as publishing

    if not flags.to:
        raise UsageError("no catalogue to publish to", hint="inv publish NAME --to DIRECTORY, or a URL")
    options = publishing.Options(
        flags.version or None, flags.public or None, flags.allow_untested, flags.require_kvm, flags.take_over
    )
    key = Path(flags.key) if flags.key else None
    with terminal.events() as events:
        result = publishing.publish(name, to=flags.to, events=events, options=options, key=key)
    terminal.write_json(result.to_json()) if json else terminal.write_text(_published(result))


@verb(
    positional=("url",),
    help={"key": "the public key (.pub or allowed_signers) to trust instead of the one in the catalogue"},
)
def verify(_context: object, url: str, key: str = "", json: bool = False) -> None:
    """Verify a catalogue, an image of it or one version: sums, signatures, verdicts; says which file is wrong."""
    from roost.pipeline import publish as publishing

    with terminal.events() as events:
        result = publishing.verify(url, key=Path(key) if key else None, events=events)
    terminal.write_json(result) if json else terminal.write_text(_verified(result))
    finish(result["ok"])


def _published(result: Published) -> str:
    from roost.cli.show import indented, table
    from roost.recipe.quantities import format_size

    release = result.release
    state = "published" if result.new else "is published already: nothing to do"
    lines = [f"{release.name} {release.version} {state}: {result.url}/{release.directory}", ""]
    for hypervisor, record in release.raw["hypervisors"].items():
        how = f" ({record['accelerator']}, {record['booted_at']})" if record.get("accelerator") else ""
        cause = f": {record['cause']}" if record.get("cause") else ""
        lines.append(f"  {hypervisor}: {record['verdict']}{how}{cause}")
    rows = [["file", "role", "transfer", "the guest sees", "sha256"]]
    rows += [
        [file.path.removeprefix(f"{release.directory}/"), role, format_size(file.size), seen, file.sha256[:16]]
        for file in release.files
        for seen in [format_size(file.virtual) if file.role in {"disk", "base"} else ""]
        for role in ["shared base" if file.role == "base" else file.role]
    ]
    lines += ["", indented(table(rows)), ""]
    lines.append(f"  sent {format_size(result.sent)}, already there {format_size(result.kept)}")
    since = f"new to those who have {result.before}" if result.before else "to fetch (it is the first version)"
    lines.append(f"  {since}: {format_size(result.fetched)}")
    lines.append(f"  signed by {result.signed_by}")
    steps = [
        [f"inv verify {result.url}/{release.directory}", "sums, signature, verdict"],
        [f"inv submit {release.name} --from {result.url}", "the lines for condor_submit"],
    ]
    return "\n".join([*lines, "", "next:", indented(table(steps))])


def _verified(result: Mapping[str, Any]) -> str:
    from roost.publish.layout import KEYS
    from roost.recipe.quantities import format_size

    lines = []
    for image in result["images"]:
        mark = "ok" if image["ok"] else "WRONG"
        verdicts = ", ".join(f"{name} {one.get('verdict')}" for name, one in image["hypervisors"].items())
        signed = f"signed by {image['signed_by']}" if image["signed_by"] else "no trusted signature"
        size = f"{counted(image['files'], 'file')}, {format_size(image['bytes'])}"
        details = "; ".join(part for part in (size, verdicts, signed) if part)
        lines.append(f"{mark}: {image['name']} {image['version']} ({details})")
        lines += [f"  ! {note}" for note in image["notes"]]
    # A fault in a file of the whole catalogue is found with each image.
    lines += dict.fromkeys(f"WRONG: {problem['file']} {problem['what']}" for problem in result["problems"])
    if not result["images"]:
        lines.append(f"{result['url']} has no published versions")
    damaged = [one for one in result["images"] if any(problem["file"] != KEYS for problem in one["problems"])]
    if damaged:
        lines += ["", "to repair a version, remove its directory and publish it again:"]
        lines += [f"  {result['url']}/{one['name']}/{one['version']}" for one in damaged]
    lines.append("")
    lines.append("verification passed" if result["ok"] else "verification failed")
    return "\n".join(lines)
