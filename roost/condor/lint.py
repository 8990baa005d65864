"""Lint any vm-universe submit description by HTCondor's rules.

`lint_text` applies the static rules and reads only includes and queue lists, through the given reader.
`lint_file` also inspects the files beside the description (`files`) and asks condor_submit's own parser (`judge`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roost.condor import disk_images, judge, static_lint
from roost.condor.rules import Effect, Finding, Severity
from roost.condor.rules.reading import JUDGE, JUDGE_ABSENT
from roost.condor.static_lint import Jobs, Subject
from roost.condor.submit.description import Variable
from roost.condor.submit.language import decode
from roost.errors import Location, UsageError
from roost.host import causes
from roost.host import files as host_files


@dataclass(frozen=True, slots=True)
class LintReport:
    """The findings in the order of the file; `effect` is the worst that HTCondor would do to any of the jobs."""

    file: str
    effect: Effect
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether there are no errors; warnings and notes do not count."""
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
    variables: Sequence[Variable] | None = None,
) -> LintReport:
    """Lint a description by the static rules. Includes and queue lists are looked up in `directory`, if given.

    `variables` are set from outside, None where they are not known (see `Subject`).
    """
    return report(file, static_lint.judge(Subject(text, file, directory, variables), environment)[1])


def lint_file(path: Path | str, *, ask: bool = True, variables: Sequence[Variable] | None = None) -> LintReport:
    """Lint a description and the files it names; with `ask`, also by condor_submit's own parser.

    Raises `UsageError` when the description itself cannot be read.
    """
    path = Path(path)
    try:
        text = decode(host_files.read_bytes(path))
    except OSError as error:
        what = host_files.unreadable(path, error)
        raise UsageError(what, hint=causes.hint(error) or "give the path of a submit description") from error
    return lint(text, file=str(path), directory=path.parent, ask=ask, variables=variables)


def lint(
    text: str, *, file: str, directory: Path, ask: bool = True, variables: Sequence[Variable] | None = None
) -> LintReport:
    """Lint a description whose files are in `directory`: rules, local files, and condor_submit's own parser."""
    return report(file, judged(Subject(text, file, directory, variables), ask=ask))


def judged(subject: Subject, *, ask: bool = True) -> Jobs:
    """Return the findings of all linters for each of the jobs."""
    description, jobs = static_lint.judge(subject)
    directory = subject.directory or Path()
    jobs = [(view, disk_images.check_files(view, directory, findings)) for view, findings in jobs]
    if not ask or not jobs or report(subject.file, jobs).effect is Effect.REJECTED:
        return jobs
    verdict = judge.ask(subject.text, directory, description, subject.variables or ())
    if verdict.accepted:
        return jobs
    where = Location(subject.file, verdict.line or 1, 1)
    if verdict.accepted is None:
        extra = JUDGE_ABSENT.at(Location(subject.file, 1, 1), verdict.message, verdict.hint)
    elif subject.variables is None and any(view.expander.undefined for view, _ in jobs):
        what = f"{verdict.judge} refuses it as it stands, without VARS: {verdict.message}"
        extra = JUDGE.but(Severity.WARNING, Effect.OK).at(where, what)
    else:
        extra = JUDGE.at(where, f"{verdict.judge} refuses it: {verdict.message}")
    jobs[0][1].append(extra)
    return jobs


def effect_of(findings: Iterable[Finding]) -> Effect:
    """Return the effect on one job: the worst of the findings at the earliest stage."""
    biting = [finding.rule for finding in findings if finding.rule.effect is not Effect.OK]
    if not biting:
        return Effect.OK
    first = min(rule.stage for rule in biting)
    return min((rule.effect for rule in biting if rule.stage == first), key=lambda effect: effect.rank)


def report(file: str, jobs: Jobs) -> LintReport:
    """Return all findings, each once, and the worst effect."""
    found = [finding for _, findings in jobs for finding in findings]
    return sorted_report(file, found, [effect_of(findings) for _, findings in jobs])


def sorted_report(file: str, found: Iterable[Finding], effects: Iterable[Effect]) -> LintReport:
    """Return the findings in the order of the file, those of other files last, each once, and the worst effect."""
    unique = {(finding.rule.code, finding.where, finding.message): finding for finding in found}
    ordered = sorted(
        unique.values(),
        key=lambda finding: (finding.where.file != file, finding.where.file, finding.where.line, finding.where.column),
    )
    return LintReport(file, min(effects, key=lambda effect: effect.rank, default=Effect.OK), tuple(ordered))
