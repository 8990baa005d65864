"""Source `debian`: a root tree that mmdebstrap installs from a signed archive."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from roost.customize.apply import BUILT_IN
from roost.customize.overlay import Item
from roost.errors import Problem, RecipeError, UsageError
from roost.host import files
from roost.host.paths import display
from roost.kernel import initrd_choice
from roost.kernel.catalogue import KernelSpec
from roost.recipe.debian import Debian
from roost.recipe.loader import Loaded
from roost.recipe.words import shown
from roost.sources import archive, openpgp, repositories, solver, suites
from roost.sources.bootstrap import Bootstrap
from roost.sources.bootstrap_errors import UnknownPackagesError
from roost.sources.mmdebstrap import Installed
from roost.sources.openpgp import NoKeyError
from roost.sources.packages import Selection
from roost.sources.repositories import Extra
from roost.sources.source import Request, RootTree
from roost.store import cache

MODEL = Debian


def _source(loaded: Loaded) -> Debian:
    source = loaded.recipe.os.debian
    assert source is not None
    return source


def problems(loaded: Loaded) -> Iterator[Problem]:
    """Yield problems of the suite and the keys, and settings that the variant `unpacked` does not support."""
    debian = _source(loaded)
    yield from _keys(loaded, debian)
    # Another archive may have other suites.
    if debian.mirror is None and debian.snapshot is None and not debian.repositories:
        yield from suites.problems(loaded, ("os", "debian", "suite"), debian.suite)
    if debian.variant == "unpacked":
        yield from _unpacked(loaded)


def plan(request: Request) -> RootTree:
    """Return the tree to be installed; reads the archive's signed index."""
    loaded = request.loaded
    source = _source(loaded)
    extra = repositories.read(source, loaded.directory)
    try:
        return Installed(bootstrap(request, source, request.kernel, initrd_choice.kind(loaded.recipe), extra))
    except UnknownPackagesError as error:
        found = list(_unknown(loaded, source, error.names))
        if not found:
            raise
        raise RecipeError(found, log=error.log) from error


def _unknown(loaded: Loaded, source: Debian, names: Sequence[str]) -> Iterator[Problem]:
    """Yield the packages of the recipe that the archive does not have."""
    for number, package in enumerate(source.packages):
        # NAME, NAME:ARCHITECTURE, NAME=VERSION or NAME/SUITE (apt-get(8)); apt reports the first two as written.
        if not {package, *re.split("[=/]", package)[:1], *re.split("[:=/]", package)[:1]}.isdisjoint(names):
            what = f"the archive of {source.suite} has no package {package}"
            hint = "look for it with apt-cache search, and in os.debian.components"
            yield loaded.problem(("os", "debian", "packages", number), what, hint)


def bootstrap(
    request: Request, wanted: Debian, kernel: KernelSpec | None, initrd: str, extra: Sequence[Extra] = ()
) -> Bootstrap:
    """Return what mmdebstrap is to install or download: packages of `wanted`, a kernel, further repositories."""
    further = [one.source for one in extra]
    index = archive.index(wanted, cache.default(), request.log_dir / "archive.log", request.stages.events, further)
    # A kernel that is not a package is added to the tree of each image.
    package = kernel.package(wanted.architecture) if kernel is not None else None
    drivers = initrd_choice.drivers(request.loaded.recipe, initrd)
    requested = Bootstrap(wanted, package, initrd, drivers, index, archive.epoch(index), tuple(extra))
    with request.stages.stage("select", f"the packages of {wanted.suite}"):
        locked = _locked(request, requested) if request.locked is not None else None
        return solver.selected(requested, cache.default(), request.log_dir / "select.log", locked)


def _locked(request: Request, requested: Bootstrap) -> Selection:
    """Return the packages of the lock; raise `UsageError` if it was made for a different recipe."""
    lock = request.locked
    assert lock is not None
    locked = (lock.suite, sorted(lock.requested))
    if locked != (requested.debian.suite, sorted(requested.packages)):
        differing = {*lock.requested} ^ {*requested.packages} or {lock.suite, requested.debian.suite}
        from roost.sources import lockfile

        where = display(lockfile.path_of(request.loaded))
        raise UsageError(
            f"the recipe asks for other packages than {where} was made for: {', '.join(sorted(differing)[:8])}",
            hint=f"`inv lock {request.loaded.called} --update`",
        )
    return lock.selection()


def _keys(loaded: Loaded, debian: Debian) -> Iterator[Problem]:
    """Yield a problem for each key file that is not a public key."""
    for number, repository in enumerate(debian.repositories):
        try:
            openpgp.fingerprints(openpgp.dearmored(files.read_bytes(loaded.directory / repository.key)))
        except NoKeyError as error:
            where = ("os", "debian", "repositories", number, "key")
            yield loaded.problem(where, f"'{repository.key}' is not a key of a repository: {error}")
        except OSError:
            # The loader reports problems of the file.
            continue


def items(loaded: Loaded) -> Iterator[Item]:
    """Yield the sources and keys that stay in the image; a tree that is only unpacked has no apt to read them."""
    debian = _source(loaded)
    if debian.variant == "unpacked":
        return
    for extra in repositories.read(debian, loaded.directory):
        if extra.repository.keep:
            yield Item(extra.keyring, 0o644, extra.key.encode())
            source = extra.inside(debian.architecture)
            yield Item(f"/etc/apt/sources.list.d/{extra.name}.sources", 0o644, source.encode())


def _unpacked(loaded: Loaded) -> Iterator[Problem]:
    """Yield problems for settings that a tree that is only unpacked does not support."""
    recipe = loaded.recipe
    if recipe.locale not in BUILT_IN:
        what = f"the variant unpacked has no locale {shown(recipe.locale)}: nothing in it would make one"
        yield loaded.problem(("locale",), what, "leave it out, or use `variant: full` with the package locales")
    if recipe.cloud_init is not None:
        what = "the variant unpacked has no cloud-init: nothing would read the seed"
        yield loaded.problem(("cloud_init",), what, "use `first_boot`, or `variant: full` with the package cloud-init")
