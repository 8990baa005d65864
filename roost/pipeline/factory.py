"""The story of `inv factory`: the images are chosen, their graph is run on this machine, each ends with a verdict.

What is fresh is not made again: a rerun goes on where the one before was stopped or failed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roost.errors import RoostError, UsageError
from roost.events import Stages
from roost.factory.graph import STEPS, Kind, Node
from roost.factory.machine import Capacity, Machine
from roost.factory.outcome import IMAGE, Failure, Image, Outcome, Result
from roost.factory.progress import NodeEvents, Progress
from roost.host import capacity, interruption, paths
from roost.pipeline import boot as booting
from roost.pipeline import booted, changes, family, planning, publish, xen_dom0
from roost.pipeline import build as building
from roost.pipeline.context import Context, log_directory
from roost.pipeline.family import Family, Member
from roost.publish import gc, signature
from roost.publish.retention import Rules
from roost.publish.targets.kinds import open_target
from roost.publish.targets.target import Target
from roost.recipe.loader import Loaded
from roost.store import cache, lease, manifest

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: Bytes of memory that are left to everybody else.
SPARE = 512 << 20
#: Memory of a job for which `jobs` is chosen: less would wait more than it works.
PER_JOB = 1 << 30

Told = Callable[[BaseException], RoostError]


@dataclass(frozen=True, slots=True)
class Options:
    """How to run: `jobs` nodes at a time (None: what the machine allows), the catalogue, how many versions stay there.

    `since` is a revision of git: only images whose inputs changed since then. `public` and `key` are those of
    `inv publish`.
    """

    jobs: int | None = None
    publish: str | None = None
    keep: int | None = None
    since: str | None = None
    public: str | None = None
    key: Path | None = None
    require_kvm: bool = False

    def __post_init__(self) -> None:
        if self.jobs is not None and self.jobs < 1:
            raise UsageError(f"--jobs {self.jobs}: at least one image at a time")
        if self.keep is not None and self.keep < 1:
            raise UsageError(f"--keep {self.keep}: the latest version always stays", hint="--keep 1, or more")
        if self.publish is None:
            for name in ("keep", "public", "key"):
                if getattr(self, name) is not None:
                    raise UsageError(f"--{name} is about a catalogue", hint="name it: --publish URL")


@dataclass(slots=True)
class Factory:
    """One run. `result` can be asked for at any time, also after an interruption."""

    options: Options
    progress: Progress
    told: Told
    family: Family
    notes: list[str] = field(default_factory=list)
    _machine: Machine | None = None
    _started: float = field(default_factory=time.monotonic)
    _target: Target | None = None
    _key: Ed25519PrivateKey | None = None

    def run(self) -> Result:
        """Run the graph to its end; raise `KeyboardInterrupt` when the task is told to end."""
        if self.options.publish is not None:
            self._target = open_target(self.options.publish)
            # A key is made at its first use: before the work, so that nothing is built in vain.
            self._key = signature.load_private_key(self.options.key, _Notes(self.notes))
        self._machine = Machine(self.family.graph, self._work, self.capacity, self.progress)
        # What one image takes from the cache must not go while another is built.
        with lease.held():
            self._machine.run()
        return self.result()

    @property
    def capacity(self) -> Capacity:
        """What of this machine may be used."""
        free = max(0, capacity.memory_free() - SPARE)
        cores = capacity.cores()
        return Capacity(self.options.jobs or max(1, min(cores, free // PER_JOB)), cores, free)

    def result(self, *, stopped: bool = False) -> Result:
        """Return what became of all images by now."""
        outcomes = self._machine.outcomes if self._machine else {}
        images = tuple(self._image(member, outcomes) for member in self.family.members)
        seconds = time.monotonic() - self._started
        catalogue = self._target.url if self._target else None
        return Result(images, seconds, self.capacity.jobs, catalogue, tuple(self.notes), stopped)

    def _image(self, member: Member, outcomes: dict[str, Outcome]) -> Image:
        directory = str(member.loaded.build) if member.loaded is not None else ""
        steps: dict[Kind, Outcome] = {
            kind: outcomes.get(f"{kind} {member.key}", Outcome("stopped"))
            for kind in STEPS
            if f"{kind} {member.key}" in self.family.graph.nodes
        }
        return Image(member.name, member.called, directory, steps, member.broken)

    def _work(self, node: Node) -> Outcome:
        """Do a node's work; whatever goes wrong is its outcome."""
        events = NodeEvents(node, self.progress)
        loaded = self.family.recipes[node.key]
        try:
            work = {"layer": self._layer, "image": self._build, "boot": self._boot, "publish": self._publish}[node.kind]
            done = work(node, loaded, events)
            return Outcome(done.state, failure=done.failure, facts=done.facts, notes=tuple(events.notes))
        except Exception as error:
            if interruption.interrupted():
                # Its tools were killed: that is no fault of the image.
                return Outcome("stopped")
            wrong = self.told(error)
            lines = "\n".join(str(problem) for problem in wrong.problems)
            log = str(wrong.log) if wrong.log else None
            failure = Failure(lines, wrong.exit_code, log, wrong.tail)
            return Outcome("failed", failure=failure, notes=tuple(events.notes))

    def _layer(self, node: Node, loaded: Loaded, events: NodeEvents) -> Outcome:
        """Make what several images are made of, so that none of them waits for another's."""
        stages = Stages(events)
        if node.key == family.DOM0:
            xen_dom0.provide(stages)
            return Outcome("done")
        directory = Path(f"{loaded.build}.{node.key.replace(' ', '-')}")
        context = Context(
            loaded, directory, stages, log_directory(directory), parent=building.parent_of(loaded, stages)
        )
        plan = planning.plan(context)
        if plan.tree is not None:
            plan.tree.make(cache.default(), stages, context.log_dir)
        return Outcome("done" if stages.seconds else "cached")

    def _build(self, _node: Node, loaded: Loaded, events: NodeEvents) -> Outcome:
        record = manifest.read(loaded.build)
        lost = manifest.changed_files(loaded.build, record.files) if record is not None else []
        if lost:
            events.note(f"{', '.join(lost)} changed since the build: building it again")
        built = building.image(loaded, events=events)
        return Outcome("cached" if built.cached else "done")

    def _boot(self, _node: Node, loaded: Loaded, events: NodeEvents) -> Outcome:
        """Boot each side that has no verdict which passed; all of them are booted, also after one that failed."""
        verdicts, now = [], False
        for hypervisor in loaded.recipe.hypervisors:
            insists = self.options.require_kvm and hypervisor == "kvm"
            if not booted.counts(loaded, hypervisor, require_kvm=insists):
                options = booting.Options(hypervisor=hypervisor, require_kvm=insists)
                booting.image(loaded, events=events, options=options)
                now = True
            verdicts.append(booted.verdict(loaded.build, hypervisor))
        facts: dict[str, Any] = {"verdicts": verdicts}
        bad = [one for one in verdicts if not one["passed"]]
        if bad:
            text = "\n".join(
                f"{one['hypervisor']}: {one['cause']} (phase {one['phase']}): {one['detail']}" for one in bad
            )
            return Outcome("failed", failure=Failure(text, tail=str(bad[0]["console"])), facts=facts)
        return Outcome("done" if now else "cached", facts=facts)

    def _publish(self, _node: Node, loaded: Loaded, events: NodeEvents) -> Outcome:
        assert self._target is not None and self._key is not None
        options = publish.Options(public=self.options.public, require_kvm=self.options.require_kvm)
        done = publish.hand_over(loaded, self._target, private_key=self._key, events=events, options=options)
        facts = {"version": done.release.version, "url": f"{done.url}/{done.release.directory}"}
        failure = self._drop_old(loaded.recipe.name, events)
        if failure is not None:
            return Outcome("failed", failure=failure, facts=facts)
        return Outcome("done" if done.new else "cached", facts=facts)

    def _drop_old(self, name: str, events: NodeEvents) -> Failure | None:
        """Remove the versions of an image that are too many; return why some that should go stay."""
        if self.options.keep is None or self._target is None:
            return None
        try:
            kept = gc.collect(f"{self._target.url}/{name}", Rules(keep=self.options.keep), events, delete=True)
            wrong = [f"{item.what}: {item.problem}" for item in kept.items if item.problem]
            code = IMAGE
        except RoostError as error:
            wrong, code = [str(problem) for problem in error.problems], error.exit_code
        lines = [f"published, but an old version is not removed: {one}" for one in wrong]
        return Failure("\n".join(lines), code) if lines else None


@dataclass(frozen=True, slots=True)
class _Notes:
    """Events that keep notes for the reports, of work that belongs to no node."""

    notes: list[str]

    def begin(self, name: str, detail: str) -> None:
        """Ignore the start of a stage."""

    def end(self, name: str, seconds: float, ok: bool) -> None:
        """Ignore the end of a stage."""

    def progress(self, name: str, done: float, total: float) -> None:
        """Ignore progress."""

    def note(self, text: str) -> None:
        """Keep a note."""
        self.notes.append(text)


def prepare(names: Sequence[str], options: Options, progress: Progress, told: Told) -> Factory:
    """Return the factory of recipes, nothing done yet; none named: all of the project's.

    Raises `RecipeError` for a name that is no recipe's, `UsageError` for a call that cannot be carried out.
    """
    members = family.chosen(names, paths.project_root())
    notes: list[str] = []
    if options.since is not None:
        members, notes = changes.since(members, options.since)
    if options.publish is not None:
        family.require_names(members)
    return Factory(options, progress, told, family.family(members, publish=options.publish is not None), notes)
