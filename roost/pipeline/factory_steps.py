"""The steps of a factory's images, each as the work of one node, on this machine or in a job of a workflow.

Each returns its outcome; `carried_out` converts exceptions to one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roost.errors import RoostError
from roost.events import Stages
from roost.factory.graph import Node
from roost.factory.outcome import IMAGE, Failure, Outcome
from roost.factory.progress import NodeEvents, Progress
from roost.host import interruption
from roost.pipeline import boot as booting
from roost.pipeline import booted, planning, xen_dom0
from roost.pipeline import build as building
from roost.pipeline import publish as publishing
from roost.pipeline.context import Context, log_directory
from roost.pipeline.planning import BuildPlan
from roost.publish import gc
from roost.publish.retention import Rules
from roost.publish.targets.target import Target
from roost.recipe.loader import Loaded
from roost.store import cache, manifest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: Converts an exception to the error to report; the traceback of a bug is in its log.
Told = Callable[[BaseException], RoostError]


@dataclass(frozen=True, slots=True)
class Publication:
    """Where and how images are published; `keep` is the number of versions kept there, None for all."""

    target: Target
    key: Ed25519PrivateKey
    options: publishing.Options
    keep: int | None = None


def carried_out(node: Node, progress: Progress, told: Told, work: Callable[[NodeEvents], Outcome]) -> Outcome:
    """Return the outcome of a node's work, whatever error occurs."""
    events = NodeEvents(node, progress)
    try:
        done = work(events)
        return Outcome(done.state, failure=done.failure, facts=done.facts, notes=tuple(events.notes))
    except Exception as error:
        if interruption.interrupted():
            # Its tools were killed: that is not a fault of the image.
            return Outcome("stopped")
        wrong = told(error)
        lines = "\n".join(str(problem) for problem in wrong.problems)
        failure = Failure(lines, wrong.exit_code, str(wrong.log) if wrong.log else None, wrong.tail)
        return Outcome("failed", failure=failure, notes=tuple(events.notes))


def planned(loaded: Loaded, name: str, stages: Stages) -> tuple[Context, BuildPlan]:
    """Return the plan of an image, with its own context; `name` is that of its logs."""
    directory = Path(f"{loaded.build}.{name.replace(' ', '-')}")
    parent = building.parent_of(loaded, stages)
    context = Context(loaded, directory, stages, log_directory(directory), parent=parent)
    return context, planning.plan(context)


def layer(loaded: Loaded, name: str, events: NodeEvents) -> Outcome:
    """Make the root tree shared by several images, so that none of them waits for another's build."""
    stages = Stages(events)
    context, plan = planned(loaded, name, stages)
    if plan.tree is not None:
        plan.tree.make(cache.default(), stages, context.log_dir)
    return Outcome("done" if stages.seconds else "cached")


def first_domain(events: NodeEvents) -> Outcome:
    """Make Xen's first domain, which test boots under Xen share; `directory` is its place in the cache."""
    return Outcome("done", facts={"directory": str(xen_dom0.provide(Stages(events)).root.parent)})


def build(loaded: Loaded, events: NodeEvents) -> Outcome:
    """Build an image unless it is fresh."""
    record = manifest.read(loaded.build)
    lost = manifest.describe_changes(loaded.build, record.files) if record is not None else None
    if lost is not None:
        events.note(f"{lost}: building it again")
    built = building.image(loaded, events=events)
    return Outcome("cached" if built.cached else "done")


def boot(loaded: Loaded, events: NodeEvents, *, require_kvm: bool = False) -> Outcome:
    """Boot an image for each hypervisor without a passing verdict, also after a failed one."""
    verdicts, now = [], False
    for hypervisor in loaded.recipe.hypervisors:
        insists = require_kvm and hypervisor == "kvm"
        if not booted.counts(loaded, hypervisor, require_kvm=insists):
            options = booting.Options(hypervisor=hypervisor, require_kvm=insists)
            booting.image(loaded, events=events, options=options)
            now = True
        verdicts.append(booted.verdict(loaded.build, hypervisor))
    facts: dict[str, Any] = {"verdicts": verdicts}
    bad = [one for one in verdicts if not one["passed"]]
    if bad:
        lines = [f"{one['hypervisor']}: {one['cause']} (phase {one['phase']}): {one['detail']}" for one in bad]
        return Outcome("failed", failure=Failure("\n".join(lines), tail=str(bad[0]["console"])), facts=facts)
    return Outcome("done" if now else "cached", facts=facts)


def publish(loaded: Loaded, events: NodeEvents, place: Publication) -> Outcome:
    """Publish an image that was built and booted, then remove its excess versions."""
    done = publishing.hand_over(loaded, place.target, private_key=place.key, events=events, options=place.options)
    facts = {"version": done.release.version, "url": f"{done.url}/{done.release.directory}"}
    failure = _drop_old(loaded.recipe.name, events, place)
    if failure is not None:
        return Outcome("failed", failure=failure, facts=facts)
    return Outcome("done" if done.new else "cached", facts=facts)


def _drop_old(name: str, events: NodeEvents, place: Publication) -> Failure | None:
    """Remove the versions of an image beyond `keep`; return why some could not be removed."""
    if place.keep is None:
        return None
    try:
        kept = gc.collect(f"{place.target.url}/{name}", Rules(keep=place.keep), events, delete=True)
        wrong = [f"{item.what}: {item.problem}" for item in kept.items if item.problem]
        code = IMAGE
    except RoostError as error:
        wrong, code = [str(problem) for problem in error.problems], error.exit_code
    lines = [f"published, but an old version is not removed: {one}" for one in wrong]
    return Failure("\n".join(lines), code) if lines else None
