"""Write DAGMan workflow files. Pure.

What the language cannot express is refused, never altered: DAGMan reads blank-separated words and allows quotes
only in VARS, and condor_submit expands macros in the values of VARS again (HTCondor manual, "DAG
Input File Commands"; htcondor 23.9's parse.cpp).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from roost.errors import Problem, RecipeError

#: Names of nodes: DAGMan refuses `.` (reserved for splices) and `+`, and reserves some words.
_NODE = re.compile(r"[A-Za-z0-9_-]{1,250}")
_RESERVED = frozenset({"parent", "child", "all_nodes"})
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: A word that needs no quotes: a path, an argument of a script.
_WORD = re.compile(r"[A-Za-z0-9._+/:=,@%$-]+")


@dataclass(frozen=True, slots=True)
class Node:
    """One node: the submit description of its job and the node's attributes.

    `variables` become VARS; values are in condor_submit's syntax (`value` escapes plain text). `post` is the POST
    script with its arguments, which may contain DAGMan's macros such as $JOBID. `final` marks the node that always
    runs last; it has no parents, retries, priority or category. A node whose POST script exits with the code
    `unless` is not retried.
    """

    name: str
    description: str
    variables: Mapping[str, str] = field(default_factory=dict)
    parents: Sequence[str] = ()
    post: Sequence[str] = ()
    retries: int = 0
    unless: int | None = None
    priority: int = 0
    category: str | None = None
    final: bool = False


@dataclass(frozen=True, slots=True)
class Dag:
    """A workflow: `remarks` are comments at the top; jobs are submitted and scripts run in `directory`.

    `throttles` has the maximum number of running jobs per category. `config` is a DAGMan configuration file.
    """

    nodes: Sequence[Node]
    directory: str
    throttles: Mapping[str, int] = field(default_factory=dict)
    remarks: Sequence[str] = ()
    config: str | None = None


def value(text: str) -> str:
    """Return text escaped for a macro's value: every `$` stays literal and starts no macro."""
    return text.replace("$", "$(DOLLAR)")


def name_of(text: str) -> str:
    """Return a node name made from any text: characters that are not allowed become `_`."""
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)[:200] or "_"


def names_of(texts: Sequence[str], prefix: str = "") -> list[str]:
    """Return a unique node name for each text, even where texts differ in `.` and `+` only."""
    taken: set[str] = set()
    found = []
    for text in texts:
        base = name = f"{prefix}{name_of(text)}"
        number = 1
        while name.lower() in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name.lower())
        found.append(name)
    return found


def render(dag: Dag) -> str:
    """Return the workflow's text; raise `RecipeError` with everything that DAGMan would misread."""
    require_directory(dag.directory)
    problems = list(_problems(dag))
    if problems:
        raise RecipeError(problems)
    lines = [f"# {' '.join(remark.split())}" for remark in dag.remarks]
    if dag.config:
        lines += ["", f"CONFIG {dag.config}"]
    for node in dag.nodes:
        lines += ["", *_node(node, dag.directory)]
    edges = [(parent, node.name) for node in dag.nodes for parent in node.parents]
    if edges:
        lines += ["", *(f"PARENT {parent} CHILD {child}" for parent, child in edges)]
    if dag.throttles:
        lines += ["", *(f"MAXJOBS {category} {most}" for category, most in dag.throttles.items())]
    return "\n".join(lines).strip("\n") + "\n"


def _node(node: Node, directory: str) -> Iterator[str]:
    yield f"{'FINAL' if node.final else 'JOB'} {node.name} {node.description} DIR {directory}"
    if node.variables:
        yield " ".join([f"VARS {node.name}", *(f"{name}={quoted(text)}" for name, text in node.variables.items())])
    if node.post:
        yield " ".join(["SCRIPT POST", node.name, *node.post])
    if node.retries:
        unless = "" if node.unless is None else f" UNLESS-EXIT {node.unless}"
        yield f"RETRY {node.name} {node.retries}{unless}"
    if node.priority:
        yield f"PRIORITY {node.name} {node.priority}"
    if node.category:
        yield f"CATEGORY {node.name} {node.category}"


def quoted(text: str) -> str:
    r"""Return a value of VARS in double quotes; only `\"` for `"` and `\\` for `\` are escapes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _problems(dag: Dag) -> Iterator[Problem]:
    names: set[str] = set()
    for node in dag.nodes:
        if not _NODE.fullmatch(node.name) or node.name.lower() in _RESERVED:
            yield Problem(f"DAGMan takes no node named {node.name!r}", hint="letters, digits, _ and -")
        if node.name.lower() in names:
            yield Problem(f"two nodes are named {node.name}: names are not case-sensitive")
        names.add(node.name.lower())
        for word in (node.description, *node.post, *([node.category] if node.category else [])):
            if not _WORD.fullmatch(word):
                yield Problem(f"DAGMan cannot read the word {word!r} of the node {node.name}", hint="no blanks, quotes")
        yield from _variables(node)
    known = {node.name for node in dag.nodes}
    for node in dag.nodes:
        for parent in node.parents:
            if parent not in known:
                yield Problem(f"the node {node.name} waits for {parent}, which is not there")
    if dag.config is not None and not _WORD.fullmatch(dag.config):
        yield Problem(f"DAGMan cannot read the path {dag.config!r} of its settings", hint="no blanks, quotes")
    for category, most in dag.throttles.items():
        if not _WORD.fullmatch(category) or most < 1:
            yield Problem(f"MAXJOBS takes a category and a number from 1, not {category!r} and {most}")


def require_directory(directory: str) -> None:
    """Raise `RecipeError` if DAGMan cannot read the path of a directory, and so of any file in it."""
    if not directory.startswith("/") or not re.fullmatch(r"[A-Za-z0-9._+/-]+", directory):
        what = f"DAGMan cannot read the path of the directory {directory!r}"
        raise RecipeError([Problem(what, hint="choose one with the characters A-Z a-z 0-9 . _ + - / alone")])


def carries(name: str, text: str) -> bool:
    """Return whether VARS can give this value to a variable of this name."""
    return not any(_wrong(name, text))


def _variables(node: Node) -> Iterator[Problem]:
    for name, text in node.variables.items():
        for what, hint in _wrong(name, text):
            yield Problem(f"the node {node.name}: {what}", hint=hint)


def _wrong(name: str, text: str) -> Iterator[tuple[str, str | None]]:
    # parse.cpp: "macroname can't begin with queue", case-insensitive.
    if not _VARIABLE.fullmatch(name) or name.lower().startswith("queue"):
        yield f"DAGMan takes no variable named {name!r}", "choose a name that does not begin so"
    if not all(letter.isprintable() or letter == "\t" or unicodedata.category(letter) == "Zs" for letter in text):
        yield f"{name} has a line break or another control character, which VARS cannot carry", None
    elif text.endswith("\\"):
        yield f"{name} ends in a backslash, which would join it with the next line", None
