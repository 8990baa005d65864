"""The steps of `inv factory --dag DIR`: the same graph as a directory that DAGMan runs.

DIR/factory.dag             the workflow; layer.sub, image.sub, boot.sub, publish.sub, report.sub are its jobs
DIR/node, wheels/           what a job runs: a script, and roost as a wheel; put wheels of dependencies there too
DIR/kits/, index.tar        recipes with all that they name; the state of the archives that all jobs build from
DIR/tasks/, plan.json       what each node does
DIR/out/, results/, log/    what the jobs leave
DIR/junit.xml, summary.md, html/, result.json    the reports, written by the last node
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

from roost.errors import RecipeError, UsageError
from roost.events import Events, Stages
from roost.factory import dagman, kit, task, usage, wheel
from roost.factory.graph import Graph, Node
from roost.factory.outcome import Failure
from roost.factory.task import Plan, Report, Row, Task
from roost.host import paths
from roost.pipeline import factory, factory_steps, family, planning
from roost.pipeline.factory import Options
from roost.pipeline.factory_job import OUT, PLAN, RESULTS, TASKS
from roost.pipeline.family import Family, Member
from roost.publish.targets.kinds import local_path
from roost.recipe import localfiles
from roost.recipe.loader import Loaded, absolute
from roost.recipe.words import shown
from roost.sources import archive, solver
from roost.store import staging

#: The unpacked wheel, for the jobs on the access point.
LIBRARY = "lib"


@dataclass(frozen=True, slots=True)
class Written:
    """A written workflow; `broken` are the images left out of it."""

    directory: Path
    nodes: int
    images: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def code(self) -> int:
        """The exit code: that of the recipes left out of the workflow."""
        return max((row.broken.code for row in self.images if row.broken), default=0)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of `inv factory --dag DIR --json`."""
        return {
            "ok": all(row.broken is None for row in self.images),
            "dag": str(self.directory / "factory.dag") if self.nodes else None,
            "directory": str(self.directory),
            "nodes": self.nodes,
            "images": [
                {
                    "name": row.name,
                    "called": row.called,
                    "built": False,
                    "booted": False,
                    "published": False,
                    "cause": row.broken.brief if row.broken else None,
                    "seconds": 0.0,
                    "nodes": dict(row.nodes),
                }
                for row in self.images
            ],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class Jobs:
    """How the jobs run: in a container or not; where the last one writes reports, absolute paths by kind."""

    container: str | None = None
    reports: Mapping[Report, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.container is not None and not re.fullmatch(r"[A-Za-z0-9._+/:@-]+", self.container):
            raise UsageError(f"not a container image: '{shown(self.container)}'", hint="docker://IMAGE, or a .sif file")


def write(names: Sequence[str], directory: Path, options: Options, jobs: Jobs, events: Events) -> Written:
    """Write the workflow of recipes into a new directory; nothing is submitted.

    Raises `UsageError` for a directory that exists, `RecipeError` for one whose path DAGMan cannot parse.
    """
    home = _home(directory)
    members, notes = factory.chosen(names, options)
    members = [_transferable(member) for member in members]
    made = family.family(members, publish=options.publish is not None)
    graph = _without_local_layers(made)
    nodes = dagman.names(graph)
    rows = tuple(_row(member, made, nodes) for member in members)
    if not len(graph):
        return Written(home, 0, rows, tuple(notes))
    plan = Plan(
        rows, options.jobs or 0, time.time(), _catalogue(options.publish), options.keep, options.public,
        str(options.key.absolute()) if options.key else None, options.require_kvm, dict(jobs.reports), tuple(notes),
    )  # fmt: skip
    with staging.passing_lock(home, lambda: None), staging.staged(home) as new:
        for name in ("kits", OUT, RESULTS, TASKS, "log", "wheels", "state", "boots"):
            (new / name).mkdir()
        _index(made, new, events)
        tasks = _tasks(made, graph, nodes, new)
        for name, one in tasks.items():
            task.write(new / TASKS / f"{name}.json", replace(one, require_kvm=options.require_kvm))
        task.write(new / PLAN, plan)
        # Publications use the code that booted: a verdict of another version of roost would not be trusted.
        python, path = (sys.executable, "-P"), _python_path(home)
        flow = dagman.Workflow(
            graph, nodes, {key: _inputs(tasks[nodes[key]]) for key in graph.nodes}, home,
            python, path, jobs.container, options.jobs, usage.read(usage.place()),
        )  # fmt: skip
        _files(new, flow)
    return Written(home, len(graph), rows, tuple(notes))


def _python_path(home: Path) -> str:
    """Return PYTHONPATH for jobs on the access point: the workflow's own roost, then the library paths of this one."""
    mine = [str(absolute(Path(one))) for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    return os.pathsep.join([str(home / LIBRARY), *mine])


def _home(directory: Path) -> Path:
    home = Path(os.path.abspath(directory)).resolve()  # noqa: PTH100
    if home.exists() and (not home.is_dir() or any(home.iterdir())):
        resume = home / "factory.dag"
        hint = f"condor_submit_dag {resume} resumes it" if resume.is_file() else "name a new directory"
        raise UsageError(f"{home} exists already", hint=hint)
    return home


def _catalogue(url: str | None) -> str | None:
    """Return the catalogue as an absolute path or URL, since jobs run in another directory."""
    path = None if url is None else local_path(url)
    if path is None:
        return url
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 - links stay as they are named


def _transferable(member: Member) -> Member:
    """Return an image, marked broken if its jobs could not access its inputs on another machine."""
    if member.loaded is None:
        return member
    try:
        if member.loaded.recipe.submit.transfer == "shared":
            raise UsageError(
                f"{member.called}: submit.transfer is shared, but each job builds in a directory of its own",
                hint="build it here with inv factory, or use `transfer: files`",
            )
        _kit_inputs((member.loaded, *member.parents))
    except UsageError as error:
        return Member(member.name, member.called, broken=Failure(str(error), error.exit_code))
    return member


def _without_local_layers(made: Family) -> Graph:
    """Return the graph without layers that jobs cannot transfer: only an installed tree is a single file."""
    kept = [
        node for node in made.graph
        if node.kind != "layer" or node.key == family.DOM0 or made.recipes[node.key].recipe.os.source.installs
    ]  # fmt: skip
    keys = {node.key for node in kept}
    return Graph.of(replace(node, after=tuple(key for key in node.after if key in keys)) for node in kept)


def _row(member: Member, made: Family, nodes: Mapping[str, str]) -> Row:
    own = {kind: nodes[key] for kind, key in made.steps(member).items()}
    return Row(member.name, member.called, own, member.broken)


def _kit_inputs(recipes: Sequence[Loaded]) -> list[Path]:
    """Return all files of a recipe and of those on which it is based, without files shipped with roost."""
    files: list[Path] = []
    named: list[tuple[Path, str]] = []
    for one in recipes:
        files += [path for path in one.files if not _shipped(path)]
        named += [(one.directory, name) for name in localfiles.names(one.positions)]
        try:
            spec = planning.kernel_spec(one)
        except RecipeError:
            continue
        if not _shipped(Path(spec.path)):
            named += [(Path(spec.path).parent, part.path) for part in spec.parts.values() if part.path is not None]
    project = paths.project_root()
    if (project / "recipes").is_dir() and (project / "kernels").is_dir():
        # The whole catalogue of kernels: hints name the others.
        files += sorted((project / "kernels").glob("*.yaml"))
    return kit.inputs(files, named)


def _shipped(path: Path) -> bool:
    """Return whether a file is part of an installed roost, and so of its wheel."""
    shipped = paths.shipped_root()
    return path.is_relative_to(shipped) and not shipped.is_relative_to(paths.project_root())


def _index(made: Family, new: Path, events: Events) -> None:
    """Write the state of the archives from which the trees are installed."""
    seen = set()
    since = time.time() - 2
    for loaded, *_ in made.lineages.values():
        layer = family.layer_of(loaded)
        if not loaded.recipe.os.source.installs or layer in seen:
            continue
        seen.add(layer)
        factory_steps.planned(loaded, "dag", Stages(events))
    copy = new / "index"
    (copy / "inrelease").mkdir(parents=True)
    (copy / "inrelease" / archive.PINNED).write_text("all jobs of a workflow build from this state of the archives\n")
    root = paths.cache_root()
    for path in root.glob("inrelease/*"):
        shutil.copy2(path, copy / "inrelease")
    for stage in (solver.STAGE.name, solver.LISTS.name):
        # Use updates the time of a cache entry: recent entries are those with which these recipes are planned.
        for path in root.glob(f"{stage}/[!.]*"):
            if path.stat().st_mtime >= since:
                shutil.copytree(path, copy / stage / path.name)
    kit.pack_tree(copy, new / "index.tar")
    shutil.rmtree(copy)


def _tasks(made: Family, graph: Graph, nodes: Mapping[str, str], new: Path) -> dict[str, Task]:
    """Write the kits; return the task of each node by its name."""
    inputs = {key: _kit_inputs(line) for key, line in made.lineages.items()}
    project = paths.project_root()
    top = kit.root([*(path for files in inputs.values() for path in files), project / "x"])
    kits: dict[tuple[Path, ...], str] = {}
    found = {}
    for node in graph:
        loaded = made.recipes[node.key]
        content = tuple(inputs[str(loaded.build)])
        if content not in kits:
            kits[content] = f"kits/kit-{len(kits) + 1}.tar"
            kit.pack(top, content, new / kits[content])
        found[nodes[node.key]] = _task(node, loaded, made, nodes, (top, project, kits[content]))
    return found


def _task(node: Node, loaded: Loaded, made: Family, nodes: Mapping[str, str], place: tuple[Path, Path, str]) -> Task:
    top, project, packed = place

    def named(one: Loaded) -> str:
        return str(one.path.with_name(one.recipe.name).relative_to(top))

    own = [] if node.kind in {"layer", "image"} else [loaded]
    layer = next((nodes[key] for key in node.after if key.startswith("layer ") and key != family.DOM0), None)
    dom0 = nodes[family.DOM0] if family.DOM0 in (node.key, *node.after) else None
    standing = {nodes[f"image {one.build}"]: named(one) for one in (*made.lineages[str(loaded.build)][1:], *own)}
    boot = nodes[f"boot {loaded.build}"] if node.kind == "publish" else None
    relative = str(project.relative_to(top))
    return Task(nodes[node.key], node.kind, named(loaded), relative, packed, layer, standing, boot, dom0)


def _inputs(one: Task) -> list[str]:
    """Return a job's inputs in addition to the common ones."""
    found = [one.kit]
    if one.layer is not None:
        found += [f"{OUT}/{one.layer}.tar", f"{RESULTS}/{one.layer}.result.json"]
    found += [f"{OUT}/{one.dom0}.tar"] if one.dom0 not in {None, one.node} else []
    return found + [f"{OUT}/{node}.tar" for node in one.images]


def _files(new: Path, flow: dagman.Workflow) -> None:
    (new / "factory.dag").write_text(dagman.render(flow))
    for name, text in dagman.descriptions(flow).items():
        (new / name).write_text(text)
    script = new / "node"
    script.write_bytes((resources.files("roost.factory") / "node.sh").read_bytes())
    script.chmod(0o755)
    wheel.unpack(wheel.write(new / "wheels"), new / LIBRARY)
    (new / "wheels/requirements.txt").write_text("".join(f"{one}\n" for one in wheel.requirements()))
    # A separate key for the workflow's verdicts: that of this account is not copied.
    key = secrets.token_bytes(32)
    for path in (new / "verdict.key", new / "state/verdict.key"):
        path.touch(mode=0o600)
        path.write_bytes(key)
