"""Checks of a recipe's additions before anything is built: templates, keys, secrets, seeds, checksums.

All checks read only local files and report the place in the recipe.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator

from roost.customize import cloud_init, passwords, sealing, templates
from roost.errors import Problem
from roost.preflight import contents, devices, job_inputs, kernel_line, places, programs, readable
from roost.recipe.loader import Loaded
from roost.recipe.words import shown
from roost.sources import registry, suites

FORESEEN = (
    places.problems,
    readable.problems,
    programs.problems,
    contents.problems,
    devices.problems,
    kernel_line.problems,
    job_inputs.problems,
)


def problems(loaded: Loaded) -> list[Problem]:
    """Return all problems that can be found without a tree."""
    checks = (templates.problems, registry.of(loaded.recipe).problems, passwords.problems, cloud_init.problems)
    found = [problem for check in checks for problem in check(loaded)]
    found += [problem for check in FORESEEN for problem in check(loaded)]
    return [*found, *_suite(loaded), *_sealed(loaded)]


def _suite(loaded: Loaded) -> Iterator[Problem]:
    """Yield a problem if the suite of the kernel is not in any archive."""
    if loaded.recipe.kernel.suite is not None:
        yield from suites.problems(loaded, ("kernel", "suite"), loaded.recipe.kernel.suite)


def _sealed(loaded: Loaded) -> Iterator[Problem]:
    """Yield a problem for each file that sealing would remove again."""
    if not loaded.recipe.seal:
        return
    for number, entry in enumerate(loaded.recipe.files):
        if any(fnmatch.fnmatchcase(entry.path, pattern) for pattern in sealing.ALWAYS):
            what = f"{shown(entry.path)} would be the same on all machines of this image, so sealing removes it"
            yield loaded.problem(("files", number, "path"), what, "leave it out, or write `seal: false`")
