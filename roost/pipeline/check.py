"""The steps of `inv check`: all of a recipe's mistakes, or all of its values; nothing is built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from roost.errors import Problem, RoostError, problems_json
from roost.host import paths
from roost.pipeline import environment, planning
from roost.preflight import readable
from roost.recipe import loader
from roost.recipe.loader import Loaded


def check(names: Sequence[str], sets: Sequence[str] = ()) -> dict[str, Any]:
    """Check recipes without building; report all mistakes of each.

    `names` are names, paths, or directories of recipes; none means all of the project's.
    """
    environment.check()
    project = paths.project_root()
    results = []
    every: list[Problem] = []
    for name in loader.expanded(names, project):
        found: Sequence[Problem] = ()
        notes: list[Problem] = []
        try:
            for loaded in loader.load_all(name, project, sets, _problems):
                notes += readable.notes(loaded)
        except RoostError as error:
            found = error.problems
        every += found
        results.append(
            {
                "name": name,
                "ok": not found,
                "problems": [str(one) for one in found],
                # The images of a matrix share most of their files.
                "notes": [str(one) for one in dict.fromkeys(notes)],
                # In the form that the errors of all tasks have.
                "error": problems_json(found) if found else None,
            }
        )
    return {
        "ok": not every,
        "recipes": results,
        "error": problems_json(every) if every else None,
    }


def _problems(loaded: Loaded) -> list[Problem]:
    return [*planning.problems(loaded), *planning.given_kernel(loaded), *planning.given_source(loaded)]


def resolved(name: str, sets: Sequence[str] = ()) -> dict[str, Any]:
    """Return every value of the final recipe with its origin, and the places of the variables in it.

    An origin of None is the model's default.
    """
    found = loader.load(name, paths.project_root(), sets).resolved()
    rows = [
        {
            "key": ".".join(map(str, value.path)),
            "value": value.value,
            "from": str(value.where) if value.where else None,
            "through": [str(where) for where in value.through],
        }
        for value in found
    ]
    return {"name": name, "values": rows}
