"""Explain what went wrong with a vm-universe job, from any text about it.

Words outrank numbers: a hold code gives only the kind of failure, and one code stands for several.

Given a hold reason, a job event log, the output of condor_q -hold, -long or -better-analyze, lines of VMGahpLog,
a refusal of condor_submit or the code of a lint rule, `explain` says what happened, why, and what to do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from roost.condor import holds, match_analysis, passages, reasons, transfer_failures
from roost.condor.guest_messages import GUEST
from roost.condor.libvirt_messages import GENERAL, LIBVIRT
from roost.condor.passages import Passage
from roost.condor.reasons import Reason
from roost.condor.rules import ALL as RULES
from roost.condor.rules import Effect, Rule
from roost.condor.transfer_failures import Failure

MAX_LENGTH = 1 << 19
MAX_LINE = 2000

#: All reasons recognized by their words, the most specific first.
REASONS = (
    *reasons.HOLDING,
    *LIBVIRT,
    *holds.HELD,
    *reasons.REQUEUING,
    *reasons.MATCHING,
    *reasons.IDLE,
    *reasons.OTHERS,
    *GUEST,
)
_REQUEUING = frozenset(one.code for one in (*LIBVIRT, *reasons.REQUEUING))
_TRANSFERS = {"in": "hold-13", "out": "hold-12"}
#: Messages more specific than the code of the machine error they lead to, with which they may appear.
_ORDER = [
    *(one.code for one in (*reasons.HOLDING, *LIBVIRT)),
    *_TRANSFERS.values(),
    "hold-6",
    *(one.code for one in (*holds.HELD, *holds.VACATED)),
    *(one.code for one in (*reasons.REQUEUING, *reasons.MATCHING, *reasons.IDLE, *GUEST, *reasons.OTHERS)),
]
_RANK = {code: rank for rank, code in enumerate(_ORDER)}

_EFFECTS = {
    Effect.REJECTED: "condor_submit refuses the description",
    Effect.HASVM_FALSE: "the job goes back to the queue, and the execute machine loses HasVM",
    Effect.HELD: "the job is held",
    Effect.IDLE: "no machine ever matches the job, so it stays idle",
    Effect.RUNS_FOREVER: "the guest never ends, so the job runs for ever",
    Effect.WRONG_DATA: "data is wrong or does not come back, without any error",
    Effect.OK: "the job runs, but not as intended",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happened (`meaning`), why (`cause`), what to do (`fix`), where it is documented, which rules detect it.

    `jobs` are the affected jobs as CLUSTER.PROC, where the text names any.
    """

    code: str
    meaning: str
    cause: str
    fix: str
    source: str
    lint_codes: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return one member of `matches` of `inv explain --json`; `lint` and `jobs` are extra keys."""
        return {
            "code": self.code,
            "meaning": self.meaning,
            "cause": self.cause,
            "fix": self.fix,
            "source": self.source,
            "lint": list(self.lint_codes),
            "jobs": list(self.jobs),
        }


def explain(text: str | bytes) -> tuple[Explanation, ...]:
    """Return the explanations of a text, the most specific first; empty when nothing is recognized. Never raises.

    Two jobs with different reasons give two explanations; a reason that several jobs share lists all of them.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    # The end of a very long line adds nothing and would make the search slow.
    lines = text[-MAX_LENGTH:].replace("\r\n", "\n").split("\n")
    clean = re.sub(r"\n{3,}", "\n\n", "\n".join(line[:MAX_LINE] for line in lines))
    if rule := RULES.get(clean.strip()):
        return (_of_rule(rule),)
    return tuple(_merged(list(_all(clean))))


def _merged(found: Iterable[tuple[Explanation, Passage]]) -> list[Explanation]:
    """Return each explanation once with all of its jobs; a job has one per code, from the place where it was held."""
    latest: dict[tuple[str, str | None], tuple[Explanation, bool]] = {}
    for explanation, passage in found:
        key = (explanation.code, passage.job)
        if key not in latest or passage.held >= latest[key][1]:
            latest[key] = (explanation, passage.held)
    jobs: dict[Explanation, list[str]] = {}
    for (_, job), (explanation, _held) in latest.items():
        jobs.setdefault(explanation, []).extend([job] if job is not None else [])
    merged = [replace(explanation, jobs=tuple(named)) for explanation, named in jobs.items()]
    return sorted(merged, key=lambda one: _RANK.get(one.code, len(_RANK)))


def to_json(explanations: Iterable[Explanation]) -> dict[str, object]:
    """Return the object of `inv explain --json`."""
    return {"matches": [explanation.to_json() for explanation in explanations]}


def of_rule(code: str) -> Explanation | None:
    """Return the effect of breaking the lint rule `code`, or None when there is no such rule."""
    rule = RULES.get(code)
    return _of_rule(rule) if rule else None


def _of_rule(rule: Rule) -> Explanation:
    return Explanation(rule.code, _EFFECTS[rule.effect], rule.source, rule.hint, rule.source, (rule.code,))


def _all(text: str) -> Iterator[tuple[Explanation, Passage]]:
    parts = passages.split(text)
    seen: dict[Passage, list[Explanation]] = {}
    for part in parts:
        if part.event is None or part.event in passages.TELLING:
            alike = replace(part, job=None)
            if alike not in seen:
                seen[alike] = list(_of_passage(part))
            yield from ((explanation, part) for explanation in seen[alike])
    yield from _unfinished(parts)


_NOT_STARTED = re.compile(r"failed to execute|failed to create process|cannot start the job", re.IGNORECASE)
_HYPERVISOR = re.compile(r"libvirt|storage file|qemu|could not open|monitor", re.IGNORECASE)


def _of_passage(passage: Passage) -> Iterator[Explanation]:
    text = passage.text
    codes = match_analysis.codes(text)
    analysed = match_analysis.summary(text) is not None
    found = [
        one
        for one in REASONS
        if one.code in codes or (one.pattern.search(text) and not (analysed and one in reasons.IDLE))
    ]
    transfer = transfer_failures.find(text)
    if transfer is not None and not _HYPERVISOR.search(text):
        # HTCondor's messages about a file resemble libvirt's about a disk.
        found = [one for one in found if one not in LIBVIRT]
    specific = [one for one in found if one.code != GENERAL]
    found = specific if specific or transfer is not None else found
    for one in found:
        yield _held(_of(one)) if passage.held and one.code in _REQUEUING else _of(one)
    if transfer is not None:
        yield _of_transfer(transfer)
    numbers = dict.fromkeys(holds.numbers(text))
    if _NOT_STARTED.search(text) and not found and transfer is None and not numbers:
        yield _of_six(None, text)
    for code, subcode in numbers:
        yield from _of_number(code, subcode, passage, found, transfer)
    for pattern, rule in reasons.SUBMIT:
        if match := pattern.search(text):
            broken = RULES[rule]
            where = match.group().strip()
            yield Explanation(rule, _EFFECTS[Effect.REJECTED], f"it says: {where}", broken.hint, broken.source, (rule,))


def _of_number(
    code: int, subcode: int | None, passage: Passage, found: list[Reason], transfer: Failure | None
) -> Iterator[Explanation]:
    """Yield what a hold code adds to, or corrects in, the words beside it."""
    if code in {12, 13}:
        if transfer is None and not found:
            yield _of_transfer(Failure("out" if code == 12 else "in", None, subcode if subcode else None))
    elif code == 6:
        if transfer is None and not [one for one in found if one in (*reasons.HOLDING, *LIBVIRT, *reasons.REQUEUING)]:
            yield _of_six(subcode, passage.text)
    elif code in holds.BY_NUMBER and holds.BY_NUMBER[code] not in found:
        yield _of(holds.BY_NUMBER[code])


#: Matches an event, an ad or a question that contains nothing but the code.
_NO_WORDS = re.compile(
    r"^\d{3} \([^\n]*|Job was held\.?|Error from [^:\n]*:"
    r"|\b(?:hold|reason|sub|code|is|was|held|job|with|status|in|and|my|why|the|of|a|JobStatus)\b"
    r"|\bHoldReason(?:Sub)?Code\b|sub\W?code|HoldReason[ \t]*=|[\W\d_]",
    re.IGNORECASE | re.MULTILINE,
)


def _of_six(subcode: int | None, text: str) -> Explanation:
    """Return the meaning of hold code 6: an error of condor_vm-gahp, or else that a process did not start."""
    if subcode is not None and subcode < len(reasons.HOLDING) and not _NO_WORDS.sub("", text):
        alone = _of(reasons.HOLDING[subcode])
        doubt = f"judging by the numbers alone: {alone.cause} (or the job failed with errno {subcode}: see HoldReason)"
        return replace(alone, cause=doubt)
    number = transfer_failures.number(text) or subcode
    errno_text = f" (errno {number}: {os.strerror(number)})" if number and number < 200 else ""
    return Explanation(
        "hold-6",
        "the job is held: a process of it could not be started on the execute machine (hold code 6)",
        f"the hold reason says what: go by its text, because the subcode is an errno for most jobs{errno_text}",
        "look into StarterLog and VMGahpLog of the execute machine; if a file is missing there, tell its administrator",
        holds.SOURCE,
    )


def _of_transfer(failure: Failure) -> Explanation:
    cause, fix = transfer_failures.why(failure)
    if failure.way == "out":
        meaning = "the job ran and is held: its output could not be brought back (hold code 12)"
        lint: tuple[str, ...] = ("no-output-conflict", "tof-missing")
    else:
        meaning = "the job is held before it starts: an input could not be brought to the machine (hold code 13)"
        lint = ("file-missing", "file-unreadable", "tif-comma", "tif-blank")
    return Explanation(_TRANSFERS[failure.way], meaning, cause, fix, "docs/vm-universe.md, section 3", lint)


def _held(explanation: Explanation) -> Explanation:
    """Return the explanation for a held job, where the same error requeues the job on most pools."""
    meaning = "the job is held (HTCondor may also take the execute machine out of the vm universe: HasVM = False)"
    return replace(explanation, meaning=meaning, fix=f"{explanation.fix}; then condor_release")


def _of(reason: Reason) -> Explanation:
    hints = dict.fromkeys(RULES[code].hint for code in reason.lint)
    fix = reason.fix or "; ".join(hints)
    return Explanation(reason.code, reason.meaning, reason.cause, fix, reason.source, reason.lint)


def _unfinished(parts: Iterable[Passage]) -> Iterator[tuple[Explanation, Passage]]:
    """Yield, from a job event log, the jobs that never started and those that started and did not end."""
    changing = (
        passages.SUBMITTED,
        passages.EXECUTING,
        passages.EVICTED,
        passages.TERMINATED,
        passages.ABORTED,
        passages.HELD,
        passages.SHADOW_EXCEPTION,
        passages.RECONNECT_FAILED,
    )
    # Other events, such as image sizes and transfers, do not change the state of the job.
    last = {part.job: part for part in parts if part.event in changing}
    by_code = {reason.code: reason for reason in REASONS}
    for part in last.values():
        if part.event == passages.SUBMITTED:
            yield _of(by_code["never-matches"]), part
        elif part.event == passages.EXECUTING:
            yield _of(by_code["runs-forever"]), part
