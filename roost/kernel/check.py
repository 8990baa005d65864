"""Check, before anything boots, whether a kernel starts on the recipe's disks, by the files that would be booted.

`check` examines the actual kernel, its modules and its initrd; `roost.kernel.claims` checks what the catalogue claims
before a build. Both report everything at once, each problem at the key of the recipe that causes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roost.condor.placement import Where, kernel_of
from roost.errors import ImageError, Problem, SeveralProblemsError
from roost.host import causes, rooted
from roost.kernel import claims, contents, cpio, drivers, facts, records
from roost.kernel.catalogue import KernelSpec
from roost.kernel.contents import Initrd
from roost.kernel.drivers import BESIDE, BUSES, FILESYSTEMS, Modules
from roost.kernel.facts import Facts
from roost.kernel.inspect import KernelFiles
from roost.recipe.loader import Loaded
from roost.recipe.model import Recipe
from roost.store.cache import Cache

XEN_ZSTD = "4.15"


class KernelRefusalError(SeveralProblemsError, ImageError):
    """This kernel would not start this image; `problems` has every reason (exit code 1)."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A kernel with its modules and initrd: `has` says whether a module's file exists; an initrd of None means none."""

    facts: Facts
    modules: Modules
    has: Callable[[str], bool]
    built_for: str | None
    initrd: Initrd | None
    #: Why the initrd could not be read.
    bad_initrd: str | None = None


@dataclass(frozen=True, slots=True)
class Specs:
    """The recipe's kernel in the catalogue, None for the tree's own kernel, and the alternatives."""

    chosen: KernelSpec | None
    others: Sequence[KernelSpec]


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of `check`: problems that stop a build, notes that do not."""

    problems: tuple[Problem, ...]
    notes: tuple[str, ...]


def look(tree: Path, kernel: KernelFiles, *, xen: bool, read: Callable[[Path], Initrd] = contents.read) -> Candidate:
    """Read a kernel of a tree with its modules and its initrd. Raises `ImageError` when it is not a kernel.

    `xen` means that it must be known whether Xen can start it; `read` is the function that reads an initrd.
    """
    found = facts.in_tree(tree, kernel.kernel)
    if found is None:
        raise ImageError(f"{kernel.kernel} is not an x86 kernel that a boot loader starts")
    directory = found.directory

    def has(path: str) -> bool:
        return rooted.is_file(directory, path)

    initrd, bad = None, None
    if kernel.initrd is not None:
        try:
            initrd = read(rooted.resolve(tree, kernel.initrd))
        except (cpio.BadInitrdError, OSError) as error:
            causes.check(error)
            bad = causes.reason(error)
    first = next((path for path in found.modules.loadable.values() if has(path)), None)
    built_for = contents.built_for(rooted.resolve(directory, first)) if first else None
    return Candidate(found.facts(look=xen), found.modules, has, built_for, initrd, bad)


def enforce(
    loaded: Loaded,
    tree: Path,
    kernel: KernelFiles,
    specs: Specs,
    note: Callable[[str], None],
    store: Cache,
) -> Facts:
    """Return the facts of a finished tree's kernel; raise `KernelRefusalError` with all reasons why it cannot start."""
    recipe = loaded.recipe
    seen = look(tree, kernel, xen="xen" in recipe.hypervisors, read=lambda path: records.initrd(store, path))
    spec = specs.chosen
    alone = spec is not None and spec.files is not None and spec.files.modules is None
    found = check(recipe, seen, loaded.where, specs.others, alone=alone)
    for text in found.notes:
        note(text)
    if found.problems:
        raise KernelRefusalError(found.problems)
    return seen.facts


def check(
    recipe: Recipe, seen: Candidate, where: Where, others: Sequence[KernelSpec] = (), *, alone: bool = False
) -> CheckResult:
    """Return everything that would keep this kernel from starting the recipe's image.

    A kernel that is `alone` was given without modules; its built-in drivers are then the user's responsibility.
    """
    notes: list[str] = []
    blind = alone and not seen.modules.loadable and not seen.modules.builtin
    problems = dict.fromkeys(_matching(seen, where, blind=blind))
    if blind:
        notes.append(f"kernel {seen.facts.release} came without modules: its drivers are not known")
    else:
        problems |= dict.fromkeys(_drivers(recipe, seen, where, others))
    if "xen" in recipe.hypervisors:
        problems |= dict.fromkeys(_xen(recipe, seen, where, others))
        if seen.facts.compression == "zstd":
            notes.append(
                f"kernel {seen.facts.release} is compressed with zstd: only Xen {XEN_ZSTD} and later unpack it"
            )
    return CheckResult(tuple(problems), tuple(notes))


def _matching(seen: Candidate, where: Where, *, blind: bool) -> Iterator[Problem]:
    """Yield a problem where kernel, modules and initrd are of different builds."""
    release, place = seen.facts.release, where(("kernel", "use"))
    if seen.bad_initrd is not None:
        yield Problem(seen.bad_initrd, where(("kernel", "initrd")))
    if not seen.modules.loadable and not seen.modules.builtin and not blind:
        yield Problem(
            f"the image has no modules of its kernel {release}", place, "kernel and modules are of one package"
        )
    if seen.built_for is not None and seen.built_for != release:
        yield Problem(f"the modules of kernel {release} were built for {seen.built_for}", place)
    if seen.initrd is not None:
        strange = sorted({*seen.initrd.releases, *filter(None, [seen.initrd.built_for])} - {release})
        if strange:
            what = f"the initrd has modules of {', '.join(strange)}, and the kernel is {release}"
            yield Problem(what, where(("kernel", "initrd")), "rebuild the initrd for this kernel")


def _drivers(recipe: Recipe, seen: Candidate, where: Where, others: Sequence[KernelSpec]) -> Iterator[Problem]:
    release = seen.facts.release
    if not seen.modules.loadable and not seen.modules.builtin:
        return
    for hypervisor in recipe.hypervisors:
        for number, disk, device in claims.placed(recipe, hypervisor):
            bus = drivers.bus_of(device, hypervisor)
            place = where(("disks", number, "device"))
            if missing := seen.modules.missing(BUSES[bus]):
                device_hint = claims.device_hint(recipe, disk) if bus != "xen" else None
                hint = claims.instead(others, {claims.ABILITIES[bus]}, device_hint)
                yield Problem(claims.no_driver(release, disk, device, missing), place, hint)
            else:
                needed = seen.modules.files(BUSES[bus])
                early = disk is recipe.root_disk
                yield from _at_hand(seen, f"disk {disk.name} on {device}", needed, where, number, early=early)
            for area in disk.areas:
                if area.filesystem == "swap" or (area.mount is None and disk.role != "io"):
                    continue
                names = FILESYSTEMS[area.filesystem]
                if seen.modules.missing(names):
                    what = f"kernel {release} has no driver for {area.filesystem}, which is on disk {disk.name}"
                    yield Problem(what, where(("disks", number)), "use another kernel, or another file system")
                    continue
                early = area.mount == "/"
                beside = [name for name in BESIDE.get(area.filesystem, ()) if name in seen.modules.loadable]
                needed = seen.modules.files([*names, *beside])
                yield from _at_hand(seen, f"{area.filesystem} on disk {disk.name}", needed, where, number, early=early)


def _at_hand(
    seen: Candidate, what: str, needed: Mapping[str, str], where: Where, number: int, *, early: bool
) -> Iterator[Problem]:
    """Yield a problem if the modules needed for `what` are not where they are looked for.

    `needed` are the modules with their files; those needed `early` must be in the initrd. `number` is the
    disk's index in the recipe.
    """
    packed = seen.initrd.modules if seen.initrd is not None else frozenset()
    absent = [name for name in needed if name not in packed]
    if early:
        if absent and seen.bad_initrd is None:
            lacks = "the initrd lacks" if seen.initrd is not None else "there is no initrd with"
            yield Problem(
                f"{lacks} {', '.join(sorted(absent))}, without which {what} is not found at boot",
                where(("kernel", "initrd")),
                "write `initrd: busybox`, or put them into the tree's own",
            )
        return
    missing = [name for name in absent if not seen.has(needed[name])]
    if missing:
        yield Problem(
            f"neither the initrd nor the image has {', '.join(sorted(missing))}, without which {what} is not found",
            where(("disks", number)),
            "check what os.debian.exclude leaves out",
        )


def _xen(recipe: Recipe, seen: Candidate, where: Where, others: Sequence[KernelSpec]) -> Iterator[Problem]:
    release, place = seen.facts.release, where(("kernel", "use"))
    if seen.facts.xen_pv is False:
        yield Problem(claims.no_xen_pv(release), place, claims.instead(others, {"xen-pv"}))
    elif seen.facts.xen_pv is None:
        what = f"cannot tell whether kernel {release} starts under xen: it has no config, and cannot be unpacked"
        yield Problem(what, place, claims.instead(others, {"xen-pv"}))
    if (packed := claims.packed_otherwise(release, seen.facts.compression)) is not None:
        yield Problem(packed, place)
    if kernel_of(recipe, "xen") is not None and seen.initrd is None and seen.bad_initrd is None:
        what = "without an initrd HTCondor gives a xen machine a blank file name, and it does not start"
        yield Problem(what, where(("kernel", "initrd")), "give it an initrd")
