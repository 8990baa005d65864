"""The commands of a DAG file, parsed word by word as condor_utils/dag_parser.cpp does. Pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence

from roost.condor.submit.dag_lines import Line, Word
from roost.condor.submit.dag_model import Dag, Node, Scope
from roost.condor.submit.description import Variable
from roost.condor.submit.source_text import Traced
from roost.host import numbers

#: Commands that define a node.
NODES = frozenset({"JOB", "FINAL", "PROVISIONER", "SERVICE", "SUBDAG"})
RESERVED = ("PARENT", "CHILD", "ALL_NODES")
ALL = "ALL_NODES"
_OTHERS = (
    "PARENT", "SCRIPT", "RETRY", "ABORT_DAG_ON", "PRIORITY", "PRE_SKIP", "SAVE_POINT_FILE", "CATEGORY", "MAXJOBS",
    "CONFIG", "DOT", "NODE_STATUS_FILE", "JOBSTATE_LOG", "ENV", "SET_JOB_ATTR", "REJECT", "DONE", "CONNECT", "PIN_IN",
    "PIN_OUT",
)  # fmt: skip
_COMMANDS = (*_OTHERS, *NODES, "SPLICE", "INCLUDE", "SUBMIT_DESCRIPTION", "VARS")
_NAME = re.compile(r"(?:\+|[Mm][Yy]\.)?[A-Za-z0-9_.]+")


def options(node: Node, words: Sequence[Word], dag: Dag) -> None:
    """Apply the options after a node's description: DIR, NOOP, DONE."""
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.says("NOOP", "DONE"):
            node.idle = True
        elif word.says("DIR") and rest:
            node.directory = f"{node.directory}/{rest.pop(0).text}" if node.directory else rest.pop(0).text
        elif word.says("DIR"):
            dag.mistake(word.where, "DIR lacks its directory")
        else:
            dag.mistake(word.where, f"{node.kind} does not take '{word.text}'", "DIR DIRECTORY, NOOP, DONE")
            return


def variables(words: Sequence[Word], dag: Dag) -> tuple[Word | None, list[Variable]]:
    """Return the node that a VARS line applies to, and the variables it sets."""
    form = 'VARS NODE NAME="VALUE"'
    if len(words) < 3:
        dag.mistake(words[0].where, "VARS takes a node and at least one value", form)
        return None, []
    rest = list(words[2:])
    append = rest[0].says("APPEND")
    if rest[0].says("APPEND", "PREPEND"):
        rest.pop(0)
    found = []
    for word in rest:
        key, equals, value = word.text.partition("=")
        if not equals or not key:
            dag.mistake(word.where, f"'{word.text}' is not a value for a name", form)
        elif not _NAME.fullmatch(key):
            dag.mistake(word.where, f"'{key}' is not a name for a macro: letters, digits and _ only", form)
        elif key.lower().startswith("queue"):
            dag.mistake(word.where, f"the name {key} begins with queue, which DAGMan refuses", "choose another name")
        else:
            if not word.quoted:
                # 23.9.6 refuses the DAG ("io's value must be quoted"); the parser of later releases accepts it.
                what = f"HTCondor 23 refuses the value of {key}, which is not in double quotes"
                dag.mistake(word.where, what, form, refused=False)
            found.append(Variable(key, Traced.of(value, word.where, fixed=True), append))
    if not rest:
        dag.mistake(words[0].where, "VARS sets nothing", form)
    return words[1], found


def other(command: str, line: Line, words: list[Word], dag: Dag, scope: Scope) -> None:
    """Check a command that does not change a description."""
    if command not in _OTHERS:
        close = difflib.get_close_matches(command, _COMMANDS, 1, 0.7)
        hint = (
            f"did you mean {close[0].replace('_', '-') if close[0] == 'SUBMIT_DESCRIPTION' else close[0]}?"
            if close
            else None
        )
        dag.mistake(words[0].where, f"'{words[0].text}' is not a command of a DAG file", hint)
    elif command == "PARENT":
        _dependencies(words, dag, scope)
    elif command == "SCRIPT":
        _script(words, dag, scope)
    elif command in ("CATEGORY", "MAXJOBS"):
        _throttle(command, words, dag, scope)
    elif command in _FORMS:
        _form(command, words, dag, scope)
    elif command == "REJECT":
        dag.mistake(words[0].where, "the DAG is marked as rejected: DAGMan does not run it", "remove REJECT")


def _dependencies(words: list[Word], dag: Dag, scope: Scope) -> None:
    at = next((index for index, word in enumerate(words) if word.says("CHILD")), None)
    if at is None or at < 2 or at == len(words) - 1:
        lacking = "CHILD" if at is None else "its parents" if at < 2 else "its children"
        dag.mistake(words[0].where, f"PARENT lacks {lacking}", "PARENT NODE [NODE ...] CHILD NODE [NODE ...]")
        return
    parents, children = words[1:at], words[at + 1 :]
    scope.references += [(word, False) for word in (*parents, *children)]
    scope.edges.append((parents, children))


def _script(words: list[Word], dag: Dag, scope: Scope) -> None:
    rest = words[1:]
    while rest and rest[0].says("DEFER", "DEBUG"):
        rest = rest[3:]
    if not rest or not rest[0].says("PRE", "POST", "HOLD"):
        dag.mistake(words[0].where, "SCRIPT lacks PRE, POST or HOLD", "SCRIPT POST NODE PROGRAM [ARGUMENTS]")
    elif len(rest) < 3:
        lacking = "a node" if len(rest) < 2 else "a program"
        dag.mistake(words[0].where, f"SCRIPT lacks {lacking}", "SCRIPT POST NODE PROGRAM [ARGUMENTS]")
    else:
        scope.references.append((rest[1], True))


def _throttle(command: str, words: list[Word], dag: Dag, scope: Scope) -> None:
    if command == "CATEGORY":
        if len(words) != 3:
            dag.mistake(words[0].where, "CATEGORY takes a node and a category", "CATEGORY NODE NAME")
        else:
            scope.references.append((words[1], True))
            scope.categories.setdefault(words[2].text, words[2].where)
    elif len(words) != 3 or numbers.whole(words[2].text, 9) is None:
        dag.mistake(words[0].where, "MAXJOBS takes a category and a number", "MAXJOBS NAME 10")
    else:
        scope.limits.setdefault(words[1].text, words[1].where)


def _whole(text: str) -> bool:
    return re.fullmatch(r"[+-]?[0-9]{1,9}", text) is not None


def _positive(text: str) -> bool:
    return numbers.whole(text, 9) is not None


def _any(_text: str) -> bool:
    return True


_Kind = Callable[[str], bool]
#: Command → the kinds of its words and its syntax; a first word that is a node is looked up. Further words by keyword.
_FORMS: dict[str, tuple[tuple[_Kind, ...], str, bool, str]] = {
    "RETRY": ((_any, _positive), "RETRY NODE NUMBER [UNLESS-EXIT CODE]", True, "UNLESS-EXIT"),
    "ABORT_DAG_ON": ((_any, _whole), "ABORT-DAG-ON NODE CODE [RETURN CODE]", True, "RETURN"),
    "PRIORITY": ((_any, _whole), "PRIORITY NODE NUMBER", True, ""),
    "PRE_SKIP": ((_any, _whole), "PRE_SKIP NODE CODE", True, ""),
    "DONE": ((_any,), "DONE NODE", True, ""),
    "CONFIG": ((_any,), "CONFIG FILE", False, ""),
    "JOBSTATE_LOG": ((_any,), "JOBSTATE_LOG FILE", False, ""),
    "CONNECT": ((_any, _any), "CONNECT SPLICE SPLICE", False, ""),
    "PIN_IN": ((_any, _positive), "PIN_IN NODE NUMBER", True, ""),
    "PIN_OUT": ((_any, _positive), "PIN_OUT NODE NUMBER", True, ""),
}


def _form(command: str, words: list[Word], dag: Dag, scope: Scope) -> None:
    kinds, form, of_a_node, keyword = _FORMS[command]
    given, further = words[1 : len(kinds) + 1], words[len(kinds) + 1 :]
    if len(given) < len(kinds):
        dag.mistake(words[0].where, f"{words[0].text} lacks a word", form)
        return
    wrong = next((word for word, fits in zip(given, kinds, strict=True) if not fits(word.text)), None)
    if wrong is not None:
        dag.mistake(wrong.where, f"{words[0].text} does not take '{wrong.text}' here", form)
    if further and not (keyword and further[0].says(keyword) and len(further) == 2 and _whole(further[1].text)):
        dag.mistake(further[0].where, f"{words[0].text} does not take '{further[0].text}'", form)
    if of_a_node:
        scope.references.append((given[0], command != "DONE"))
    if command == "CONFIG" and dag.configuration not in {None, given[0].text}:
        # condor_submit_dag: "Multiple (2) configuration files provided."
        dag.mistake(given[0].where, f"there is a second file of settings beside {dag.configuration}", "a DAG has one")
    if command == "CONFIG":
        dag.configuration = dag.configuration or given[0].text
