"""The disks that come back where a recipe does not say which: a job's results are on its io disk.

They are written into the recipe's tree of values as if they stood in `submit.return`, at the place of the disk's name,
so that all that reads the key follows one value. A list that is written, `[]` too, stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from roost.recipe.nodes import Node
from roost.recipe.schema import keys

SUBMIT, RETURN, NO_OUTPUT = "submit", "return", "no_output"


def defaults(tree: Node) -> tuple[Node, ...]:
    """Return the names of the disks that come back if nothing is written: those of role io that can be written to."""
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
    """Return the tree with `submit.return`, if the recipe has a job and does not say what comes back."""
    submit, job = tree.items.get(SUBMIT), tree.items.get("job")
    names = defaults(tree)
    if not names or job is None or job.value is None or (submit is not None and not isinstance(submit.value, Mapping)):
        return tree
    if submit is not None and (RETURN in submit.items or not submit.items.keys() <= set(keys((SUBMIT,)))):
        # Written, or a misspelt key may be it.
        return tree
    where = names[0].where
    submit = submit or Node({}, where, where)
    submit = replace(submit, value={**submit.items, RETURN: Node(names, where, where)})
    return replace(tree, value={**tree.items, SUBMIT: submit})
