"""A parsed submit description: its jobs, its definitions and the reader's remarks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from roost.condor.submit.macros import Assignment
from roost.condor.submit.queue import Queue
from roost.condor.submit.source_text import Traced
from roost.errors import Location


@dataclass(frozen=True, slots=True)
class Remark:
    """A remark of the reader: the code of a rule in `roost.condor.rules.reading`, its location, and its subject."""

    code: str
    where: Location
    what: str


@dataclass(frozen=True, slots=True)
class Variable:
    """A macro set from outside the description: by DAGMan's VARS, or by `--set`.

    It is set before the description is read, so the description's own assignment wins; with `append` it is set after.
    """

    name: str
    value: Traced
    append: bool = False


@dataclass(slots=True)
class Job:
    """One row of one queue statement: the definitions in effect for it, and the row as it stands in the list."""

    table: Mapping[str, Assignment]
    live: dict[str, Traced | None]
    queue: Queue | None
    count: int | None
    row: Traced | None = None

    def entry(self, name: str) -> Assignment | None:
        """Return the assignment of a command: a variable of the queue statement takes precedence."""
        key = name.lower()
        if self.queue is not None and key in self.live:
            variable = next((one for one in self.queue.variables if one.lower() == key), None)
            if variable is not None:
                place, value = self.queue.line.at(), self.live[key]
                unknown = Traced.of("", place, fixed=True, unknown=True) if value is None else value
                return Assignment(variable, unknown, unknown.at())
        return self.table.get(key)


@dataclass(slots=True)
class Description:
    """A parsed submit description. `incomplete`: it includes something whose text is not known."""

    file: str
    jobs: list[Job] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    assignments: list[Assignment] = field(default_factory=list)
    queues: list[Queue] = field(default_factory=list)
    incomplete: bool = False
    runs_commands: bool = False
    end: Location = field(default_factory=lambda: Location("", 1, 1))
    used: set[str] = field(default_factory=set)
    #: Names of the files that condor_submit opens as parts of the description.
    opened: list[str] = field(default_factory=list)
    #: A description within a DAG file, which has no queue statement.
    inline: bool = False
    #: The directory that DAGMan submits it from, relative to that of the DAG.
    base: str = ""
