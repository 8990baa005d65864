"""A workflow as described by a DAG file: nodes, descriptions, mistakes, and the scopes of names."""

from __future__ import annotations

from dataclasses import dataclass, field

from roost.condor.submit.dag_lines import Word
from roost.condor.submit.description import Variable
from roost.errors import Location

#: Limits of a workflow: characters of one file, files in all (each use of a splice reads its file), depth, nodes.
MAX_TEXT = 16 << 20
MAX_FILES = 200
MAX_DEPTH = 16
MAX_NODES = 20_000
MAX_PROBLEMS = 200


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something that DAGMan would refuse (`refused`), or that does not do what it seems to."""

    where: Location
    what: str
    hint: str | None = None
    refused: bool = True


@dataclass(frozen=True, slots=True)
class Text:
    """A description within a DAG file, padded with blank lines so that its line numbers are those of the file."""

    text: str
    file: str


@dataclass(slots=True)
class Node:
    """A node that submits jobs: `description` is a file or the name of a SUBMIT-DESCRIPTION, `inline` its own text.

    `directory` is where it is submitted from, relative to the DAG's. `idle`: NOOP or DONE, so nothing is submitted.
    `after`: other nodes run before it and may make its files.
    """

    name: str
    kind: str
    description: str
    where: Location
    directory: str = ""
    inline: Text | None = None
    idle: bool = False
    after: bool = False
    variables: list[Variable] = field(default_factory=list)


@dataclass(slots=True)
class Dag:
    """A workflow: all nodes, those of splices with their full names (`SPLICE+NODE`), and all mistakes."""

    nodes: dict[str, Node] = field(default_factory=dict)
    descriptions: dict[str, Text] = field(default_factory=dict)
    mistakes: list[Mistake] = field(default_factory=list)
    #: Sub-DAGs by node: files that are not followed.
    sub_dags: list[tuple[str, Location]] = field(default_factory=list)
    files: int = 0
    #: The DAGMan configuration file that CONFIG names.
    configuration: str | None = None
    #: The directory of the DAG file, as shown in messages.
    root: str = ""

    def mistake(self, where: Location, what: str, hint: str | None = None, *, refused: bool = True) -> None:
        """Record a mistake."""
        if len(self.mistakes) < MAX_PROBLEMS:
            self.mistakes.append(Mistake(where, what, hint, refused))


@dataclass(slots=True)
class Scope:
    """One DAG or splice with its includes: its names, its dependencies, and references to resolve at the end.

    `prefix` is prepended to its nodes' names; relative names start from `directory`.
    """

    prefix: str
    directory: str
    members: dict[str, Location] = field(default_factory=dict)
    references: list[tuple[Word, bool]] = field(default_factory=list)
    edges: list[tuple[list[Word], list[Word]]] = field(default_factory=list)
    settings: list[tuple[Word, list[Variable]]] = field(default_factory=list)
    categories: dict[str, Location] = field(default_factory=dict)
    limits: dict[str, Location] = field(default_factory=dict)
    final: Word | None = None
