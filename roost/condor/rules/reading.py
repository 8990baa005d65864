"""Rules of the submit language itself: what condor_submit cannot read, and what it alone can read."""

from __future__ import annotations

import re
from collections.abc import Iterator

from roost.condor.rules.model import Effect, Finding, Rule, Severity, check, rule, shown
from roost.condor.rules.view import JobView
from roost.condor.submit import commands
from roost.condor.submit.expression import parses
from roost.condor.submit.macros import Assignment
from roost.condor.submit.queue import row_values, separators
from roost.condor.submit.source_text import BLANKS
from roost.errors import Location
from roost.recipe.words import counted, near

_LANGUAGE = "HTCondor manual, Submitting Jobs, Submit File Syntax; condor_utils/config.cpp (Parse_macros)"
_QUEUE = "HTCondor manual, condor_submit, queue; condor_utils/submit_utils.cpp (parse_queue_args)"
_ITEMS = "condor_utils/submit_utils.cpp (load_external_q_foreach_items): each line of the file is an item"
_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_REJECTED, _OK = Effect.REJECTED, Effect.OK

#: The remarks of the reader: rule and message.
REMARKS: dict[str, tuple[Rule, str]] = {
    code: (rule(code, severity, effect, hint=hint, source=source), words)
    for code, severity, effect, words, hint, source in (
        ("syntax", _E, _REJECTED, "{} is neither an assignment nor a queue statement",
         "write `command = value`; a comment needs a line of its own", _LANGUAGE),
        ("identifier", _E, _REJECTED, "{} is not a name for a command",
         "a name has letters, digits, _ . and /; a job attribute is written +Name = value", _LANGUAGE),
        ("append-operator", _W, _OK, "{} is only known to HTCondor 25 and later",
         "write the whole value with =, or with $(name)", _LANGUAGE),
        ("heredoc-open", _E, _REJECTED, "the value that @= begins is never closed by a line {}",
         "close it with a line that has only @ and the tag", _LANGUAGE),
        ("if-open", _E, _REJECTED, "{}", "add the missing endif", _LANGUAGE),
        ("if-condition", _E, _REJECTED, "{}",
         "a condition is a boolean, a number, `defined NAME` or `version >= X.Y.Z`, with or without !", _LANGUAGE),
        ("error-statement", _E, _REJECTED, "the description stops itself: {}", "do what it asks for", _LANGUAGE),
        ("warning-statement", _N, _OK, "the description warns: {}", "see the line", _LANGUAGE),
        ("include-missing", _W, _OK, "the included file {} is not here, so part of the description is unknown",
         "lint it where its includes are; condor_submit refuses it without", _LANGUAGE),
        ("include-command", _N, _OK, "the output of {} is included; lint does not run it",
         "lint what the command prints as well", _LANGUAGE),
        ("include-depth", _E, _REJECTED, "includes nest too deep at {}", "does the file include itself?", _LANGUAGE),
        ("use-template", _W, _OK, "{} depends on the templates that the access point has",
         "condor_submit refuses a template that its configuration does not define", _LANGUAGE),
        ("macro-loop", _E, _REJECTED, "{} refers to itself, or grows without end; condor_submit hangs or dies on it",
         "break the circle", _LANGUAGE),
        ("nul-byte", _E, _REJECTED, "the file has {}: it is not a text",
         "give a submit description, not an image", _LANGUAGE),
        ("too-long", _W, _OK, "the description is very long: {}", "is this the right file?", _LANGUAGE),
        ("queue", _E, _REJECTED, "{}", "write `queue`, `queue N` or `queue VARIABLES from FILE`", _QUEUE),
        ("queue-comment", _W, _OK, "{} is a job of its own: in a file of items # does not begin a comment",
         "remove the line, or write the items into the description, where such lines are comments", _ITEMS),
        ("queue-blank", _W, _OK, "the blank line is a job of its own{}, with empty values", "remove the line", _ITEMS),
        ("queue-command", _N, _OK, "the jobs come from the output of {}; lint does not run it",
         "lint knows nothing of their values", _QUEUE),
        ("queue-items", _W, _OK, "the list of jobs {} is not here, so their values are unknown",
         "lint it where the list is; condor_submit refuses it without", _QUEUE),
    )
}  # fmt: skip

EXPRESSION = rule(
    "expression", _E, _REJECTED, hint="strings need double quotes; every parenthesis needs its partner",
    source="HTCondor manual, ClassAds; condor_submit: Parse error in expression",
)  # fmt: skip
MACRO_UNDEFINED = rule(
    "macro-undefined", _W, _OK, hint="define it, or give a default: $(NAME:default)", source=_LANGUAGE
)
MACRO_ABORTS = rule(
    "macro-aborts", _E, _REJECTED, hint="the argument must be a number, and that of $CHOICE one of the list",
    source="HTCondor manual, Submit File Syntax, functions; condor_utils/config.cpp: it exits where it cannot evaluate",
)  # fmt: skip
UNKNOWN_COMMAND = rule(
    "unknown-command", _W, _OK,
    hint="correct it; condor_submit takes any name as a macro, warns that the line was unused, and submits the job",
    source="HTCondor manual, condor_submit, commands; condor_utils/submit_utils.cpp (warn_unused)",
)  # fmt: skip
UNUSED_NAME = rule(
    "unused-name", _N, _OK,
    hint="remove it, or use it as $(NAME); for an attribute of the job write +NAME. condor_submit warns of it as well",
    source="condor_utils/submit_utils.cpp (warn_unused): the line was unused by condor_submit. Is it a typo?",
)  # fmt: skip
OBSOLETE = rule(
    "obsolete-command", _W, _OK, hint="remove it; HTCondor no longer reads it",
    source="docs/vm-universe.md, section 1: commands of Condor 7 that condor_submit no longer reads",
)  # fmt: skip
NO_QUEUE = rule(
    "queue-missing", _E, _REJECTED, hint="end the description with `queue`",
    source="condor_submit: doesn't contain any \"queue\" commands -- no jobs queued",
)  # fmt: skip
QUEUE_UNMATCHED = rule(
    "queue-unmatched", _W, _OK, hint="make the files first, or lint the description where they are", source=_QUEUE
)
QUEUE_SPLIT = rule(
    "queue-split", _E, Effect.WRONG_DATA,
    hint="put the variable that has blanks or commas last, or in a list of its own: only the last takes the rest",
    source=f"{_QUEUE}; condor_submit.V6/submit.cpp (set_vars): blanks and commas both separate",
)  # fmt: skip
QUEUE_SHORT = rule(
    "queue-short", _W, _OK, hint="give every variable a value; an empty one needs its comma",
    source="condor_submit.V6/submit.cpp (set_vars): a variable without a value keeps what it had, or has none",
)  # fmt: skip
QUEUE_NOTHING = rule("queue-nothing", _W, _OK, hint="give a count of at least 1, or items", source=_QUEUE)
QUEUE_SEVERAL = rule(
    "queue-several", _W, _OK, hint="list all jobs in one statement: queue VARIABLES from ( ... )",
    source="HTCondor version history: condor_submit warns since 23.0.10 and 23.7.2; condor_submit.V6/submit.cpp:"
    " refused where the access point sets SUBMIT_PREVENT_MULTI_QUEUE",
)  # fmt: skip
JUDGE = rule(
    "condor-submit", _E, _REJECTED, hint="condor_submit's own message says what it wants",
    source="condor_submit's own parser",
)  # fmt: skip
JUDGE_ABSENT = rule(
    "judge", _N, _OK, hint="`inv doctor` says what is missing", source="condor_submit's own parser was not asked"
)

#: Commands whose values are ClassAd expressions that condor_submit parses.
_EXPRESSIONS = (
    "requirements", "rank", "periodic_hold", "periodic_release", "periodic_remove", "periodic_vacate", "on_exit_hold",
    "on_exit_remove", "leave_in_queue", "job_max_vacate_time", "want_graceful_removal", "request_cpus", "request_gpus",
    "request_memory", "request_disk", "job_lease_duration", "periodic_hold_reason", "periodic_hold_subcode",
    "on_exit_hold_reason", "on_exit_hold_subcode", "next_job_start_delay", "keep_claim_idle", "max_job_retirement_time",
)  # fmt: skip
_RESOURCES = ("request_cpus", "request_memory", "request_disk", "request_gpus")
#: Not resources of a pool: condor_submit ignores them with a warning (submit_utils.cpp, SetRequestCpus).
_IGNORED = ("request_cpu", "request_gpu")
#: Commands of Condor 7 (condor_submit.V6/submit.cpp) that later versions ignore, and their replacements.
_GONE = {
    "kvm_disk": "vm_disk", "xen_disk": "vm_disk", "vm_should_transfer_files": "should_transfer_files",
    "vmware_dir": "", "vmware_should_transfer_files": "", "vmware_snapshot_disk": "", "vm_hardware_vt": "",
    "xen_transfer_files": "transfer_input_files", "kvm_transfer_files": "transfer_input_files",
}  # fmt: skip
#: Commands that made a CD from files for the guest; they have no replacement, so a disk takes its place.
_CD = (
    "vm_cdrom_files", "vm_should_transfer_cdrom_files", "kvm_cdrom_device", "xen_cdrom_device", "kvm_cdrom_files",
    "xen_cdrom_files",
)  # fmt: skip
_DISK_INSTEAD = (
    "put the files on an image and give it as a disk: cd.img:vdc:r:raw in vm_disk, cd.img in transfer_input_files"
)
_SIZE = re.compile(r"\d+(\.\d+)?\s*[KMGTkmgt]?[Bb]?")


@check
def expressions(view: JobView) -> Iterator[Finding]:
    """Apply the rule that expressions must parse."""
    commands = [view.get(name) for name in _EXPRESSIONS]
    commands += [view.get(name) for name in view.job.table if name.startswith("my.")]
    for command in commands:
        if command is None or command.value.unknown:
            continue
        if command.name in ("request_memory", "request_disk") and _SIZE.fullmatch(command.text):
            continue
        offset = parses(command.text)
        if offset is not None:
            name = "+" + command.name[3:] if command.name.startswith("my.") else command.name
            where = command.value.at(min(offset, len(command.text) - 1))
            yield EXPRESSION.at(where, f"{name} = {shown(command.text)} is not a ClassAd expression")


@check
def names(view: JobView) -> Iterator[Finding]:
    """Apply the rules about misspelt and obsolete commands."""
    for key, entry in view.job.table.items():
        if key in _GONE and entry.value.text:
            instead = f"; use {_GONE[key]}" if _GONE[key] else ""
            yield OBSOLETE.at(entry.where, f"{entry.name} is no longer read{instead}")
        elif key in _CD and entry.value.text:
            what = f"{entry.name} is no longer read: the guest gets no CD"
            yield OBSOLETE.at(entry.where, what, hint=_DISK_INSTEAD)
        elif key.startswith("request_") and key not in commands.COMMANDS:
            yield from _resource(view, key, entry)
        else:
            yield from _unread(view, key, entry.name, entry.where)
    queue = view.job.queue
    if queue is None:
        return
    for name in queue.variables:
        if name.lower() not in view.job.table:
            yield from _unread(view, name.lower(), name, queue.line.at())


def _unread(view: JobView, key: str, name: str, where: Location) -> Iterator[Finding]:
    """Yield a finding for a name that neither condor_submit nor the description uses."""
    if commands.is_read(key) or key in view.description.used:
        return
    meant = near(key, commands.COMMANDS, 0.8 if len(key) > 5 else 0.75)
    if meant is not None:
        yield UNKNOWN_COMMAND.at(where, f"{name} is not a command; did you mean {meant}?")
    elif not view.description.incomplete:
        yield UNUSED_NAME.at(where, f"{name} is not a command, and nothing in the description uses it")


def _resource(view: JobView, key: str, entry: Assignment) -> Iterator[Finding]:
    """Yield a finding for a request for a resource that only some pools define, which may be a typo."""
    command = view.get(key)
    if command is None or key in view.description.used:
        return
    meant = near(key, _RESOURCES, 0.85)
    refused = key not in _IGNORED and not command.unknown and parses(command.text) is not None
    if meant is not None and refused:
        what = f"{entry.name} = {shown(command.text)} is refused; did you mean {meant}?"
        yield UNKNOWN_COMMAND.but(_E, _REJECTED).at(entry.where, what, f"write {meant}")
    elif key in _IGNORED:
        yield UNKNOWN_COMMAND.at(entry.where, f"{entry.name} is not a command; did you mean {meant}?")
    elif meant is not None:
        yield UNKNOWN_COMMAND.at(
            entry.where,
            f"{entry.name} is a resource of your own; did you mean {meant}?",
            f"write {meant}, unless the pool has such a resource: elsewhere the job is idle for ever",
        )
    elif refused:
        yield EXPRESSION.at(command.where, f"{entry.name} = {shown(command.text)} is not a ClassAd expression")


@check
def rows(view: JobView) -> Iterator[Finding]:
    """Apply the rules about rows that condor_submit splits differently than intended."""
    queue, row = view.job.queue, view.job.row
    if queue is None or row is None or queue.keyword != "from" or len(queue.variables) < 2 or "\x1f" in row.text:
        return
    found = separators(queue, row)
    if len(found) < len(queue.variables) - 1:
        what = f"{shown(row.text)} has {counted(len(found) + 1, 'value')} for {len(queue.variables)} variables"
        yield QUEUE_SHORT.at(row.at(), what)
        return
    meant = [part.strip(BLANKS) for part in row.text.split(",")]
    if len(meant) != len(queue.variables):
        return
    read = [value.text for value in row_values(queue, row).values()]
    wrong = next((index for index, pair in enumerate(zip(meant, read, strict=False)) if pair[0] != pair[1]), None)
    if wrong is None:
        return
    name = queue.variables[wrong]
    what = f"a blank separates as a comma does: {name} is {shown(read[wrong])}, not {shown(meant[wrong])}"
    if any("," in match.group() for match in found):
        yield QUEUE_SPLIT.at(row.at(), what)
    else:
        # `one.raw a, b` can also mean a list as the last value, with blanks as the separators before it.
        yield QUEUE_SPLIT.but(_W, _OK).at(row.at(), f"{what}, unless the blanks are meant to separate")


@check
def several_queues(view: JobView) -> Iterator[Finding]:
    """Apply the rule that a description has one queue statement."""
    queues = view.description.queues
    for number, queue in enumerate(queues[1:4], 2):
        what = f"queue statement {number} of {len(queues)}: deprecated since HTCondor 24, refused under"
        yield QUEUE_SEVERAL.at(queue.line.at(), f"{what} SUBMIT_PREVENT_MULTI_QUEUE")


@check
def queued(view: JobView) -> Iterator[Finding]:
    """Apply the rules about jobs that are never queued."""
    if view.job.queue is None:
        if not view.description.incomplete and not view.description.inline:
            yield NO_QUEUE.at(view.description.end, "there is no queue statement, so condor_submit queues no job")
    elif view.job.queue.keyword == "matching" and view.job.count == 0:
        patterns = " ".join(item.text for item in view.job.queue.items)
        yield QUEUE_UNMATCHED.at(
            view.job.queue.line.at(), f"nothing here matches {shown(patterns)}, so no job would be queued"
        )
    elif view.job.count == 0:
        yield QUEUE_NOTHING.at(view.job.queue.line.at(), "the queue statement queues no job")
