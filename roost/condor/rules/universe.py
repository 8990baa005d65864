"""Rules about the kind of job: universe, executable, vm_type, and commands of other universes."""

from __future__ import annotations

from collections.abc import Iterator

from roost.condor.rules.model import Effect, Finding, Severity, Stage, check, rule, shown
from roost.condor.rules.view import JobView
from roost.condor.submit.expression import as_bool, parses
from roost.condor.submit.source_text import is_quoted

_E, _W = Severity.ERROR, Severity.WARNING
_SECTION = "docs/vm-universe.md, section 1"

UNIVERSE = rule(
    "universe", _E, Effect.REJECTED, hint="write universe = vm",
    source=f"{_SECTION}; condor_submit: I don't know about the '...' universe.",
)  # fmt: skip
EXECUTABLE = rule(
    "executable", _E, Effect.REJECTED, hint="give any word: it only labels the job and is never opened",
    source=f"{_SECTION}; condor_submit: No 'executable' parameter was provided",
)  # fmt: skip
EXE_COLLIDES = rule(
    "exe-collides", _E, Effect.WRONG_DATA, stage=Stage.OUTPUT,
    hint="give executable another name, such as the image's",
    source=f"{_SECTION}; condor_utils/file_transfer.cpp (FindChangedFiles skips the executable)",
)  # fmt: skip
STDIO = rule(
    "stdio", _E, Effect.REJECTED, hint="remove it, or write /dev/null: a virtual machine has no standard streams",
    source=f"{_SECTION}; condor_submit: You cannot use input, ouput, and error parameters",
)  # fmt: skip
TYPE = rule(
    "type", _E, Effect.IDLE, hint="write vm_type = kvm or vm_type = xen, without quotes",
    source=f"{_SECTION}: any other vm_type is accepted, vm_disk is dropped and the job idles for ever",
)  # fmt: skip
TYPE_VMWARE = rule(
    "type-vmware", _E, Effect.REJECTED, hint="convert the disk (qemu-img convert) and write vm_type = kvm",
    source=f"{_SECTION}; condor_submit: A vm_type of 'vmware' is no longer supported",
)  # fmt: skip
TYPE_ATTRIBUTE = rule(
    "type-attribute", _E, Effect.HELD, hint="write vm_type = kvm, not +JobVMType",
    source="docs/vm-universe.md, section 4, errors 6 and 9: vm_type is exactly kvm or xen",
)  # fmt: skip
BOOLEAN = rule(
    "bool", _E, Effect.REJECTED, hint="write true or false",
    source=f"{_SECTION}; condor_submit: is invalid, must eval to a boolean.",
)  # fmt: skip
INTEGER = rule(
    "integer", _E, Effect.REJECTED, hint="write a whole number",
    source="condor_submit: is invalid, must eval to an integer.",
)  # fmt: skip
CHOICE = rule(
    "notification", _E, Effect.REJECTED, hint="write never, always, complete, start or error",
    source="condor_submit: Notification must be 'Never', 'Always', 'Complete', 'Start', or 'Error'",
)  # fmt: skip
QUOTES = rule(
    "quotes", _E, Effect.REJECTED, hint="close the double quote", source="condor_submit: Unterminated double-quote."
)

#: Boolean commands, with the job attribute that condor_submit reads if the command is absent.
BOOLEANS = (
    ("vm_networking", "JobVMNetworking"), ("vm_vnc", "JobVMVNCConsole"), ("vm_checkpoint", "JobVMCheckpoint"),
    ("vm_no_output_vm",), ("hold",), ("nice_user",), ("run_as_owner",), ("load_profile",), ("log_xml",),
    ("preserve_relative_paths",), ("transfer_input",), ("transfer_output",), ("transfer_error",),
    ("stream_input",), ("stream_output",), ("stream_error",),
)  # fmt: skip
_INTEGERS = ("priority", "prio", "max_retries", "success_exit_code", "coresize", "core_size")
#: The universes other than vm, by name, with their numbers (HTCondor manual, condor_submit).
OTHERS = {
    "vanilla": 5,
    "scheduler": 7,
    "grid": 9,
    "java": 10,
    "parallel": 11,
    "local": 12,
    "docker": 5,
    "container": 5,
}
_VM_ONLY = 13


@check
def universe(view: JobView) -> Iterator[Finding]:
    """Apply the rule about the universe."""
    command = view.get("universe", "JobUniverse")
    if command is None:
        if not view.description.incomplete:
            other = UNIVERSE.but(_E, Effect.HELD, Stage.INPUT)
            yield other.at(
                view.place_of("universe"), "without universe = vm this is an ordinary job that runs executable"
            )
    elif not view.is_vm:
        known = command.text.lower() in OTHERS or command.text in {"5", "7", "12"}
        if known:
            other = UNIVERSE.but(_E, Effect.HELD, Stage.INPUT)
            present = [name for name in ("vm_type", "vm_disk") if view.get(name) is not None]
            ignores = f"ignores {' and '.join(present)}" if present else "runs executable, and no disk image"
            yield other.at(command.where, f"universe {shown(command.text)} {ignores}")
        else:
            yield UNIVERSE.at(command.where, f"condor_submit does not know the universe {shown(command.text)}")


@check
def executable(view: JobView) -> Iterator[Finding]:
    """Apply the rules about the job's label."""
    command = view.get("executable", "Cmd")
    if command is None:
        if not view.description.incomplete:
            yield EXECUTABLE.at(view.place_of("executable"), "there is no executable")
        return
    base = command.text.rpartition("/")[2]
    names = {item.fields[0].text.rpartition("/")[2] for item in view.disks} | {item.name for item in view.transfers}
    if view.is_vm and not command.unknown and base in names:
        yield EXE_COLLIDES.at(
            command.where, f"executable has the name of the file {shown(base)}, which therefore never comes back"
        )


@check
def streams(view: JobView) -> Iterator[Finding]:
    """Apply the rule that a vm job has no standard streams."""
    if not view.is_vm:
        return
    for names in (("input", "stdin"), ("output", "stdout"), ("error", "stderr")):
        command = view.get(*names)
        if command and not command.unknown and command.text != "/dev/null":
            yield STDIO.at(command.where, f"{command.name} = {shown(command.text)} is not allowed in the vm universe")


@check
def vm_type(view: JobView) -> Iterator[Finding]:
    """Apply the rules about vm_type."""
    if not view.is_vm:
        return
    command = view.get("vm_type", "JobVMType")
    if command is None:
        if view.get("MY.JobVMType"):
            yield TYPE_ATTRIBUTE.at(view.place_of("MY.JobVMType"), "+JobVMType sets no vm_type, so vm_disk is dropped")
        elif not view.description.incomplete:
            yield TYPE.at(view.place_of("vm_type"), "there is no vm_type, so vm_disk is dropped and no machine matches")
    elif not command.unknown and view.hypervisor is None:
        if command.text.lower() == "vmware":
            yield TYPE_VMWARE.at(command.where, "VMware is no longer supported")
        else:
            yield TYPE.at(command.where, f"vm_type = {shown(command.text)} is accepted, but no machine ever matches it")


@check
def literals(view: JobView) -> Iterator[Finding]:
    """Apply the rules about booleans, numbers and quotes."""
    for names in BOOLEANS:
        command = view.get(*names) if view.is_vm or not names[0].startswith("vm_") else None
        if command and not command.unknown and as_bool(command.text) is None:
            yield BOOLEAN.at(command.where, f"{command.name} = {shown(command.text)} is not a boolean")
    for name in _INTEGERS:
        command = view.get(name)
        if command and not command.unknown and (parses(command.text) is not None or as_bool(command.text) is None):
            yield INTEGER.at(command.where, f"{command.name} = {shown(command.text)} is not a whole number")
    command = view.get("notification")
    if (
        command
        and not command.unknown
        and command.text.lower() not in {"never", "always", "complete", "start", "error"}
    ):
        yield CHOICE.at(command.where, f"notification = {shown(command.text)} is not a choice")
    command = view.get("transfer_output_remaps", "TransferOutputRemaps")
    if view.is_vm and command and not command.unknown and not is_quoted(command.text):
        what = "transfer_output_remaps is not in double quotes: HTCondor before 24.0.5 and 24.5 refuses that"
        yield QUOTES.but(_W, Effect.OK).at(command.where, what, 'write transfer_output_remaps = "NAME = new"')
    for name in ("arguments", "environment"):
        command = view.get(name)
        if command and command.text.startswith('"') and (len(command.text) == 1 or not command.text.endswith('"')):
            yield QUOTES.at(command.where, f"the double quote that begins {name} is not closed")
