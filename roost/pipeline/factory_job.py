"""A job of a factory's workflow: one node, with the files that HTCondor transferred; and the final report.

A job has its own directory and cache, and leaves one archive and one result.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from roost.boot import report as boot_report
from roost.errors import HostError, ImageError
from roost.events import Stages
from roost.factory import dagman, junit, kit, markdown, page, task, usage
from roost.factory.graph import STEPS, Kind, Node
from roost.factory.outcome import HOST, Failure, Image, Outcome, Result
from roost.factory.progress import NodeEvents, Progress
from roost.factory.task import Plan, Task
from roost.host import checksum, output, paths
from roost.pipeline import factory_steps as steps
from roost.pipeline import planning, xen_dom0
from roost.pipeline import publish as publishing
from roost.pipeline.factory_steps import Publication, Told
from roost.publish import signature
from roost.publish.targets.kinds import open_target
from roost.recipe import loader
from roost.recipe.loader import Loaded
from roost.sources import mmdebstrap
from roost.store import cache, keys, lease

#: Directories of a workflow.
OUT, RESULTS, TASKS, WORK = "out", "results", "tasks", "work"
PLAN = "plan.json"


def remote(node: str, here: Path, progress: Progress, told: Told) -> int:
    """Do the work of a layer, a build or a test boot in the directory `here`; return the job's exit status."""
    given = task.task(here / f"{node}.json")
    work = here / WORK
    one = Node(node, given.kind, node, node)

    def carry(events: NodeEvents) -> Outcome:
        loaded = _prepared(given, here, work)
        with lease.held():
            return _WORK[given.kind](given, loaded, here, events)

    return _finished(one, here / f"{node}.result.json", progress, told, carry)


def on_access_point(node: str, home: Path, progress: Progress, told: Told) -> int:
    """Do the work of a publication, or write the reports, in the directory of the workflow."""
    plan = task.plan(home / PLAN)
    if node == dagman.REPORT:
        return report(plan, home)
    given = task.task(home / TASKS / f"{node}.json")
    # The verdicts were sealed with the workflow's own key.
    os.environ["ROOST_STATE"] = str(home / "state")

    def carry(events: NodeEvents) -> Outcome:
        if plan.publish is None:
            raise HostError("the workflow has no catalogue")
        work = home / WORK / node
        shutil.rmtree(work, ignore_errors=True)
        try:
            loaded = _prepared(given, home, work)
            key = signature.load_private_key(Path(plan.key) if plan.key else None, events)
            options = publishing.Options(public=plan.public, require_kvm=plan.require_kvm)
            place = Publication(open_target(plan.publish), key, options, plan.keep)
            return steps.publish(loaded, events, place)
        finally:
            os.chdir(home)
            shutil.rmtree(work, ignore_errors=True)

    one = Node(node, given.kind, node, node)
    return _finished(one, home / RESULTS / f"{node}.result.json", progress, told, carry)


def _finished(node: Node, result: Path, progress: Progress, told: Told, work: Callable[[NodeEvents], Outcome]) -> int:
    start = time.monotonic()
    progress.began(node)
    done = steps.carried_out(node, progress, told, work)
    done = replace(done, seconds=round(time.monotonic() - start, 1))
    progress.ended(node, done)
    task.write(result, done)
    return 0 if done.good else done.failure.code if done.failure else HOST


def _prepared(given: Task, here: Path, work: Path) -> Loaded:
    """Unpack the recipe and the images that it needs; return the checked recipe. Its project becomes current."""
    kit.unpack(_transferred(here, given.kit), work)
    _pinned(here)
    project = work / given.project
    project.mkdir(parents=True, exist_ok=True)
    os.environ["ROOST_ROOT"] = str(project)
    os.chdir(project)
    for node, recipe in given.images.items():
        image = loader.load(work / recipe, paths.project_root(), (), planning.problems)
        kit.unpack(_transferred(here, f"{OUT}/{node}.tar"), image.build.parent)
    loaded = loader.load(work / given.recipe, paths.project_root(), (), planning.problems)
    if given.boot is not None:
        kit.unpack(_transferred(here, f"{OUT}/{given.boot}.tar"), loaded.build)
    return loaded


def _transferred(here: Path, name: str) -> Path:
    """Return a file of the workflow: HTCondor puts all inputs of a job into one directory."""
    found = next((path for path in (here / name, here / Path(name).name) if path.is_file()), None)
    if found is None or found.stat().st_size == 0:
        raise HostError(f"{name} was not transferred with the job")
    return found


def _pinned(here: Path) -> None:
    """Use the archive's state from when the workflow was written, so that all jobs build from the same one."""
    index = here / "index.tar"
    if index.is_file() and not (here / TASKS).is_dir():
        cache_root = paths.cache_root()
        kit.unpack(index, cache_root)
        for path in (cache_root / "index").iterdir():
            path.rename(cache_root / path.name)


def _layer(given: Task, loaded: Loaded, here: Path, events: NodeEvents) -> Outcome:
    stages = Stages(events)
    if given.dom0 == given.node:
        made = steps.first_domain(events)
        kit.pack_tree(Path(made.facts["directory"]), here / f"{given.node}.tar")
        return Outcome("done")
    context, plan = steps.planned(loaded, "layer", stages)
    if not isinstance(plan.tree, mmdebstrap.Installed):
        raise ImageError(f"{given.recipe} does not install a tree from packages")
    tar = plan.tree.make(cache.default(), stages, context.log_dir)
    target = here / f"{given.node}.tar"
    target.unlink()
    shutil.copyfile(tar, target)
    facts = {"inputs": keys.digest(plan.tree.inputs()), "sha256": checksum.sha256(target), "epoch": plan.tree.epoch}
    return Outcome("done", facts=facts)


def _image(given: Task, loaded: Loaded, here: Path, events: NodeEvents) -> Outcome:
    if given.layer is not None:
        _adopt(given.layer, loaded, here, events)
    done = steps.build(loaded, events)
    kit.pack_tree(loaded.build, here / f"{given.node}.tar")
    return done


def _adopt(layer: str, loaded: Loaded, here: Path, events: NodeEvents) -> None:
    """Take the tree that another job installed, if its inputs are those of this job."""
    outcome = task.result(_transferred(here, f"{RESULTS}/{layer}.result.json"))
    tar = _transferred(here, f"{OUT}/{layer}.tar")
    _, plan = steps.planned(loaded, "layer", Stages(events))
    if outcome is None or not isinstance(plan.tree, mmdebstrap.Installed):
        raise HostError(f"the result of {layer} cannot be read")
    if outcome.facts.get("sha256") != checksum.sha256(tar):
        raise HostError(f"{layer}.tar is not the file that {layer} made")
    if outcome.facts.get("inputs") != keys.digest(plan.tree.inputs()):
        events.note("the tree of the layer was made from other inputs: installing it again")
        return
    epoch = outcome.facts.get("epoch")
    if not isinstance(epoch, int) or isinstance(epoch, bool):
        raise HostError(f"the result of {layer} does not record the time of its packages")
    mmdebstrap.adopt(plan.tree.wanted, cache.default(), tar, epoch)


def _boot(given: Task, loaded: Loaded, here: Path, events: NodeEvents) -> Outcome:
    if given.dom0 is not None:
        # Stored under its key: that of another version of roost would not be found.
        kit.unpack(_transferred(here, f"{OUT}/{given.dom0}.tar"), paths.cache_root() / xen_dom0.STAGE)
    done = steps.boot(loaded, events, require_kvm=given.require_kvm)
    kit.pack_tree(loaded.build / "boot", here / f"{given.node}.tar")
    return done


_WORK: dict[Kind, Callable[[Task, Loaded, Path, NodeEvents], Outcome]] = {
    "layer": _layer,
    "image": _image,
    "boot": _boot,
}


def report(plan: Plan, home: Path) -> int:
    """Write the reports of a workflow from its jobs' results; return the exit status, which is the workflow's."""
    images = tuple(_collected(row, home) for row in plan.rows)
    result = Result(images, time.time() - plan.started, plan.jobs, plan.publish, plan.notes)
    output.write(home / "result.json", _json(result))
    places = {"junit": str(home / "junit.xml"), "markdown": str(home / "summary.md"), **plan.reports}
    output.write(Path(places["junit"]), junit.render(result))
    output.write(Path(places["markdown"]), markdown.render(result).encode())
    page.write(result, Path(plan.reports.get("html", str(home / "html"))))
    # Without them the next workflow requests as many resources as this one.
    with contextlib.suppress(OSError):
        usage.remember(usage.place(), usage.of_log(home / "factory.dag.nodes.log"))
    if result.ok:
        _tidy(plan, home)
    return result.code


def _tidy(plan: Plan, home: Path) -> None:
    """Remove what only the nodes needed of each other; images that were not published stay, as the only copy.

    After a failure all of it stays: DAGMan's rescue file counts on it.
    """
    kept = set() if plan.publish else {row.nodes["image"] for row in plan.rows if "image" in row.nodes}
    for path in (home / OUT).glob("*.tar"):
        if path.stem not in kept:
            with contextlib.suppress(OSError):
                path.unlink()


def _json(result: Result) -> bytes:
    return (json.dumps(result.to_json(), indent=2) + "\n").encode()


def _collected(row: task.Row, home: Path) -> Image:
    """Return the result of one image: its verdicts, with the reports of its test boots unpacked."""
    done: dict[Kind, Outcome] = {}
    place = home / "boots" / row.nodes.get("boot", "none")
    failed: Failure | None = None
    for kind in STEPS:
        if kind not in row.nodes:
            continue
        found = task.result(home / RESULTS / f"{row.nodes[kind]}.result.json")
        if found is None:
            lost = Failure(f"the job {row.nodes[kind]} left no result: see log/ and factory.dag.dagman.out", HOST)
            found = Outcome("skipped" if failed else "failed", failure=failed or lost)
        done[kind] = found
        failed = failed or found.failure
    archive = home / OUT / f"{row.nodes.get('boot', 'none')}.tar"
    if "boot" in done and (archive.is_file() or place.is_dir()):
        done["boot"] = _with_reports(done["boot"], archive, place)
    return Image(row.name, row.called, str(place), done, row.broken)


def _with_reports(boot: Outcome, archive: Path, place: Path) -> Outcome:
    verdicts = []
    if archive.is_file():
        shutil.rmtree(place, ignore_errors=True)
        if archive.stat().st_size:
            kit.unpack(archive, place)
    for one in boot.facts.get("verdicts", ()):
        # Its path on the machine that booted it is of no use here.
        verdicts.append({**one, "report": str(place / "boot" / boot_report.place(one["hypervisor"]))})
    return replace(boot, facts={**boot.facts, "verdicts": verdicts})
