"""The steps of `inv factory`: the images are selected, their graph is run on this machine, each gets a verdict.

Fresh results are not made again: a rerun continues where the last one was interrupted or failed.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from roost.errors import UsageError
from roost.events import Silent
from roost.factory.graph import Node
from roost.factory.machine import Capacity, Machine
from roost.factory.outcome import Image, Outcome, Result
from roost.factory.progress import NodeEvents, Progress
from roost.host import capacity, paths
from roost.host.pool import Pool
from roost.pipeline import ahead, changes, family, publish
from roost.pipeline import factory_steps as steps
from roost.pipeline.factory_steps import Publication, Told
from roost.pipeline.family import Family, Member
from roost.publish import signature
from roost.publish.targets.kinds import local_path, open_target
from roost.recipe.loader import Loaded
from roost.store import lease

#: Bytes of memory that are left for others.
SPARE = 512 << 20
#: Memory per job when choosing `jobs`: with less, jobs would mostly wait.
PER_JOB = 1 << 30


@dataclass(frozen=True, slots=True)
class Options:
    """How to run: `jobs` nodes at a time (None: the machine's limit), the catalogue, the versions to keep there.

    `since` is a git revision: only images whose inputs have changed since. `public` and `key` are those of `inv
    publish`.
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
        if self.publish is not None:
            # A workflow opens it only when its images are built.
            local_path(self.publish)
        else:
            for name in ("keep", "public", "key"):
                if getattr(self, name) is not None:
                    raise UsageError(f"--{name} is for a catalogue", hint="name it: --publish URL")


@dataclass(slots=True)
class Factory:
    """One run. `result` can be called at any time, also after an interruption."""

    options: Options
    progress: Progress
    told: Told
    family: Family
    notes: list[str] = field(default_factory=list)
    _machine: Machine | None = None
    _started: float = field(default_factory=time.monotonic)
    _publication: Publication | None = None
    _capacity: Capacity | None = None

    def run(self) -> Result:
        """Run the graph to its end; raise `KeyboardInterrupt` when the task is interrupted."""
        one = self.options
        if one.publish is not None:
            # A key is made at its first use: do it first, so that no work is wasted if it fails.
            key = signature.load_private_key(one.key, _Notes(self.notes))
            options = publish.Options(public=one.public, require_kvm=one.require_kvm)
            self._publication = Publication(open_target(one.publish), key, options, one.keep)
        self._machine = Machine(self.family.graph, self._work, self.capacity, self.progress)
        # Cache entries of one image must not be removed while another is built.
        with lease.held(), Pool(max_workers=1) as pool:
            if (shared := self._layer()) is not None and self.capacity.jobs > 1:
                pool.submit(ahead.prepare, shared)
            self._machine.run()
        return self.result()

    def _layer(self) -> Loaded | None:
        """Return the recipe of the first layer that images share."""
        layers = (node.key for node in self.family.graph if node.kind == "layer" and node.key != family.DOM0)
        return next((self.family.recipes[key] for key in layers), None)

    @property
    def capacity(self) -> Capacity:
        """The available resources of this machine, as at the start."""
        if self._capacity is None:
            free = max(0, capacity.memory_free() - SPARE)
            cores = capacity.cores()
            self._capacity = Capacity(self.options.jobs or max(1, min(cores, free // PER_JOB)), cores, free)
        return self._capacity

    def result(self, *, stopped: bool = False) -> Result:
        """Return the current results of all images."""
        outcomes = self._machine.outcomes if self._machine else {}
        images = tuple(self._image(member, outcomes) for member in self.family.members)
        seconds = time.monotonic() - self._started
        catalogue = self._publication.target.url if self._publication else None
        return Result(images, seconds, self.capacity.jobs, catalogue, tuple(self.notes), stopped)

    def _image(self, member: Member, outcomes: dict[str, Outcome]) -> Image:
        directory = str(member.loaded.build) if member.loaded is not None else ""
        done = {kind: outcomes.get(key, Outcome("stopped")) for kind, key in self.family.steps(member).items()}
        return Image(member.name, member.called, directory, done, member.broken)

    def _work(self, node: Node) -> Outcome:
        """Do a node's work; every error becomes its outcome."""
        return steps.carried_out(node, self.progress, self.told, lambda events: self._step(node, events))

    def _step(self, node: Node, events: NodeEvents) -> Outcome:
        loaded = self.family.recipes[node.key]
        if node.key == family.DOM0:
            return steps.first_domain(events)
        if node.kind == "layer":
            return steps.layer(loaded, node.key, events)
        if node.kind == "image":
            return steps.build(loaded, events)
        if node.kind == "boot":
            return steps.boot(loaded, events, require_kvm=self.options.require_kvm)
        assert self._publication is not None
        return steps.publish(loaded, events, self._publication)


@dataclass(frozen=True, slots=True)
class _Notes(Silent):
    """Events that collect notes for the reports, for work outside of any node."""

    notes: list[str]

    def note(self, text: str) -> None:
        """Store a note."""
        self.notes.append(text)


def prepare(names: Sequence[str], options: Options, progress: Progress, told: Told) -> Factory:
    """Return the factory of recipes, before any work; no names means all of the project's.

    Raises `RecipeError` for an unknown recipe, `UsageError` for invalid options.
    """
    members, notes = chosen(names, options)
    return Factory(options, progress, told, family.family(members, publish=options.publish is not None), notes)


def chosen(names: Sequence[str], options: Options) -> tuple[list[Member], list[str]]:
    """Return the selected images, and notes on the selection; raises as `prepare` does."""
    members = family.chosen(names, paths.project_root())
    notes: list[str] = []
    if options.since is not None:
        members, notes = changes.since(members, options.since)
    if options.publish is not None:
        family.require_names(members)
    return members, notes
