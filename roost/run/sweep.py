"""A sweep: a file of jobs given as axes and their product, written by hand in a few lines. Pure.

    axes:
      image: [debian-12, debian-13]            # the recipe of each job's image; NAME is then omitted
      source: [geant4, root]
      set: [a, b, c]
    exclude:
      - {image: debian-12, set: [b, c]}        # every job that has all of these values
    name: "{{ image }}-{{ source }}-{{ set }}" # default: all values, joined by -
    inputs: [common/, "{{ source }}.tar", "sets/{{ set }}.txt"]
    variables: {title: "{{ source }} with {{ set }}"}

Every value is text as written: 1.10 stays 1.10. Templates are jinja2's and can use the axes. The size of their output
is bounded, as is the number of jobs.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from roost.condor.jobs_file import is_name, taken_names
from roost.errors import Location, Problem, RecipeError
from roost.iodisk.batch import INPUTS
from roost.recipe.nodes import Node
from roost.recipe.parse import parse
from roost.recipe.words import did_you_mean, kind, shown

AXES, EXCLUDE, NAME, VARIABLES = "axes", "exclude", "name", "variables"
KEYS = (AXES, EXCLUDE, NAME, INPUTS, VARIABLES)
#: The axis that names the recipe of each job's image.
IMAGE = "image"
#: The maximum number of jobs of a sweep, and of combinations before any is excluded.
MOST, COMBINATIONS = 100_000, 1_000_000


NOWHERE = Location("")


@dataclass(frozen=True, slots=True)
class Text:
    """A text of the file, which may be a template, and its location."""

    text: str
    where: Location

    @property
    def constant(self) -> bool:
        """Whether it is the same for every job."""
        return "{" not in self.text


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep without mistakes: values by axis, exclusions, and the texts that each job renders.

    `inputs` is None where the file has none. `where` is the location of the axes.
    """

    axes: Mapping[str, tuple[str, ...]]
    exclude: tuple[Mapping[str, frozenset[str]], ...] = ()
    name: Text | None = None
    inputs: tuple[Text, ...] | None = None
    variables: Mapping[str, Text] = field(default_factory=dict)
    where: Location = NOWHERE

    def combinations(self) -> Iterator[tuple[str, ...]]:
        """Yield the values of each job; the last axis varies fastest."""
        names = list(self.axes)
        excluded = [[(names.index(axis), values) for axis, values in one.items()] for one in self.exclude]
        for values in itertools.product(*self.axes.values()):
            if not any(all(values[at] in some for at, some in one) for one in excluded):
                yield values


def read(data: bytes, file: str) -> Sweep:
    """Return the sweep in a file's bytes; raise `RecipeError` with every mistake in it."""
    tree, problems = parse(data, file, "sweep")
    if tree is None:
        raise RecipeError(problems)
    if not isinstance(tree.value, Mapping):
        what = f"a sweep is a mapping with the keys {', '.join(KEYS)}, found {kind(tree.value)}"
        raise RecipeError([*problems, Problem(what, tree.where)])
    reader = _Reader(problems)
    sweep = reader.sweep(tree)
    if reader.problems:
        raise RecipeError(sorted(dict.fromkeys(reader.problems), key=_place))
    return sweep


def _place(problem: Problem) -> tuple[int, int]:
    return (problem.where.line, problem.where.column) if problem.where else (0, 0)


class _Reader:
    """Reads the keys of a sweep and records problems."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = list(problems)

    def problem(self, what: str, where: Location | None, hint: str | None = None) -> None:
        self.problems.append(Problem(what, where, hint))

    def sweep(self, tree: Node) -> Sweep:
        for key, node in tree.items.items():
            if key not in KEYS:
                self.problem(f"unknown key '{shown(key)}'", node.key, did_you_mean(key, KEYS))
        axes = self.axes(tree)
        variables = self.variables(tree.items.get(VARIABLES), axes)
        names = [*axes, *variables]
        places = {name: node.key for key in (AXES, VARIABLES) for name, node in self.entries(tree, key)}
        for name in names:
            if not is_name(name):
                what = f"'{shown(name)}' is not a valid variable name"
                self.problem(what, places.get(name), "a letter or _, then letters, digits and _")
        for number, what, hint in taken_names(names):
            self.problem(what, places.get(names[number]), hint)
        named, inputs = tree.items.get(NAME), tree.items.get(INPUTS)
        exclude = self.exclude(tree.items.get(EXCLUDE), axes)
        where = next((node.place for key, node in tree.items.items() if key == AXES), tree.where)
        sweep = Sweep(
            axes,
            exclude,
            self.text(named, "the name of a job") if named is not None else None,
            self.inputs(inputs) if inputs is not None else None,
            variables,
            where,
        )
        if not self.problems:
            self.count(sweep)
        return sweep

    def entries(self, tree: Node, key: str) -> list[tuple[str, Node]]:
        node = tree.items.get(key)
        return list(node.items.items()) if node is not None else []

    def count(self, sweep: Sweep) -> None:
        """Record a problem if a sweep has no jobs, or too many."""
        product = 1
        for values in sweep.axes.values():
            product *= len(values)
        if product > COMBINATIONS:
            hint = "make several sweeps, or give a CSV file"
            self.problem(f"the axes have {product} combinations, more than {COMBINATIONS}", sweep.where, hint)
            return
        jobs = sum(1 for _ in itertools.islice(sweep.combinations(), MOST + 1))
        if jobs == 0:
            self.problem("every job is excluded", sweep.where)
        elif jobs > MOST:
            self.problem(f"the sweep has more than {MOST} jobs", sweep.where, "make several sweeps")

    def axes(self, tree: Node) -> dict[str, tuple[str, ...]]:
        node = tree.items.get(AXES)
        if node is None:
            self.problem("there are no axes", tree.where, "axes: {source: [a, b], set: [1, 2, 3]}")
            return {}
        if not isinstance(node.value, Mapping) or not node.value:
            self.problem(f"expected axes with their values, found {kind(node.value)}", node.place, "source: [a, b]")
            return {}
        axes: dict[str, tuple[str, ...]] = {}
        for name, values in node.items.items():
            if name in {NAME, INPUTS}:
                self.problem(f"'{name}' cannot be an axis: it is a key of the sweep", values.key, "choose another name")
            axes[name] = self.values(name, values)
        return axes

    def values(self, name: str, node: Node) -> tuple[str, ...]:
        if not node.elements:
            what = "no values" if isinstance(node.value, tuple) else kind(node.value)
            self.problem(f"expected the values of the axis {shown(name)}, found {what}", node.place, f"{name}: [a, b]")
            return ()
        found: dict[str, None] = {}
        for one in node.elements:
            value = self.scalar(one, "a value")
            if value is None:
                continue
            if value in found:
                self.problem(f"the value '{shown(value)}' is given twice", one.where, "keep one of them")
            found[value] = None
        return tuple(found)

    def scalar(self, node: Node, what: str) -> str | None:
        """Return a single value as written, without blanks at its ends, which a description cannot express."""
        if isinstance(node.value, Mapping | tuple) or node.value is None:
            hint = 'a template goes in quotes: "{{ set }}"' if isinstance(node.value, Mapping) else None
            self.problem(f"expected {what}, found {kind(node.value)}", node.place, hint)
            return None
        text = node.value if isinstance(node.value, str) else node.written
        if not text.strip():
            self.problem(f"expected {what}, found {kind(text)}", node.where)
            return None
        return text.strip()

    def text(self, node: Node, what: str) -> Text | None:
        found = self.scalar(node, what)
        return None if found is None else Text(found, node.where)

    def inputs(self, node: Node) -> tuple[Text, ...]:
        if isinstance(node.value, Mapping) or node.value is None:
            self.problem(
                f"expected a list of inputs, found {kind(node.value)}", node.place, 'inputs: ["{{ set }}.txt"]'
            )
            return ()
        given = node.elements if isinstance(node.value, tuple) else (node,)
        return tuple(text for one in given if (text := self.text(one, "the name of a file or directory")) is not None)

    def variables(self, node: Node | None, axes: Mapping[str, object]) -> dict[str, Text]:
        if node is None:
            return {}
        if not isinstance(node.value, Mapping):
            self.problem(f"expected variables with their values, found {kind(node.value)}", node.place)
            return {}
        found = {}
        for name, one in node.items.items():
            if name in axes:
                self.problem(f"'{shown(name)}' is an axis already", one.key, "choose another name")
                continue
            if name in {NAME, INPUTS, IMAGE}:
                hint = f"make it an axis of one value: {IMAGE}: [NAME]" if name == IMAGE else "choose another name"
                self.problem(f"'{name}' cannot be a variable", one.key, hint)
                continue
            text = self.text(one, "a value")
            if text is not None:
                found[name] = text
        return found

    def exclude(
        self, node: Node | None, axes: Mapping[str, tuple[str, ...]]
    ) -> tuple[Mapping[str, frozenset[str]], ...]:
        if node is None:
            return ()
        hint = "exclude: [{source: a, set: [1, 2]}]"
        if not isinstance(node.value, tuple):
            self.problem(f"expected a list of combinations, found {kind(node.value)}", node.place, hint)
            return ()
        found = []
        for one in node.elements:
            if not isinstance(one.value, Mapping) or not one.value:
                self.problem(f"expected axes with values, found {kind(one.value)}", one.place, hint)
                continue
            found.append({axis: self.excluded(axis, values, axes) for axis, values in one.items.items()})
        return tuple(found)

    def excluded(self, axis: str, node: Node, axes: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
        if axis not in axes:
            self.problem(f"no such axis: '{shown(axis)}'", node.key, did_you_mean(axis, axes))
            return frozenset()
        given = node.elements if isinstance(node.value, tuple) else (node,)
        found = set()
        for one in given:
            value = self.scalar(one, "a value")
            if value is not None and value not in axes[axis]:
                self.problem(
                    f"the axis {axis} has no value '{shown(value)}'", one.where, did_you_mean(value, axes[axis])
                )
            elif value is not None:
                found.add(value)
        return frozenset(found)


def default_name(values: tuple[str, ...]) -> str:
    """Return the name of a job from its values, joined by -; only the last part of a path is used."""
    parts = [PurePosixPath(value).stem if "/" in value else value for value in values]
    return "-".join(re.sub(r"[^A-Za-z0-9._+-]", "_", part) for part in parts).lstrip(".-+") or "job"
