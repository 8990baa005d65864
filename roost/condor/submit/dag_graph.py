"""Checks of a whole DAG or splice: names that exist, no cycle, throttles that are used. Pure."""

from __future__ import annotations

import difflib
import graphlib

from roost.condor.submit.dag_commands import ALL
from roost.condor.submit.dag_lines import Word
from roost.condor.submit.dag_model import Dag, Scope


def check(dag: Dag, scope: Scope) -> None:
    """Resolve references, give the nodes their variables, and record mistakes."""
    known = set(scope.members) | {
        name.removeprefix(scope.prefix) for name in dag.nodes if name.startswith(scope.prefix)
    }
    for word, all_nodes in scope.references:
        if word.text not in known and not (all_nodes and word.says(ALL)):
            close = difflib.get_close_matches(word.text, known, 1, 0.6)
            hint = f"did you mean {close[0]}?" if close else None
            dag.mistake(word.where, f"there is no node {word.text}", hint)
    for word, variables in scope.settings:
        names = [scope.prefix + word.text]
        if word.says(ALL):
            names = [name for name in dag.nodes if name.startswith(scope.prefix)]
        for name in names:
            if name in dag.nodes:
                dag.nodes[name].variables += variables
    _throttles(dag, scope)
    _order(dag, scope)


def _throttles(dag: Dag, scope: Scope) -> None:
    for name, where in scope.limits.items():
        if name not in scope.categories and not name.startswith("+"):
            dag.mistake(where, f"no node is in the category {name}", "CATEGORY NODE NAME", refused=False)
    for name, where in scope.categories.items():
        if name not in scope.limits and not name.startswith("+"):
            what = f"the category {name} has no MAXJOBS, so it limits nothing"
            dag.mistake(where, what, f"MAXJOBS {name} 10", refused=False)


def _order(dag: Dag, scope: Scope) -> None:
    """Record the dependencies of nodes, a cycle, and a FINAL node that is a parent or a child."""
    later = {scope.prefix + word.text for _, below in scope.edges for word in below}
    for name, node in dag.nodes.items() if later else ():
        # A splice is referred to as a whole: `outer+inner`.
        parts = name.split("+")
        node.after |= any("+".join(parts[:count]) in later for count in range(1, len(parts) + 1))
    if scope.final is not None and scope.prefix + scope.final.text in dag.nodes:
        dag.nodes[scope.prefix + scope.final.text].after = True
    # A pseudo-node between the two sides of a line avoids m*n edges for `PARENT many CHILD many`.
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    places: dict[str, Word] = {}
    for number, (parents, children) in enumerate(scope.edges):
        between = f"\0{number}"
        sorter.add(between, *(word.text for word in parents))
        for word in children:
            sorter.add(word.text, between)
            places.setdefault(word.text, word)
        for word in (*parents, *children):
            if scope.final is not None and word.text == scope.final.text:
                dag.mistake(word.where, f"the FINAL node {word.text} can be neither parent nor child", "leave it out")
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        circle = list(dict.fromkeys(name for name in error.args[1] if not name.startswith("\0")))
        first = next((name for name in circle if name in places), None)
        if first is not None:
            shown = ", ".join(circle[:8]) + (" ..." if len(circle) > 8 else "")
            waits = (
                f"the nodes {shown} wait for each other" if len(circle) > 1 else f"the node {shown} waits for itself"
            )
            dag.mistake(places[first].where, waits, "a DAG has no circle")
