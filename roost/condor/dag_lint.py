"""Lint a DAGMan workflow: the DAG file, and the description of each node with its VARS.

Nodes that share a description but set different variables are linted separately; a finding that many of them have is
reported once, with their names.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from roost.condor import lint, static_lint
from roost.condor.lint import LintReport
from roost.condor.rules import Effect, Finding, JobView, Rule, Severity, reading, universe
from roost.condor.rules.files import FILE_MISSING
from roost.condor.rules.model import rule, shown
from roost.condor.rules.returned import collisions
from roost.condor.static_lint import Subject
from roost.condor.submit import dag
from roost.condor.submit.dag_model import Dag, Mistake, Node
from roost.condor.submit.description import Variable
from roost.condor.submit.language import decode
from roost.condor.submit.source_text import Traced
from roost.errors import Location, UsageError
from roost.host import causes, files
from roost.recipe.words import some

#: The maximum number of descriptions given to condor_submit's own parser, and of findings reported.
MAX_ASKED = 8
MAX_FINDINGS = 500
#: Size limit of a DAG file.
MAX_BYTES = 16 << 20
#: The number of node names listed in a message.
NAMED = 3

_DAGMAN = "HTCondor manual, DAGMan; condor_utils/dag_parser.cpp"
DAG_SYNTAX = rule(
    "dag-syntax", Severity.ERROR, Effect.REJECTED, hint="see the manual's DAGMan quick reference", source=_DAGMAN
)
DAG_DOUBT = rule(
    "dag-doubt", Severity.WARNING, Effect.OK, hint="see the manual's DAGMan quick reference", source=_DAGMAN
)
DAG_ABSENT = rule(
    "dag-description-missing", Severity.WARNING, Effect.OK, hint="lint the DAG where its files are",
    source="DAGMan fails a node whose submit description cannot be read",
)  # fmt: skip
DAG_LATER = rule(
    "dag-file-later", Severity.NOTE, Effect.OK, hint="inv lint --dag when they have run",
    source="HTCondor manual, DAGMan: a node is submitted when its parents are done",
)  # fmt: skip
DAG_LEFT_OUT = rule(
    "dag-left-out", Severity.WARNING, Effect.OK, hint="fix what is reported, and lint it again", source=_DAGMAN
)
DAG_SUBDAG = rule(
    "dag-subdag", Severity.NOTE, Effect.OK, hint="inv lint --dag FILE", source="a sub-DAG is a DAGMan job of its own"
)
DAG_CLUSTERS = rule(
    "dag-clusters", Severity.WARNING, Effect.OK, hint="write one queue statement",
    source="HTCondor manual, DAGMan: all jobs of a node are in one cluster",
)  # fmt: skip


@dataclass(slots=True)
class _Found:
    """The findings so far: by rule, place and message, with the nodes that have them."""

    findings: dict[tuple[str, Location, str], Finding] = field(default_factory=dict)
    nodes: dict[tuple[str, Location, str], list[str]] = field(default_factory=dict)
    left_out: int = 0

    def add(self, found: Iterable[Finding], node: str | None = None) -> None:
        for finding in found:
            key = (finding.rule.code, finding.where, finding.message)
            if key not in self.findings and len(self.findings) >= MAX_FINDINGS:
                self.left_out += 1
                continue
            self.findings.setdefault(key, finding)
            if node is not None and node not in self.nodes.setdefault(key, [])[-1:]:
                self.nodes[key].append(node)

    def merged(self) -> list[Finding]:
        """Return the findings, each with the names of its nodes."""
        return [
            replace(finding, message=f"{_named(self.nodes[key])}: {finding.message}") if key in self.nodes else finding
            for key, finding in self.findings.items()
        ]


def _named(nodes: Sequence[str]) -> str:
    return f"node{'s' if len(nodes) > 1 else ''} {some([shown(one).strip(chr(39)) for one in nodes], NAMED)}"


def lint_dag(path: Path, *, ask: bool = True, only: Path | None = None, also: Sequence[Variable] = ()) -> LintReport:
    """Lint the workflow of a DAG file; with `only`, just the nodes of that submit description.

    `also` is set for every node in addition to its VARS. Raises `UsageError` when the DAG file cannot be read.
    """
    try:
        text = decode(files.read_bytes(path, MAX_BYTES))
    except OSError as error:
        hint = causes.hint(error) or "inv lint --dag FILE.dag"
        raise UsageError(files.unreadable(path, error), hint=hint) from error
    read_file = static_lint.reader(path.parent)
    workflow = dag.read(text, str(path), read_file)
    found = _Found()
    found.add(_of(mistake) for mistake in workflow.mistakes)
    found.add(DAG_SUBDAG.at(where, f"the sub-DAG {shown(name)} is not judged") for name, where in workflow.sub_dags)
    effects = _nodes(workflow, path, found, _Options(ask, only, also))
    findings = found.merged()
    if found.left_out:
        what = f"only the first {MAX_FINDINGS} of {MAX_FINDINGS + found.left_out} findings are listed"
        findings.append(DAG_LEFT_OUT.at(Location(str(path), 1, 1), what))
    effects += [Effect.REJECTED] if any(finding.rule is DAG_SYNTAX for finding in findings) else []
    return lint.sorted_report(str(path), findings, effects)


def _of(mistake: Mistake) -> Finding:
    return (DAG_SYNTAX if mistake.refused else DAG_DOUBT).at(mistake.where, mistake.what, mistake.hint)


@dataclass(frozen=True, slots=True)
class _Options:
    """Whether to ask condor_submit, the only description to lint, and the variables set for every node."""

    ask: bool
    only: Path | None
    also: Sequence[Variable]


def _nodes(workflow: Dag, path: Path, found: _Found, options: _Options) -> list[Effect]:
    """Lint the nodes; return the effect on each."""
    effects: list[Effect] = []
    views: list[JobView] = []
    parsed: set[str] = set()
    todo = [node for node in workflow.nodes.values() if not node.idle and node.kind != "SUBDAG"]
    for number, node in enumerate(todo, 1):
        subject = _subject(workflow, node, path)
        if subject is None:
            name = shown(posixpath.join(node.directory, node.description))
            found.add([DAG_ABSENT.at(node.where, f"the submit description {name} is not here")], node.name)
            continue
        if options.only is not None and Path(subject.file).absolute() != options.only.absolute():
            continue
        ask = options.ask and len(parsed) < MAX_ASKED and subject.text not in parsed
        parsed |= {subject.text} if ask else set()
        jobs = lint.judged(replace(subject, variables=[*options.also, *_variables(node)], cluster=number), ask=ask)
        views += [view for view, _ in jobs[:1]]
        for view, findings in jobs:
            language = [one for one in findings if one.rule.code in _LANGUAGE]
            reported = language if _is_of_another_universe(view) else _node_findings(findings, node, subject)
            found.add(reported, node.name)
            effects.append(lint.effect_of(reported))
        found.add(_of_the_node(node, views[-1]) if jobs else (), node.name)
    known = {(code, where) for code, where, _ in found.findings}
    for finding in collisions(views):
        # Nodes that run one after another may share a file on purpose.
        if (finding.rule.code, finding.where) not in known:
            found.add([replace(finding, rule=finding.rule.but(Severity.WARNING, Effect.OK))])
    return effects


def _node_findings(findings: Sequence[Finding], node: Node, subject: Subject) -> list[Finding]:
    """Return the findings of a node; missing files become one note if earlier nodes may create them."""
    if not node.after:
        return list(findings)
    later = [one for one in findings if one.rule.code == FILE_MISSING.code]
    what = "inputs are not here; the nodes before may make them"
    rest = [one for one in findings if one not in later]
    return [*rest, DAG_LATER.at(Location(subject.file, 1, 1), what)] if later else rest


#: Rules applied to a node of another universe, such as one that makes disks: only those about unreadable syntax.
_LANGUAGE = {one.code for one in vars(reading).values() if isinstance(one, Rule)} | set(reading.REMARKS)
#: The other universes, by name and number (HTCondor manual, condor_submit).
_OTHERS = frozenset({*universe.OTHERS, *map(str, universe.OTHERS.values())})


def _is_of_another_universe(view: JobView) -> bool:
    """Return whether a node is not meant to be a vm job: most workflows have such nodes too."""
    given = {entry.name.lower(): entry.value.text.strip().lower() for entry in view.description.assignments}
    return given.get("universe", "vanilla") in _OTHERS and not any(name.startswith(("vm_", "xen_")) for name in given)


def _of_the_node(node: Node, view: JobView) -> Iterator[Finding]:
    """Yield conflicts between a node and its description."""
    queues = view.description.queues
    if len(queues) > 1:
        what = "DAGMan takes one cluster of jobs from a node: one queue statement"
        yield DAG_CLUSTERS.at(queues[1].line.at(), what)
    own = {entry.name.lower(): entry for entry in view.description.assignments}
    for variable in node.variables:
        entry = own.get(variable.name.lower())
        # `x = $(x:1)` was expanded when it was read.
        if entry is not None and not variable.append and variable.value.text not in entry.value.text:
            what = f"the description sets {variable.name} itself, so that of VARS is not used"
            yield DAG_DOUBT.at(variable.value.at(), what, f"VARS {node.name} APPEND {variable.name}=...")


def _subject(workflow: Dag, node: Node, path: Path) -> Subject | None:
    """Return the description of a node, or None where it cannot be read."""
    directory = path.parent / node.directory
    inline = node.inline or workflow.descriptions.get(node.description)
    if inline is not None:
        return Subject(inline.text, inline.file, directory, inline=True, base=node.directory)
    if not node.description or "\0" in node.description:
        return None
    file = directory / node.description
    try:
        text = decode(files.read_bytes(file))
    except (OSError, ValueError):
        return None
    return Subject(text, str(file), directory, base=node.directory)


#: Variables that DAGMan sets for a node in addition to its VARS.
_DAGMAN_VARIABLES = {"RETRY": "0", "FAILED_COUNT": "0", "DAG_STATUS": "0"}


def _variables(node: Node) -> list[Variable]:
    own = {"JOB": node.name, **_DAGMAN_VARIABLES}
    return [*(Variable(name, Traced.of(text, node.where, fixed=True)) for name, text in own.items()), *node.variables]
