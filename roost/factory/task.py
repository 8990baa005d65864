"""The input and output of a workflow's job: JSON files transferred with it.

A task is written with the workflow and does not change; a result is written by the job, and collected by the last node.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from roost.errors import HostError
from roost.factory.graph import Kind
from roost.factory.outcome import FAULTS, Failure, Outcome, State
from roost.host import jsontext
from roost.recipe.hypervisor import Hypervisor
from roost.store.staging import write_atomically

_Form = TypeVar("_Form")
#: A report that can be written to a separate path.
Report = Literal["junit", "markdown", "html"]


@dataclass(frozen=True, slots=True)
class Task:
    """The work of one node: `recipe` and `project` are paths in the unpacked kit.

    `layer` is the node whose tree is used, `dom0` the one that makes Xen's dom0, `images` are nodes whose
    builds are required, with their recipes, `boot` is the node whose verdict is published.
    """

    node: str
    kind: Kind
    recipe: str
    project: str
    kit: str
    layer: str | None = None
    images: Mapping[str, str] = field(default_factory=dict)
    boot: str | None = None
    dom0: str | None = None
    require_kvm: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One image of the workflow: its nodes by step, or why it has none."""

    name: str
    called: str
    nodes: Mapping[Kind, str]
    broken: Failure | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The workflow as a whole: its images, the catalogue, the absolute paths of reports by kind."""

    rows: tuple[Row, ...]
    jobs: int
    started: float
    publish: str | None = None
    keep: int | None = None
    public: str | None = None
    key: str | None = None
    require_kvm: bool = False
    reports: Mapping[Report, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The part of a test boot's verdict used in reports (`pipeline.booted.verdict`)."""

    hypervisor: Hypervisor
    passed: bool
    phase: str | None
    cause: str | None
    detail: str
    accelerator: str
    console: str
    finished: str
    seconds: float
    report: str


def write(path: Path, value: Task | Plan | Outcome) -> None:
    """Write a task, a plan or a result."""
    write_atomically(path, (json.dumps(asdict(value), indent=1, sort_keys=True) + "\n").encode())


def task(path: Path) -> Task:
    """Return a task; raise `HostError` when it cannot be read."""
    return _read(path, Task)


def plan(path: Path) -> Plan:
    """Return the plan of a workflow; raise `HostError` when it cannot be read."""
    return _read(path, Plan)


def result(path: Path) -> Outcome | None:
    """Return the result of a job, or None when it cannot be read: the job was not completed.

    The file comes from another machine, so the types of all values used in reports are validated.
    """
    try:
        data = jsontext.read(path)
        failure = TypeAdapter(Failure | None).validate_python(data["failure"])
        if failure is not None and failure.code not in FAULTS:
            return None
        state: State = TypeAdapter(State).validate_python(data["state"])
        facts = dict(data["facts"])
        facts |= {name: str(facts[name]) for name in ("version", "url") if facts.get(name) is not None}
        if "verdicts" in facts:
            verdicts = TypeAdapter(list[Verdict]).validate_python(facts["verdicts"])
            facts["verdicts"] = [asdict(one) for one in verdicts]
        return Outcome(state, float(data["seconds"]), failure, facts, tuple(map(str, data["notes"])))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read(path: Path, form: type[_Form]) -> _Form:
    try:
        return TypeAdapter(form).validate_python(jsontext.read(path))
    except ValidationError as error:
        what, hint = f"{path} was not written by this version of roost", "write it again: inv factory --dag"
        raise HostError(what, hint=hint) from error
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise HostError(f"{path} cannot be read: {why}", hint="write it again: inv factory --dag") from error
