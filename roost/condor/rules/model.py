"""Rules, findings, and the effects on a job that breaks a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum

from roost.condor.rules.view import JobView
from roost.condor.submit.source_text import BLANKS
from roost.errors import Location
from roost.host import safetext


class Severity(StrEnum):
    """Certainty and severity: an error breaks the job, a warning may, a note only describes what will happen."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Effect(StrEnum):
    """What HTCondor does with the job, worst first.

    A rejected description costs its author only seconds, but no job runs at all, so it is first; a machine without
    HasVM is lost to all users; a held job waits for its owner, who is notified; an idle job waits silently; a job that
    never ends also occupies a slot; wrong data is noticed last.
    """

    REJECTED = "rejected_by_condor_submit"
    HASVM_FALSE = "job_requeued_and_machine_HasVM_false"
    HELD = "job_held"
    IDLE = "idle_forever"
    RUNS_FOREVER = "runs_forever"
    WRONG_DATA = "wrong_data_or_silent_loss"
    OK = "ok"

    @property
    def rank(self) -> int:
        """0 is the worst."""
        return list(Effect).index(self)


class Stage(IntEnum):
    """The stage of a job's life at which a rule takes effect. A failure at one stage hides those of later stages."""

    SUBMIT = 1
    MATCH = 2
    INPUT = 3
    GAHP = 4
    START = 5
    RUN = 6
    OUTPUT = 7


#: The stage of each effect, unless a rule gives another (a hold is also possible at INPUT and OUTPUT).
_STAGE = {
    Effect.REJECTED: Stage.SUBMIT,
    Effect.IDLE: Stage.MATCH,
    Effect.HELD: Stage.GAHP,
    Effect.HASVM_FALSE: Stage.START,
    Effect.RUNS_FOREVER: Stage.RUN,
    Effect.WRONG_DATA: Stage.RUN,
    Effect.OK: Stage.OUTPUT,
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One fact about the vm universe: its code, severity, effect, fix and source."""

    code: str
    severity: Severity
    effect: Effect
    hint: str
    source: str
    stage: Stage = Stage.OUTPUT

    def at(self, where: Location, message: str, hint: str | None = None) -> Finding:
        """Return the finding that this rule is broken at `where`."""
        return Finding(self, where, message, hint or self.hint)

    def but(self, severity: Severity, effect: Effect, stage: Stage | None = None) -> Rule:
        """Return the same rule with another severity, effect or stage, for a case where it differs."""
        return replace(self, severity=severity, effect=effect, stage=stage or _STAGE[effect])


@dataclass(frozen=True, slots=True)
class Finding:
    """A broken rule: where, and the message."""

    rule: Rule
    where: Location
    message: str
    hint: str


#: Every rule by its code.
RULES: dict[str, Rule] = {}

#: The functions that apply the rules, each to one job.
CHECKS: list[Callable[[JobView], Iterable[Finding]]] = []


def rule(code: str, severity: Severity, effect: Effect, *, hint: str, source: str, stage: Stage | None = None) -> Rule:
    """Define a rule; a code names one rule only."""
    assert code not in RULES, code
    RULES[code] = Rule(code, severity, effect, hint, source, stage or _STAGE[effect])
    return RULES[code]


def check(function: Callable[[JobView], Iterable[Finding]]) -> Callable[[JobView], Iterable[Finding]]:
    """Register a function that applies rules to a job."""
    CHECKS.append(function)
    return function


def shown(text: str) -> str:
    """Return a value as messages quote it: short, printable, on one line."""
    clean = safetext.printable(text.strip(BLANKS))
    return f"'{clean[:77]}...'" if len(clean) > 80 else f"'{clean}'"
