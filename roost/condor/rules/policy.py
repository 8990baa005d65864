"""Rules about the periodic expressions: conditions they never see, and releases without a bound."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from roost.condor.rules.model import Effect, Finding, Severity, check, rule, shown
from roost.condor.rules.view import Command, JobView
from roost.condor.submit.expression import as_bool

_W, _OK = Severity.WARNING, Effect.OK
_ATTRIBUTES = "HTCondor manual, Job ClassAd Attributes"

RELEASE_UNBOUNDED = rule(
    "release-unbounded", _W, _OK, hint="add a bound, such as && (NumJobStarts < 5)",
    source="docs/vm-universe.md, section 4: each machine that a bad job is started on takes no more virtual machines",
)  # fmt: skip
POLICY_STATUS = rule(
    "policy-status", _W, _OK, hint="1 is idle, 2 running, 5 held",
    source="HTCondor manual, condor_submit: periodic_release is for held jobs, periodic_hold for others",
)  # fmt: skip
NEVER_MATCHES = rule(
    "requirements-false", Severity.ERROR, Effect.IDLE, hint="remove the condition, or correct it",
    source="HTCondor manual, condor_submit, requirements: a job starts where the expression is true",
)  # fmt: skip
POLICY_ATTRIBUTE = rule(
    "policy-attribute", _W, _OK, hint="an attribute that a job lacks is UNDEFINED, never true", source=_ATTRIBUTES
)

#: Job attributes that grow, so that a comparison with one of them bounds the releases.
_BOUNDS = (
    "NumJobStarts", "NumShadowStarts", "NumJobMatches", "NumHolds", "NumSystemHolds", "JobRunCount", "NumRestarts",
    "NumHoldsByReason", "NumShadowExceptions", "QDate", "JobStartDate", "CumulativeRemoteSysCpu", "RemoteWallClockTime",
)  # fmt: skip
#: Attributes used in periodic expressions; a name that closely resembles one of these is reported as a mistake.
_KNOWN = (
    *_BOUNDS, "JobStatus", "LastJobStatus", "EnteredCurrentStatus", "HoldReason", "HoldReasonCode", "HoldReasonSubCode",
    "LastHoldReason", "LastHoldReasonCode", "LastHoldReasonSubCode", "JobCurrentStartDate", "LastRemoteHost",
    "JobCurrentStartExecutingDate", "LastVacateTime", "CurrentTime", "ServerTime", "VacateReasonCode", "VacateReason",
    "DiskUsage", "MemoryUsage", "ImageSize", "ResidentSetSize", "RequestDisk", "RequestMemory", "RequestCpus",
)  # fmt: skip
_NAMES = {name.lower(): name for name in _KNOWN}
#: The job states, by JobStatus, in which each expression is evaluated.
_SEEN = {"periodic_release": {5}, "periodic_hold": {1, 2, 6, 7}}
_EXPRESSIONS = ("periodic_hold", "periodic_release", "periodic_remove")
#: An unterminated string extends to the end of the text, so that the text is scanned only once.
_STRING = re.compile(r'"(?:[^"\\]|\\.)*(?:"|\\?$)')
_NAME = re.compile(r"(?<![\w.])(?:MY\.)?([A-Za-z_]\w*)(?!\s*\(|\w)", re.IGNORECASE)
_STATUS = re.compile(r"(?<![\w.])(?:MY\.)?JobStatus\s*(?:==|=\?=)\s*(\d+)", re.IGNORECASE)


@check
def policies(view: JobView) -> Iterator[Finding]:
    """Apply the rules about periodic expressions."""
    for name in _EXPRESSIONS:
        command = view.get(name, name.title().replace("_", ""))
        if command is not None and not command.unknown:
            yield from _expression(view, name, command)


@check
def requirements(view: JobView) -> Iterator[Finding]:
    """Apply the rule that some machine must be able to meet the requirements."""
    command = view.get("requirements", "Requirements")
    # Attributes get their values on a machine: only an expression without attributes can be evaluated here.
    constant = command is not None and not set(re.findall(r"[a-z_]\w*", command.text.lower())) - {"true", "false"}
    if command is not None and constant and not command.unknown and as_bool(command.text) is False:
        yield NEVER_MATCHES.at(command.where, f"requirements = {shown(command.text)} is false on every machine")


def _expression(view: JobView, name: str, command: Command) -> Iterator[Finding]:
    # Strings are blanked out, at their length: their contents are not names, and offsets must not change.
    text = _STRING.sub(lambda found: " " * len(found.group()), command.text)
    own = {key[3:] for key in view.job.table if key.startswith("my.")}
    names = {found[1].lower(): found.start(1) for found in _NAME.finditer(text)}
    for lower, start in names.items():
        close = difflib.get_close_matches(lower, _NAMES, 1, 0.88)
        if close and lower not in _NAMES and lower not in own:
            meant = _NAMES[close[0]]
            what = f"{name} asks for {shown(text[start : start + len(lower)])}; did you mean {meant}?"
            yield POLICY_ATTRIBUTE.at(command.value.at(start), what)
    yield from _status(name, command, text)
    bounded = text.strip().lower() in ("false", "0") or names.keys() & {one.lower() for one in _BOUNDS}
    if name == "periodic_release" and view.is_vm and not bounded:
        what = "periodic_release has no bound: a job that no machine can start is tried for ever"
        yield RELEASE_UNBOUNDED.at(command.where, what)


def _status(name: str, command: Command, text: str) -> Iterator[Finding]:
    found = list(_STATUS.finditer(text))
    # With several conditions another one may match: only a status that the whole expression depends on is checked.
    if name not in _SEEN or len(found) != 1 or "||" in text or "!" in text.replace("!=", ""):
        return
    if int(found[0][1]) not in _SEEN[name]:
        what = f"{name} never sees a job whose JobStatus is {found[0][1]}"
        yield POLICY_STATUS.at(command.value.at(found[0].start()), what)
