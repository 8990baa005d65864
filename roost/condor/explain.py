"""Explain what went wrong with a vm-universe job, from whatever text there is about it.

Given a hold reason, a job event log, the output of condor_q -hold, -long or -better-analyze, lines of VMGahpLog,
a refusal of condor_submit or the code of a lint rule, `explain` says what happened, why, and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from roost.condor import reasons
from roost.condor.libvirt_messages import LIBVIRT
from roost.condor.rules import ALL as RULES
from roost.condor.rules import Effect, Rule

MAX_LENGTH = 1 << 19
MAX_LINE = 2000

#: Every reason, the most telling first.
REASONS = (
    *reasons.HOLDING,
    *LIBVIRT,
    *reasons.HELD,
    *reasons.REQUEUING,
    *reasons.MATCHING,
    *reasons.OTHERS,
)

_EVENT = re.compile(r"^(\d{3}) \((\d{1,9})\.(\d{1,9})\.\d{1,9}\) ", re.MULTILINE)
_SUBMITTED, _EXECUTING, _EVICTED, _TERMINATED, _ABORTED, _HELD = "000", "001", "004", "005", "009", "012"

_EFFECTS = {
    Effect.REJECTED: "condor_submit refuses the description",
    Effect.HASVM_FALSE: "the job goes back to the queue, and the execute machine loses HasVM",
    Effect.HELD: "the job is held",
    Effect.IDLE: "no machine ever matches the job, so it stays idle",
    Effect.RUNS_FOREVER: "the guest never ends, so the job runs for ever",
    Effect.WRONG_DATA: "data is wrong or does not come back, and nothing says so",
    Effect.OK: "the job runs, but not as it should",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happened (`meaning`), why (`cause`), what to do (`fix`), where that is written, which rules see it."""

    code: str
    meaning: str
    cause: str
    fix: str
    source: str
    lint_codes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return one member of `matches` of `inv explain --json`; `lint` is an extra key."""
        return {
            "code": self.code,
            "meaning": self.meaning,
            "cause": self.cause,
            "fix": self.fix,
            "source": self.source,
            "lint": list(self.lint_codes),
        }


def explain(text: str | bytes) -> tuple[Explanation, ...]:
    """Return what the text tells, the most telling first; empty when it tells nothing. Never raises."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    # Very long lines tell nothing more at their end, and would make the search slow.
    lines = text[-MAX_LENGTH:].replace("\r\n", "\n").split("\n")
    clean = "\n".join(line[:MAX_LINE] for line in lines)
    found = {one.code: one for one in _all(clean)}
    return tuple(found.values())


def to_json(explanations: Iterable[Explanation]) -> dict[str, object]:
    """Return the object of `inv explain --json`."""
    return {"matches": [explanation.to_json() for explanation in explanations]}


def of_rule(code: str) -> Explanation | None:
    """Return what breaking the lint rule `code` does, or None when there is none."""
    rule = RULES.get(code)
    return _of_rule(rule) if rule else None


def _of_rule(rule: Rule) -> Explanation:
    return Explanation(rule.code, _EFFECTS[rule.effect], rule.source, rule.hint, rule.source, (rule.code,))


def _all(text: str) -> Iterator[Explanation]:
    if rule := RULES.get(text.strip()):
        yield _of_rule(rule)
    for reason in REASONS:
        if reason.pattern.search(text):
            yield _of(reason)
    for pattern, code in reasons.SUBMIT:
        if match := pattern.search(text):
            rule = RULES[code]
            where = match.group().strip()
            yield Explanation(code, _EFFECTS[Effect.REJECTED], f"it says: {where}", rule.hint, rule.source, (code,))
    yield from _unfinished(text)


def _of(reason: reasons.Reason) -> Explanation:
    hints = dict.fromkeys(RULES[code].hint for code in reason.lint)
    fix = reason.fix or "; ".join(hints)
    return Explanation(reason.code, reason.meaning, reason.cause, fix, reason.source, reason.lint)


def _unfinished(text: str) -> Iterator[Explanation]:
    """Tell from a job event log which jobs never started, and which started and did not end."""
    last: dict[tuple[str, str], str] = {}
    for match in _EVENT.finditer(text):
        # Other events, such as image sizes and transfers, do not change what the job is doing.
        if match[1] in (_SUBMITTED, _EXECUTING, _EVICTED, _TERMINATED, _ABORTED, _HELD):
            last[match[2], match[3]] = match[1]
    by_code = {reason.code: reason for reason in REASONS}
    if _SUBMITTED in last.values():
        yield _of(by_code["never-matches"])
    if _EXECUTING in last.values():
        yield _of(by_code["runs-forever"])
