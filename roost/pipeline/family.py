"""The images of a factory, and the graph of their work: a layer shared by several images is a node of its own."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from roost.boot import xen_machine
from roost.errors import Problem, RecipeError, UsageError
from roost.factory.graph import STEPS, Graph, Kind, Needs, Node
from roost.factory.outcome import CALL, Failure
from roost.host import guestfs, paths
from roost.kernel import initrd_choice
from roost.pipeline import planning
from roost.recipe import loader
from roost.recipe.loader import Loaded
from roost.recipe.parent import parent
from roost.store import keys

MIB = 1 << 20
#: Bytes in addition to the memory of a guest or of libguestfs' appliance: QEMU itself, the tools, roost.
BESIDE = 256 * MIB
#: Mistakes of a recipe that are reported; `inv check` reports all.
MISTAKES = 8
#: The node of Xen's first domain.
DOM0 = "layer xen-dom0"


@dataclass(frozen=True, slots=True)
class Member:
    """One image of the family: its recipe, or why it cannot be built.

    `parents` are the recipes on which it is based, nearest first.
    """

    name: str
    called: str
    loaded: Loaded | None = None
    broken: Failure | None = None
    parents: tuple[Loaded, ...] = ()

    @property
    def key(self) -> str:
        """The identity of the image: two recipes of the same name have different directories."""
        return str(self.loaded.build) if self.loaded is not None else self.called


@dataclass(frozen=True, slots=True)
class Family:
    """Images, the graph of their work, and the recipes of its nodes by the key of the node.

    Images on which others are based are built too, even if they were not requested: they are not members. `lineages`
    has each recipe followed by those on which it is based, nearest first, by the directory of its build.
    """

    members: tuple[Member, ...]
    graph: Graph
    recipes: Mapping[str, Loaded]
    lineages: Mapping[str, Sequence[Loaded]]

    def steps(self, member: Member) -> dict[Kind, str]:
        """Return the keys of the nodes that are steps of an image, in order."""
        keys = {kind: f"{kind} {member.key}" for kind in STEPS}
        return {kind: key for kind, key in keys.items() if key in self.graph.nodes}

    def broken(self) -> dict[str, Failure]:
        """Return the images that have no steps because of mistakes in their recipes: name → the mistakes."""
        return {member.called: member.broken for member in self.members if member.broken is not None}


def chosen(names: Sequence[str], project: Path) -> list[Member]:
    """Return the images of recipes, matrices by variants, including broken ones; no names means the project's.

    Raises `RecipeError` for an unknown recipe.
    """
    found: dict[str, Member] = {}
    unknown: list[Problem] = []
    # Many images can be based on one.
    file = functools.cache(lambda name: paths.display(loader.file_of(name, project)))
    load = functools.cache(lambda name: loader.load(name, project, (), planning.problems))
    for name in loader.expanded(names, project):
        try:
            images = loader.each(name, project, (), planning.problems)
        except RecipeError as error:
            unknown += error.problems
            continue
        for own, one in images:
            called = name if len(images) == 1 else f"{name}: {own}"
            member = _member(own, called, one, load, functools.partial(file, name))
            other = found.setdefault(member.key, member)
            if not _same(member, other):
                text = f"{called} and {other.called} are both named {own}: they would be built in one directory"
                found[called] = Member(own, called, broken=Failure(f"{text} (rename one)", CALL))
    if unknown:
        raise RecipeError(unknown)
    if not found:
        # Success without any work is not what a user expects who asks for all.
        raise UsageError(f"there are no recipes in {project / 'recipes'}", hint="name recipes, or go to their project")
    return list(found.values())


def _same(one: Member, other: Member) -> bool:
    """Return whether two members with the same key are the same recipe, named twice."""
    if one.loaded is None or other.loaded is None:
        return one.loaded is other.loaded
    return one.loaded.path.resolve() == other.loaded.path.resolve()


def _member(
    name: str, called: str, found: Loaded | RecipeError, load: Callable[[str], Loaded], file: Callable[[], str]
) -> Member:
    """Return an image, broken when its recipe, which is in `file`, or one on which it is based has mistakes."""
    try:
        if isinstance(found, RecipeError):
            raise found
        return Member(name, found.called, found, parents=tuple(_parents(found, load)))
    except RecipeError as error:
        lines = [str(problem) for problem in error.problems]
        if len(lines) > MISTAKES:
            # By its file: variants with the same mistakes are reported once.
            lines[MISTAKES:] = [f"{len(lines) - MISTAKES} more: inv check {file()}"]
        return Member(name, called, broken=Failure("\n".join(lines), error.exit_code))


def _parents(loaded: Loaded, load: Callable[[str], Loaded]) -> Iterator[Loaded]:
    """Yield the recipes on which one is based, nearest first; cycles are mistakes of the recipe, reported earlier."""
    while (name := parent(loaded)) is not None:
        loaded = load(name)
        yield loaded


def require_names(members: Sequence[Member]) -> None:
    """Raise `UsageError` when two images would be published under the same name."""
    counts = Counter(member.name for member in members if member.loaded is not None)
    for name, count in counts.items():
        if count > 1:
            called = ", ".join(member.called for member in members if member.name == name)
            raise UsageError(f"{count} images are named {name}, and a catalogue has one: {called}", hint="rename one")


def layer_of(loaded: Loaded) -> str | None:
    """Return the identity of a recipe's root tree, without querying an archive; None if there is no work to share.

    Equal ones are the same tree. It is not a cache key: it does not include the archive's current state.
    """
    recipe = loaded.recipe
    source = recipe.os.source
    kind = initrd_choice.kind(recipe)
    if recipe.edited and (source.origin or source.parent):
        return None
    local = bool(source.local_files or source.origin or parent(loaded))
    return keys.digest(
        {
            "os": recipe.os.model_dump(mode="json", by_alias=True),
            "kernel": recipe.kernel.use,
            "initrd": None if recipe.edited else [kind, *initrd_choice.drivers(recipe, kind)],
            "directory": str(loaded.directory) if local else None,
        }
    )


def family(members: Sequence[Member], *, publish: bool) -> Family:
    """Return the graph of the work for images: shared layers, builds, test boots, and with `publish` publications."""
    return _Planner(publish).plan(members)


@dataclass(slots=True)
class _Planner:
    publish: bool
    nodes: dict[str, Node] = field(default_factory=dict)
    recipes: dict[str, Loaded] = field(default_factory=dict)
    layers: dict[str, str] = field(default_factory=dict)

    def plan(self, members: Sequence[Member]) -> Family:
        wanted = [(member.loaded, *member.parents) for member in members if member.loaded is not None]
        lineages = {str(line[0].build): line for line in wanted}
        for line in wanted:
            for number, one in enumerate(line):
                lineages.setdefault(str(one.build), line[number:])
        counts = Counter(layer for line in lineages.values() if (layer := layer_of(line[0])) is not None)
        shared = {layer for layer, count in counts.items() if count > 1}
        own = {str(line[0].build) for line in wanted}
        for key, line in lineages.items():
            self._image(key, line, shared, own=key in own)
        for line in wanted:
            self._rest(str(line[0].build), line[0])
        graph = Graph.of(_in_turn(self.nodes.values(), list(lineages)))
        return Family(tuple(members), graph, self.recipes, lineages)

    def _add(self, node: Node, loaded: Loaded) -> None:
        self.nodes[node.key] = node
        self.recipes[node.key] = loaded

    def _image(self, key: str, line: Sequence[Loaded], shared: set[str], *, own: bool) -> None:
        """Add the node that builds an image, after the shared tree and the image on which it is based."""
        loaded, *above = line
        after = [f"image {one.build}" for one in above[:1]]
        layer = layer_of(loaded)
        if layer in shared:
            assert layer is not None
            if layer not in self.layers:
                place = f"layer {len(self.layers) + 1}"
                self.layers[layer] = place
                self._add(Node(place, "layer", f"{place} ({_words(loaded)})", None, tuple(after), _BUILD), loaded)
            after.append(self.layers[layer])
        name = loaded.recipe.name
        self._add(Node(f"image {key}", "image", name, key if own else None, tuple(after), _BUILD), loaded)

    def _rest(self, key: str, loaded: Loaded) -> None:
        """Add the test boot of an image, and its publication."""
        recipe = loaded.recipe
        after, memory = [f"image {key}"], recipe.machine.memory
        if "xen" in recipe.hypervisors:
            memory += (xen_machine.FIRST_DOMAIN + xen_machine.HYPERVISOR) * MIB
            if DOM0 not in self.nodes:
                self._add(Node(DOM0, "layer", "Xen's first domain", None, (), _BUILD), loaded)
            after.append(DOM0)
        needs = Needs(memory + BESIDE, core=True)
        self._add(Node(f"boot {key}", "boot", recipe.name, key, tuple(after), needs), loaded)
        if self.publish:
            node = Node(f"publish {key}", "publish", recipe.name, key, (f"boot {key}",), Needs(BESIDE))
            self._add(node, loaded)


_BUILD = Needs(guestfs.MEMORY * MIB + BESIDE)


def _in_turn(nodes: Iterable[Node], order: Sequence[str]) -> Iterator[Node]:
    """Yield nodes image by image, so that the first ones finish first; shared nodes precede all."""
    place = {key: number for number, key in enumerate(order)}
    steps = ("layer", "image", "boot", "publish")

    def turn(node: Node) -> tuple[int, int]:
        key = node.key.partition(" ")[2]
        return (-1 if node.kind == "layer" else place[key], steps.index(node.kind))

    yield from sorted(nodes, key=turn)


def _words(loaded: Loaded) -> str:
    """Return a short description of a root tree."""
    suite = getattr(loaded.recipe.os.source, "suite", None)
    return f"{loaded.recipe.os.key} {suite}" if suite is not None else loaded.recipe.os.key
