"""What a recipe lays over its tree, looked at before anything is built: templates, keys, secrets, seeds, sums.

Everything here reads local files and says where in the recipe the mistake is.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator

from roost.customize import cloud_init, passwords, sealing, templates
from roost.customize.apply import BUILT_IN
from roost.errors import Problem
from roost.preflight import contents, devices, job_inputs, places, programs, suites
from roost.recipe.loader import Loaded
from roost.recipe.words import shown
from roost.sources import debian
from roost.store import keys

FORESEEN = (
    places.problems,
    programs.problems,
    contents.problems,
    devices.problems,
    suites.problems,
    job_inputs.problems,
)


def problems(loaded: Loaded) -> list[Problem]:
    """Return all that can be seen without a tree."""
    checks = (templates.problems, debian.problems, passwords.problems, cloud_init.problems)
    found = [problem for check in checks for problem in check(loaded)]
    found += [problem for check in FORESEEN for problem in check(loaded)]
    return [*found, *_sums(loaded), *_sealed(loaded), *_unpacked(loaded)]


def _sums(loaded: Loaded) -> Iterator[Problem]:
    """Yield a problem for each local source that is not the one its sum says."""
    for kind in ("tarball", "image"):
        source = getattr(loaded.recipe.os, kind)
        if source is None or source.path is None or source.sha256 is None:
            continue
        try:
            found = keys.large_digest(loaded.folder / source.path)
        except OSError:
            continue  # the loader says what is wrong with the file
        if found != source.sha256:
            what = f"'{shown(source.path)}' has another sha256: {found}"
            yield loaded.problem(("os", kind, "sha256"), what, "is it the right file, and whole?")


def _sealed(loaded: Loaded) -> Iterator[Problem]:
    """Yield a problem for each file that sealing would take out again."""
    if not loaded.recipe.seal:
        return
    for number, entry in enumerate(loaded.recipe.files):
        if any(fnmatch.fnmatchcase(entry.path, pattern) for pattern in sealing.ALWAYS):
            what = f"{shown(entry.path)} makes all machines of this image one, so sealing takes it out"
            yield loaded.problem(("files", number, "path"), what, "leave it out, or write `seal: false`")


def _unpacked(loaded: Loaded) -> Iterator[Problem]:
    """Yield what a tree that is only unpacked cannot do."""
    recipe = loaded.recipe
    if recipe.os.debian is None or recipe.os.debian.variant != "unpacked":
        return
    if recipe.locale not in BUILT_IN:
        what = f"the variant unpacked has no locale {shown(recipe.locale)}: nothing in it would make one"
        yield loaded.problem(("locale",), what, "leave it out, or use `variant: full` with the package locales")
    if recipe.cloud_init is not None:
        what = "the variant unpacked has no cloud-init: nothing would read the seed"
        yield loaded.problem(("cloud_init",), what, "use `first_boot`, or `variant: full` with the package cloud-init")
