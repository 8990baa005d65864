"""Judge any vm-universe submit description by HTCondor's rules, before HTCondor does.

`lint_text` applies the static rules and reads nothing but the includes and queue lists it is given a reader for.
`lint_file` also looks at the files beside the description (`files`) and asks condor_submit's own parser (`judge`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from roost.condor import disk_images, judge
from roost.condor.rules import CHECKS, Effect, Finding, JobView, Severity
from roost.condor.rules.model import shown
from roost.condor.rules.reading import JUDGE, JUDGE_ABSENT, MACRO_ABORTS, MACRO_UNDEFINED, REMARKS
from roost.condor.rules.returned import collisions
from roost.condor.submit.description import Description
from roost.condor.submit.language import decode, read
from roost.condor.submit.macros import Assignment, Expander
from roost.errors import Location, UsageError
from roost.host import files as host_files

#: So many rows of a queue statement are judged; a mistake in the description itself shows in the first.
MAX_JOBS = 50

#: ... and so many characters of values, all jobs together.
MAX_WORK = 1 << 19

#: Bounds of what a pattern of `queue ... matching` may look for.
MAX_WILDCARDS = 8
MAX_NAMES = 10_000


@dataclass(frozen=True, slots=True)
class LintReport:
    """What was found, in the order of the file; `effect` is the worst that HTCondor would do to any of the jobs."""

    file: str
    effect: Effect
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there is no error; warnings and notes are no errors."""
        return not any(finding.rule.severity == Severity.ERROR for finding in self.findings)

    def to_json(self) -> dict[str, object]:
        """Return the object of `inv lint --json`; `file` and `effect` of a finding are extra keys."""
        return {
            "ok": self.ok,
            "effect": self.effect.value,
            "findings": [
                {
                    "code": finding.rule.code,
                    "severity": finding.rule.severity.value,
                    "line": finding.where.line,
                    "column": finding.where.column,
                    "message": finding.message,
                    "hint": finding.hint,
                    "source": finding.rule.source,
                    "file": finding.where.file,
                    "effect": finding.rule.effect.value,
                }
                for finding in self.findings
            ],
        }

    def render(self) -> list[str]:
        """Return one line per finding, `file:line:column: severity: message [code]`, each with its hint below."""
        lines = []
        for finding in self.findings:
            lines.append(f"{finding.where}: {finding.rule.severity.value}: {finding.message} [{finding.rule.code}]")
            lines.append(f"    hint: {finding.hint}")
        return lines


def lint_text(
    text: str,
    file: str = "submit description",
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> LintReport:
    """Judge a description by the static rules. Includes and queue lists are looked up in `directory`, if given."""
    return _report(file, _judge_statically(text, file, directory, environment)[1])


def lint_file(path: Path | str, *, ask: bool = True) -> LintReport:
    """Judge a description and the files it names; with `ask` also by condor_submit's own parser.

    Raises `UsageError` when the description itself cannot be read.
    """
    path = Path(path)
    try:
        text = decode(host_files.read_bytes(path))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", hint="give the path of a submit description"
        ) from error
    return lint(text, file=str(path), directory=path.parent, ask=ask)


def lint(text: str, *, file: str, directory: Path, ask: bool = True) -> LintReport:
    """Judge a description whose files are in `directory`: rules, files at hand, and condor_submit's own parser."""
    description, jobs = _judge_statically(text, file, directory, None)
    jobs = [(view, disk_images.check_files(view, directory, findings)) for view, findings in jobs]
    report = _report(file, jobs)
    if not ask or report.effect is Effect.REJECTED:
        return report
    verdict = judge.ask(text, directory, description)
    if verdict.accepted is None:
        extra = JUDGE_ABSENT.at(Location(file, 1, 1), verdict.message, verdict.hint)
    elif verdict.accepted:
        return report
    else:
        extra = JUDGE.at(Location(file, verdict.line or 1, 1), f"{verdict.judge} refuses it: {verdict.message}")
    return _report(file, [*jobs, (jobs[0][0], [*jobs[0][1], extra])])


_Jobs = list[tuple[JobView, list[Finding]]]


def _judge_statically(
    text: str, file: str, directory: Path | None, environment: Mapping[str, str] | None
) -> tuple[Description, _Jobs]:
    environment = os.environ if environment is None else environment
    description = read(text, file, _reader(directory), environment, _matcher(directory))
    general = [
        REMARKS[remark.code][0].at(remark.where, REMARKS[remark.code][1].format(_quoted(remark.code, remark.what)))
        for remark in description.remarks
    ]
    jobs: _Jobs = []
    for job in description.jobs[: _judged(description)]:
        view = JobView(description, job, Expander(job.table, job.live, environment))
        description.used |= _macros_in(job.table.values())
        findings = list(general)
        for apply in CHECKS:
            findings += apply(view)
        for name, where in view.expander.endless.items():
            rule, words = REMARKS["macro-loop"]
            findings.append(rule.at(where, words.format(f"$({name})")))
        for name, where in view.expander.undefined.items():
            if not description.incomplete:
                findings.append(MACRO_UNDEFINED.at(where, f"$({name}) is defined nowhere, and becomes nothing"))
        if not description.incomplete:
            for name, where in view.expander.literal.items():
                findings.append(MACRO_UNDEFINED.at(where, f"{name} is defined nowhere: the function takes its name"))
            for name, where in view.expander.aborted.items():
                findings.append(MACRO_ABORTS.at(where, f"condor_submit ends at {shown(name)}"))
        jobs.append((view, findings))
    if jobs:
        jobs[0][1].extend(collisions([view for view, _ in jobs]))
    return description, jobs


def _judged(description: Description) -> int:
    """Return how many jobs are looked at: fewer of a description that is very long, which no person wrote."""
    size = sum(len(entry.value.text) + 50 for entry in description.assignments)
    return max(2, min(MAX_JOBS, MAX_WORK // (1 + size)))


def _macros_in(assignments: Iterable[Assignment]) -> set[str]:
    """Return the names that values refer to: a misspelt-looking name among them is a macro, not a command."""
    return {name.lower() for entry in assignments for name in re.findall(r"\$\(([\w.]+)", entry.value.text)}


def _quoted(code: str, what: str) -> str:
    return what if code in ("if-open", "if-condition", "queue", "nul-byte", "macro-loop", "too-long") else shown(what)


def _reader(directory: Path | None) -> Callable[[str], str | None]:
    def read_file(name: str) -> str | None:
        if directory is None or not name or "\0" in name:
            return None
        try:
            path = directory / name
            # Not a device or a pipe, which would block.
            return decode(host_files.read_bytes(path))
        except (OSError, ValueError):
            return None

    return read_file


def _matcher(directory: Path | None) -> Callable[[str, str], list[str] | None]:
    def match(pattern: str, kind: str) -> list[str] | None:
        # Only below the directory: a pattern of a stranger's description could walk the whole machine.
        if directory is None or not pattern or "\0" in pattern or ".." in pattern.split("/") or "**" in pattern:
            return None
        if pattern.startswith("/") or pattern.count("*") + pattern.count("?") + pattern.count("[") > MAX_WILDCARDS:
            return None
        wanted = {"files": Path.is_file, "dirs": Path.is_dir}.get(kind, Path.exists)
        try:
            found = islice(directory.glob(pattern), MAX_NAMES)
            return sorted(str(path.relative_to(directory)) for path in found if wanted(path))
        except (OSError, ValueError, NotImplementedError, re.error):
            return None

    return match


def effect_of(findings: Iterable[Finding]) -> Effect:
    """Return what becomes of one job: the earliest stage that a finding bites in, and there the worst effect."""
    biting = [finding.rule for finding in findings if finding.rule.effect is not Effect.OK]
    if not biting:
        return Effect.OK
    first = min(rule.stage for rule in biting)
    return min((rule.effect for rule in biting if rule.stage == first), key=lambda effect: effect.rank)


def _report(file: str, jobs: _Jobs) -> LintReport:
    unique = {
        (finding.rule.code, finding.where, finding.message): finding for _, findings in jobs for finding in findings
    }
    ordered = sorted(
        unique.values(),
        key=lambda finding: (finding.where.file != file, finding.where.file, finding.where.line, finding.where.column),
    )
    effects = [effect_of(findings) for _, findings in jobs] or [Effect.OK]
    return LintReport(file, min(effects, key=lambda effect: effect.rank), tuple(ordered))
