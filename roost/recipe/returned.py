"""The default of `submit.return`: the io disk of a job, which holds its results.

It is inserted into the recipe's tree of values, with the location of the disk's name, so that everything that reads the
key gets one value. A list in the recipe, even `[]`, is not changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from roost.recipe.nodes import Node
from roost.recipe.schema import keys

SUBMIT, RETURN, NO_OUTPUT = "submit", "return", "no_output"


def defaults(tree: Node) -> tuple[Node, ...]:
    """Return the names of the disks that are returned by default: the writable ones of role io."""
    nothing = tree.find((SUBMIT, NO_OUTPUT))
    disks = tree.items.get("disks")
    if disks is None or (nothing is not None and nothing.value is True):
        return ()
    found = []
    for disk in disks.elements:
        role, name, fixed = (disk.items.get(key) for key in ("role", "name", "readonly"))
        if role is not None and role.text == "io" and name is not None and name.text and not (fixed and fixed.value):
            found.append(replace(name, key=None))
    return tuple(found)


def with_default(tree: Node) -> Node:
    """Return the tree with the default of `submit.return`, if the recipe has a job and does not set it."""
    submit, job = tree.items.get(SUBMIT), tree.items.get("job")
    names = defaults(tree)
    if not names or job is None or job.value is None or (submit is not None and not isinstance(submit.value, Mapping)):
        return tree
    if submit is not None and (RETURN in submit.items or not submit.items.keys() <= set(keys((SUBMIT,)))):
        # It is set, or an unknown key may be a misspelt one.
        return tree
    where = names[0].where
    submit = submit or Node({}, where, where)
    submit = replace(submit, value={**submit.items, RETURN: Node(names, where, where)})
    return replace(tree, value={**tree.items, SUBMIT: submit})
