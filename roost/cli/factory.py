"""The task `factory`: many images, built, booted and published; its reports for people and for CI."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from roost.cli import lastresort, terminal
from roost.cli.verb import finish, verb
from roost.errors import HostError, RoostError, UsageError

if TYPE_CHECKING:
    from roost.factory.outcome import Result
    from roost.factory.task import Report
    from roost.pipeline.factory import Options
    from roost.pipeline.factory_dag import Written


HOST = HostError.exit_code
#: The last lines of a failure's log or console that are shown; the report of a test boot has all.
LAST = 8


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of `factory`."""

    jobs: str = ""
    publish: str = ""
    to: str = ""
    keep: str = ""
    changed_since: str = ""
    junit: str = ""
    markdown: str = ""
    html: str = ""
    public: str = ""
    key: str = ""
    require_kvm: bool = False
    dag: str = ""
    container: str = ""


@verb(
    rest="names",
    help={
        "names": "recipes, their paths, or directories of them; a matrix is all of its images",
        "jobs": "how many images are worked on at a time; default: what cores and memory allow",
        "publish": "the catalogue: what passed is published there; a directory or URL, as for inv publish --to",
        "to": "the same as --publish",
        "keep": "how many versions of each image stay in the catalogue",
        "changed-since": "only images of which an input changed since this revision of git, such as origin/main",
        "junit": "write the result as JUnit XML to this file",
        "markdown": "write the result as Markdown to this file, such as $GITHUB_STEP_SUMMARY",
        "html": "write a page with every verdict, and the reports of the test boots, into this directory",
        "public": "the URL or path under which jobs find the catalogue, if that is not --publish",
        "key": "the private Ed25519 key to sign with, as for inv publish",
        "require-kvm": "insist on test boots under KVM",
        "dag": "write the work as an HTCondor DAGMan workflow into this new directory; --jobs then bounds its jobs",
        "container": "with --dag: an image with roost's tools for the jobs, such as docker://NAME or a .sif file",
    },
)
def factory(_context: object, flags: Flags, names: list[str] | None = None, json: bool = False) -> None:
    """Build and boot all images of the recipes NAMES (default: the project's); publish those that passed."""
    from roost.cli import factory_view
    from roost.pipeline import factory as story

    options = _options(flags)
    _require_places(flags)
    if flags.dag:
        written = _write_dag(names or [], flags, options)
        terminal.write_json(written.to_json()) if json else terminal.write_text(_shown_dag(written))
        finish(written.code == 0, written.code)
        return
    with factory_view.shown() as view:
        one = story.prepare(names or [], options, view, lastresort.told)
        view.expect(one.family.graph, one.family.broken())
        try:
            result = one.run()
        except KeyboardInterrupt:
            _written(one.result(stopped=True), flags, stopped=True)
            raise
    wrong = _written(result, flags)
    # The results are printed even if a report could not be written.
    result = replace(result, notes=(*result.notes, *wrong))
    terminal.write_json(result.to_json()) if json else terminal.write_text(_shown(result))
    finish(result.ok and not wrong, max(result.code, HOST if wrong else 0))


def _write_dag(names: list[str], flags: Flags, options: Options) -> Written:
    from roost.pipeline import factory_dag as story

    places: dict[Report, str] = {"junit": flags.junit, "markdown": flags.markdown, "html": flags.html}
    reports = {kind: str(Path(place).absolute()) for kind, place in places.items() if place}
    jobs = story.Jobs(flags.container or None, reports)
    with terminal.events() as events:
        return story.write(names, Path(flags.dag), options, jobs, events)


def _shown_dag(written: Written) -> str:
    from roost.factory.outcome import grouped

    mistakes = grouped({row.called: row.broken for row in written.images if row.broken})
    lines = [
        f"{names}: not in the workflow: {line}"
        for names, broken in mistakes.items()
        for line in broken.text.splitlines()
    ]
    lines += [f"note: {note}" for note in written.notes]
    if not written.nodes:
        return "\n".join([*lines, "no image to build: no workflow is written"])
    count = sum(1 for row in written.images if row.broken is None)
    lines += [f"{count} image{'s' if count != 1 else ''}, {written.nodes} nodes in {written.directory}", "", "next:"]
    return "\n".join([*lines, f"  condor_submit_dag {written.directory}/factory.dag"])


def _options(flags: Flags) -> Options:
    from roost.pipeline.factory import Options

    if flags.container and not flags.dag:
        raise UsageError("--container is for the jobs of a workflow", hint="--dag DIR")
    if flags.publish and flags.to and flags.publish != flags.to:
        raise UsageError("--publish and --to name two catalogues", hint="use one of them")
    return Options(
        jobs=_number("jobs", flags.jobs),
        publish=flags.publish or flags.to or None,
        keep=_number("keep", flags.keep),
        since=flags.changed_since or None,
        public=flags.public or None,
        key=Path(flags.key) if flags.key else None,
        require_kvm=flags.require_kvm,
    )


def _number(flag: str, text: str) -> int | None:
    if not text:
        return None
    if not text.isdecimal() or len(text) > 6:
        raise UsageError(f"--{flag} takes a whole number, not '{text}'")
    return int(text)


def _require_places(flags: Flags) -> None:
    """Raise `UsageError` before the work for reports that could not be written after it."""
    from roost.factory import page

    for flag, place in (("junit", flags.junit), ("markdown", flags.markdown)):
        if place and Path(place).is_dir():
            raise UsageError(f"--{flag} {place} is a directory", hint="name a file")
        if place and not Path(place).absolute().parent.is_dir():
            what = f"--{flag} {place} is in a directory that does not exist"
            raise UsageError(what, hint=f"mkdir -p {Path(place).parent}")
    if flags.html:
        page.require(Path(flags.html))


def _written(result: Result, flags: Flags, *, stopped: bool = False) -> list[str]:
    """Write the requested reports; return why some could not be written."""
    from roost.factory import junit, markdown, page
    from roost.host import output

    reports: list[tuple[str, Callable[[Path], object]]] = [
        (flags.junit, lambda path: output.write(path, junit.render(result))),
        (flags.markdown, lambda path: output.write(path, markdown.render(result).encode())),
        # A page of many reports takes longer than an interrupted task may take.
        ("" if stopped else flags.html, lambda path: page.write(result, path)),
    ]
    wrong = []
    for place, write in reports:
        try:
            if place:
                write(Path(place))
        except RoostError as error:
            wrong.append(f"a report could not be written: {error.problem}")
    return wrong


def _shown(result: Result) -> str:
    from roost.cli.show import indented, table
    from roost.factory.graph import STEPS
    from roost.factory.markdown import headline
    from roost.host.paths import display

    lines = []
    kinds = [kind for kind in STEPS if any(kind in image.steps for image in result.images)]
    if result.images:
        rows = [["image", *(STEPS[kind] for kind in kinds), "seconds", "version"]]
        for image in result.images:
            states = [image.steps[kind].state if kind in image.steps else "-" for kind in kinds]
            rows.append([result.title(image), *states, f"{image.seconds:.1f}", image.version or ""])
        lines += [table(rows), ""]
    for names, broken in result.mistakes.items():
        first, *others = broken.text.splitlines() or [""]
        lines += [f"{names}: {first}", *(f"  {line}" for line in others)]
    for image in result.images:
        if image.cause is not None and image.broken is None:
            lines.append(f"{result.title(image)}: {image.cause}")
            failure = image.failure
            lines += [indented("\n".join(failure.tail.splitlines()[-LAST:]))] if failure and failure.tail else []
            lines += [f"  log: {failure.log}"] if failure and failure.log else []
            reports = (str(one["report"]) for one in image.verdicts if not one["passed"])
            lines += [f"  report: {display(Path(report))}" for report in dict.fromkeys(reports)]
    lines += [f"note: {note}" for note in result.notes]
    lines.append(headline(result))
    if result.catalogue is not None:
        lines.append(f"catalogue: {result.catalogue}")
    return "\n".join(lines)
