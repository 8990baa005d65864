"""Apply the rules to a description, job by job, without looking at its disks."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from roost.condor.rules import CHECKS, Finding, JobView
from roost.condor.rules.model import shown
from roost.condor.rules.reading import MACRO_ABORTS, MACRO_UNDEFINED, REMARKS
from roost.condor.rules.returned import collisions
from roost.condor.submit.description import Description, Variable
from roost.condor.submit.language import decode, read
from roost.condor.submit.macros import Expander
from roost.condor.submit.source_text import Traced
from roost.errors import Location
from roost.host import files as host_files

#: The maximum number of rows linted per queue statement; a mistake in the description shows in the first.
MAX_JOBS = 50

#: The maximum number of characters of values, all jobs together.
MAX_WORK = 1 << 19

#: Bounds of a pattern of `queue ... matching`.
MAX_WILDCARDS = 8
MAX_NAMES = 10_000


Jobs = list[tuple[JobView, list[Finding]]]


@dataclass(frozen=True, slots=True)
class Subject:
    """A description to lint: its text, the file that it is in, the directory that its names start from.

    `variables` are all that is set from outside; None where they are not known, so that a name which the description
    does not define may have any value. A description within a DAG file is `inline`; `base` is the directory from which
    a DAG's node is submitted, and `cluster` distinguishes its nodes.
    """

    text: str
    file: str
    directory: Path | None = None
    variables: Sequence[Variable] | None = None
    inline: bool = False
    base: str = ""
    cluster: int = 1


def judge(subject: Subject, environment: Mapping[str, str] | None = None) -> tuple[Description, Jobs]:
    """Return the parsed description, and the findings of the rules for each of its jobs."""
    environment = os.environ if environment is None else environment
    given = subject.variables
    read_file, match = reader(subject.directory), _matcher(subject.directory)
    description = read(subject.text, subject.file, read_file, environment, match, given or ())
    description.inline, description.base = subject.inline, subject.base
    general = [
        REMARKS[remark.code][0].at(remark.where, REMARKS[remark.code][1].format(_quoted(remark.code, remark.what)))
        for remark in description.remarks
    ]
    description.used |= _macros_in(_texts(description, given or ()))
    jobs: Jobs = []
    for job in description.jobs[: _judged(description)]:
        job.live |= _numbered(subject)
        view = JobView(description, job, Expander(job.table, job.live, environment, open=given is None))
        findings = list(general)
        for apply in CHECKS:
            findings += apply(view)
        for name, where in view.expander.endless.items():
            rule, words = REMARKS["macro-loop"]
            findings.append(rule.at(where, words.format(f"$({name})")))
        if not description.incomplete:
            findings += _undefined(view.expander)
        jobs.append((view, findings))
    if jobs:
        jobs[0][1].extend(collisions([view for view, _ in jobs]))
    return description, jobs


def _numbered(subject: Subject) -> dict[str, Traced | None]:
    number = Traced.of(str(subject.cluster), Location(subject.file, 1, 1), fixed=True)
    return {"cluster": number, "clusterid": number} if subject.cluster != 1 else {}


def _undefined(expander: Expander) -> Iterator[Finding]:
    """Yield findings for names that are not defined; where VARS may set them their values are unknown."""
    until = "unknown until VARS are set; without them " if expander.open else ""
    hint = "define it, give a default, $(NAME:default), or judge it with --set NAME=VALUE or --dag FILE.dag"
    for name, where in expander.undefined.items():
        yield MACRO_UNDEFINED.at(where, f"$({name}) is not defined: {until}it expands to nothing", hint)
    for name, where in expander.literal.items():
        yield MACRO_UNDEFINED.at(where, f"{name} is not defined: {until}the function takes its name", hint)
    for name, where in expander.aborted.items():
        yield MACRO_ABORTS.at(where, f"condor_submit stops at {shown(name)}")


def _judged(description: Description) -> int:
    """Return how many jobs are linted: fewer for a very long description, which is generated."""
    size = sum(len(entry.value.text) + 50 for entry in description.assignments)
    return max(2, min(MAX_JOBS, MAX_WORK // (1 + size)))


def _texts(description: Description, given: Sequence[Variable]) -> Iterator[str]:
    """Yield each text that may refer to a macro."""
    yield from (one.value.text for one in description.assignments)
    yield from (one.value.text for one in given)
    yield from (item.text for queue in description.queues for item in queue.items)
    yield from (job.row.text for job in description.jobs if job.row is not None)


def _macros_in(texts: Iterable[str]) -> set[str]:
    """Return the names that values refer to: a name among them that looks misspelt is a macro, not a command."""
    arguments = (words for text in texts for words in re.findall(r"\$\w*\(([^)]*)", text))
    return {name.lower() for words in arguments for name in re.findall(r"[\w.]+", words)}


#: Remarks whose subject is not text of the description.
_IN_WORDS = ("if-open", "if-condition", "queue", "nul-byte", "macro-loop", "too-long", "queue-blank")


def _quoted(code: str, what: str) -> str:
    return what if code in _IN_WORDS else shown(what)


def reader(directory: Path | None) -> Callable[[str], str | None]:
    """Return a function that reads the regular files of a directory for a description."""

    def read_file(name: str) -> str | None:
        if directory is None or not name or "\0" in name:
            return None
        try:
            path = directory / name
            # Regular files only: a device or a pipe would block.
            return decode(host_files.read_bytes(path))
        except (OSError, ValueError):
            return None

    return read_file


def _matcher(directory: Path | None) -> Callable[[str, str], list[str] | None]:
    def match(pattern: str, kind: str) -> list[str] | None:
        # Only below the directory: an untrusted pattern could walk the whole file system.
        if directory is None or not pattern or "\0" in pattern or ".." in pattern.split("/") or "**" in pattern:
            return None
        if pattern.startswith("/") or pattern.count("*") + pattern.count("?") + pattern.count("[") > MAX_WILDCARDS:
            return None
        wanted = {"files": Path.is_file, "dirs": Path.is_dir}.get(kind, Path.exists)
        try:
            found = islice(directory.glob(pattern), MAX_NAMES)
            before = "./" if pattern.startswith("./") else ""
            # condor_submit marks directories with a slash.
            return sorted(
                f"{before}{path.relative_to(directory)}{'/' if path.is_dir() else ''}" for path in found if wanted(path)
            )
        except (OSError, ValueError, NotImplementedError, re.error):
            return None

    return match
