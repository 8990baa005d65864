"""Rules about file transfer: inputs, outputs, URLs, disk space (docs/vm-universe.md, sections 1 and 3)."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from roost.condor.rules.model import Effect, Finding, Severity, Stage, check, rule, shown
from roost.condor.rules.view import JobView, Transfer
from roost.condor.submit.source_text import is_quoted

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_OK = Effect.OK
_SECTION = "docs/vm-universe.md, section 3"

TIF_MISSING = rule(
    "tif-missing", _E, Effect.HELD, hint="add the file to transfer_input_files, or name it by its absolute path",
    source="docs/vm-universe.md, section 4, errors 7 and 10: relative and not in the sandbox",
)  # fmt: skip
PATH_BASENAME = rule(
    "path-basename", _E, Effect.WRONG_DATA, hint="write only the file's name in vm_disk: the sandbox is flat",
    source=f"{_SECTION}; section 2: the basename where HTCondor transfers the file",
)  # fmt: skip
PATH_SHARED = rule(
    "path-shared", _N, _OK, hint="every machine must see the path; give each job its own copy",
    source=f"{_SECTION}: a disk on a shared file system changes in place",
)  # fmt: skip
TIF_COMMA = rule(
    "tif-comma", _E, Effect.HELD, stage=Stage.INPUT, hint="write the comma of the URL as %2C",
    source=f"{_SECTION}: a comma separates files, also inside a URL; a missing local input holds with code 13",
)  # fmt: skip
TIF_BLANK = rule(
    "tif-blank", _E, Effect.HELD, stage=Stage.INPUT, hint="put a comma between the files",
    source=f"{_SECTION}: comma between; a missing local input holds with code 13",
)  # fmt: skip
TIF_QUOTED = rule(
    "tif-quoted", _N, _OK, hint="remove the quotes",
    source=f"{_SECTION}: never quoted; HTCondor 23.10 and 24.0 keep the quotes",
)  # fmt: skip
TIF_QUOTE = rule(
    "tif-quote", _E, Effect.HELD, stage=Stage.INPUT, hint="remove the quotes",
    source=f"{_SECTION}: never quoted; a missing local input holds with code 13",
)  # fmt: skip
TIF_COLLIDES = rule(
    "tif-collides", _E, Effect.WRONG_DATA, hint="rename one of the files",
    source=f"{_SECTION}: the sandbox is flat, equal basenames overwrite each other",
)  # fmt: skip
TIF_S3_KEYS = rule(
    "tif-s3-keys", _E, Effect.REJECTED,
    hint="give s3_access_key_id_file and s3_secret_access_key_file (gs_... for gs://)",
    source="condor_submit: [s3|gs]:// URLS require [s3|aws|gs]_secret_access_key_file to be set.",
)  # fmt: skip
TIF_SCHEME = rule(
    "tif-scheme", _W, _OK, hint="condor_status -af HasFileTransferPluginMethods says what the pool's machines fetch",
    source="docs/vm-universe.md, section 1: submit adds a requirement per URL scheme",
)  # fmt: skip
REQUEST_DISK_URL = rule(
    "request-disk-url", _W, _OK, hint="give request_disk from the disks' virtual sizes",
    source="docs/vm-universe.md, section 1: request_disk defaults to DiskUsage, in which a URL counts 0",
)  # fmt: skip
STF_IGNORED = rule(
    "stf-ignored", _W, _OK, hint="write should_transfer_files = YES, which is what happens",
    source="docs/vm-universe.md, section 1: should_transfer_files is forced to YES",
)  # fmt: skip
WTTO_IGNORED = rule(
    "wtto-ignored", _W, _OK, hint="write ON_EXIT, or ON_EXIT_OR_EVICT with vm_checkpoint",
    source="docs/vm-universe.md, section 1: when_to_transfer_output is forced",
)  # fmt: skip
NO_OUTPUT_CONFLICT = rule(
    "no-output-conflict", _E, Effect.HELD, stage=Stage.OUTPUT, hint="remove one of the two",
    source=f"{_SECTION}: vm_no_output_vm empties the sandbox first, then the output is missing (code 12)",
)  # fmt: skip
NO_OUTPUT = rule(
    "no-output", _N, _OK, hint="results must leave the guest by the network or on a shared file system",
    source=f'{_SECTION}: vm_no_output_vm, and transfer_output_files = "", return nothing',
)  # fmt: skip
TOF_MISSING = rule(
    "tof-missing", _E, Effect.HELD, stage=Stage.OUTPUT,
    hint="name a file of transfer_input_files: the guest makes no other in the sandbox",
    source=f"{_SECTION}: a failed output holds with code 12",
)  # fmt: skip
TOF_OVERWRITES = rule(
    "tof-overwrites", _N, _OK, hint='add transfer_output_remaps = "NAME = out-$(Cluster).$(Process).raw"',
    source="docs/condor-pool.md: without a remap the returned disk overwrites the submitted one",
)  # fmt: skip
TOF_MADE = rule(
    "tof-made", _N, _OK, hint="the job is held (code 12) when the file is not there at its end",
    source="HTCondor manual, Virtual Machine Applications: +PreCmd, +PostCmd; prepare hooks: they run in the sandbox",
)  # fmt: skip
TIF_MADE = rule(
    "tif-made", _N, _OK, hint="the job is held (code 6) when the file is not there as the machine starts",
    source="HTCondor manual, Virtual Machine Applications: +PreCmd; prepare hooks: they run in the sandbox",
)  # fmt: skip
REMAP_SYNTAX = rule(
    "remap-syntax", _W, _OK, hint='write transfer_output_remaps = "name = new; name = new"',
    source="HTCondor manual, condor_submit, transfer_output_remaps",
)  # fmt: skip
REMAP_UNUSED = rule(
    "remap-unused", _W, _OK, hint="remap the name that the file has in the sandbox",
    source="HTCondor manual, condor_submit, transfer_output_remaps",
)  # fmt: skip
REMAP_COLLIDES = rule(
    "remap-collides", _E, Effect.WRONG_DATA, stage=Stage.OUTPUT, hint="put $(Cluster).$(Process) into the new name",
    source="HTCondor manual, condor_submit, transfer_output_remaps: each job writes the file again",
)  # fmt: skip
OUTPUT_COLLIDES = rule(
    "output-collides", _E, Effect.WRONG_DATA, stage=Stage.OUTPUT,
    hint='name what should come back: transfer_output_files = NAME, '
    'transfer_output_remaps = "NAME = out-$(Cluster).$(Process).raw"',
    source="docs/vm-universe.md, section 3: writable disks always come back; without a remap over the submitted one",
)  # fmt: skip
SHARED_WRITTEN = rule(
    "shared-written", _W, _OK, hint="give each job its own copy, or transfer the disk",
    source=f"{_SECTION}: a disk on a shared file system changes in place",
)  # fmt: skip

_SCHEMES = {
    "http",
    "https",
    "ftp",
    "file",
    "osdf",
    "stash",
    "pelican",
    "s3",
    "gs",
    "box",
    "gdrive",
    "onedrive",
    "dav",
    "davs",
}


@check
def inputs(view: JobView) -> Iterator[Finding]:
    """Apply the rules about transfer_input_files."""
    command = view.get("transfer_input_files", "TransferInput")
    yield from _keys(view)
    if not view.is_vm or command is None or command.unknown:
        return
    if is_quoted(command.text):
        yield TIF_QUOTED.at(command.where, "transfer_input_files is in quotes, which older HTCondor keeps")
    disks = {item.fields[0].text for item in view.disks}
    seen: dict[str, Transfer] = {}
    previous: Transfer | None = None
    for item in view.transfers:
        if previous and previous.is_url and "?" in previous.text and not item.is_url and "/" not in item.text:
            if item.name not in disks and "." not in item.name:
                yield TIF_COMMA.at(item.where, f"the comma in the URL makes {shown(item.text)} a file of its own")
        elif len(item.text.split()) > 1 and item.text not in disks and item.name not in disks and not item.is_url:
            yield TIF_BLANK.at(item.where, f"{shown(item.text)} is one file name, with a blank in it")
        elif any(quote in item.text for quote in "'\"") and item.text not in disks:
            yield TIF_QUOTE.at(item.where, f"the quotes in {shown(item.text)} are part of the file name")
        if not item.is_contents and item.name in seen and seen[item.name].text != item.text:
            yield TIF_COLLIDES.at(item.where, f"{shown(item.text)} overwrites {shown(seen[item.name].text)}")
        seen[item.name] = previous = item
    yield from _urls(view)


def _keys(view: JobView) -> Iterator[Finding]:
    for item in view.transfers:
        if _plugin(item) in ("s3", "gs") and not _has_keys(view):
            yield TIF_S3_KEYS.at(item.where, f"{shown(item.text)} needs files with its access keys")


def _plugin(item: Transfer) -> str:
    return item.scheme.rpartition("+")[2]


def _urls(view: JobView) -> Iterator[Finding]:
    for item in view.transfers:
        if item.is_url and _plugin(item) not in _SCHEMES:
            yield TIF_SCHEME.at(item.where, f"few machines fetch {shown(item.scheme + '://')}")
    first = next((item for item in view.transfers if item.is_url), None)
    if first and not view.get("request_disk", "RequestDisk"):
        yield REQUEST_DISK_URL.at(first.where, f"{shown(first.text)} does not count towards the disk that the job gets")


def _has_keys(view: JobView) -> bool:
    return all(
        any(view.get(f"{vendor}_{key}") for vendor in ("s3", "aws", "gs", "ec2"))
        for key in ("access_key_id_file", "secret_access_key_file")
    )


@check
def disk_places(view: JobView) -> Iterator[Finding]:
    """Apply the rules about the location of each disk: in the sandbox, or shared."""
    command = view.get("vm_disk")
    if command is None or command.unknown:
        return
    for item in view.usable_disks:
        path, where = item.fields[0].text, view.disk_place(item.fields[0].start)
        directory = path.rpartition("/")[0]
        if view.transferred(path) and "://" not in path:
            if path.startswith("/"):
                yield PATH_BASENAME.at(where, f"libvirt opens {shown(path)}, not the transferred copy")
            elif directory.strip("./") and not view.makes_inputs and not view.boolean("preserve_relative_paths"):
                lost = PATH_BASENAME.but(_E, Effect.HASVM_FALSE)
                yield lost.at(where, f"the sandbox has no directory {shown(directory)}")
        elif path.startswith("/"):
            yield PATH_SHARED.at(where, f"{shown(path)} is used in place: the job changes it, and nothing comes back")
        elif view.transfers_known:
            yield TIF_MISSING.at(where, f"{shown(path)} is not in transfer_input_files")
        elif view.makes_inputs:
            yield TIF_MADE.at(where, f"{shown(path)} is not transferred: {view.makes_inputs} has to make it")


@check
def forced(view: JobView) -> Iterator[Finding]:
    """Apply the rules about commands that the vm universe overrides."""
    if not view.is_vm:
        return
    command = view.get("should_transfer_files", "ShouldTransferFiles")
    if command and not command.unknown and command.text.upper() not in ("YES", "TRUE", "ALWAYS"):
        yield STF_IGNORED.at(command.where, f"should_transfer_files = {shown(command.text)} is overridden to YES")
    command = view.get("when_to_transfer_output", "WhenToTransferOutput")
    if command and not command.unknown:
        actual = "ON_EXIT_OR_EVICT" if view.boolean("vm_checkpoint", "JobVMCheckpoint") else "ON_EXIT"
        if command.text.upper() != actual:
            yield WTTO_IGNORED.at(
                command.where, f"when_to_transfer_output = {shown(command.text)} is overridden to {actual}"
            )


@check
def outputs(view: JobView) -> Iterator[Finding]:
    """Apply the rules about returned files."""
    command = view.get("transfer_output_files", "TransferOutput")
    nothing = view.boolean("vm_no_output_vm")
    if not view.is_vm:
        return
    if nothing and not view.outputs:
        yield NO_OUTPUT.at(view.place_of("vm_no_output_vm"), "no file comes back")
    if command is None or command.unknown:
        return
    if nothing and view.outputs:
        yield NO_OUTPUT_CONFLICT.at(command.where, "vm_no_output_vm deletes the files that transfer_output_files names")
    elif not view.outputs:
        yield NO_OUTPUT.at(command.where, "no file comes back")
    remapped = remaps_of(view)
    for item in view.outputs:
        path = item.text[2:] if item.text.startswith("./") else item.text
        if not nothing and view.makes_outputs and not view.transferred(path):
            yield TOF_MADE.at(item.where, f"{shown(item.text)} is not transferred: {view.makes_outputs} has to make it")
        elif not nothing and path.startswith("/"):
            elsewhere = TOF_MISSING.but(_W, _OK)
            yield elsewhere.at(item.where, f"{shown(path)} is looked for under that path of the execution point")
        elif not nothing and view.transfers_known and not _in_sandbox(view, path):
            yield TOF_MISSING.at(item.where, f"{shown(item.text)} will not be in the sandbox")
        elif not nothing and item.name not in remapped and not view.get("output_destination"):
            yield TOF_OVERWRITES.at(item.where, f"the returned {shown(item.name)} overwrites the submitted one")
    if not nothing and not view.get("output_destination"):
        yield from _over_submitted(view)


def _in_sandbox(view: JobView, path: str) -> bool:
    """Return whether a file of this path exists at the end; the sandbox has the transferred directories."""
    first, slash, _ = path.partition("/")
    return view.transferred(path) and not path.endswith("/") if not slash else first in view.sandbox


def _over_submitted(view: JobView) -> Iterator[Finding]:
    """Yield a finding for each name in transfer_output_remaps that is the name of a submitted file."""
    command = view.get("transfer_output_remaps", "TransferOutputRemaps")
    if command is None or command.unknown:
        return
    submitted = {posixpath.normpath(item.text) for item in view.transfers if not item.is_url and not item.is_contents}
    returned = {name for item in view.outputs for name in (item.name, item.text)}
    for name, new in remaps_of(view).items():
        path = new + name if new.endswith("/") else new
        if name in returned and new and "://" not in new and posixpath.normpath(path) in submitted:
            yield TOF_OVERWRITES.at(command.where, f"the returned {shown(name)} overwrites the submitted {shown(path)}")


def remaps_of(view: JobView) -> dict[str, str]:
    """Return transfer_output_remaps as a mapping: the name in the sandbox → the name it is returned under."""
    command = view.get("transfer_output_remaps", "TransferOutputRemaps")
    if command is None:
        return {}
    text = command.text[1:-1] if is_quoted(command.text) else command.text
    pairs = [part.partition("=") for part in text.split(";") if part.strip()]
    return {name.strip(): new.strip() for name, _, new in pairs}


@check
def remaps(view: JobView) -> Iterator[Finding]:
    """Apply the rules about transfer_output_remaps."""
    command = view.get("transfer_output_remaps", "TransferOutputRemaps")
    if not view.is_vm or command is None or command.unknown:
        return
    for name, new in remaps_of(view).items():
        if not name or not new:
            yield REMAP_SYNTAX.at(command.where, f"{shown(command.text)} has a part that is not `name = new`")
        elif view.get("transfer_output_files") and not any(name in (item.text, item.name) for item in view.outputs):
            yield REMAP_UNUSED.at(command.where, f"{shown(name)} is not in transfer_output_files")
