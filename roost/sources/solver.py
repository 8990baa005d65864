"""Package selection: apt of this host selects a tree's packages, as it will under mmdebstrap, before any installation.

apt has a root directory of its own (`apt_root`), and is asked only when the signed index has new package information.
The result is stored with lists that contain only the selected packages: mmdebstrap gets these, so that it installs
exactly what was selected.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from roost.errors import ImageError
from roost.host import files, jsontext
from roost.recipe.words import some
from roost.sources import apt_root, packages
from roost.sources.bootstrap import Bootstrap
from roost.sources.packages import Package, Selection
from roost.store.cache import Cache, work_directory
from roost.store.stage import Stage

STAGE = Stage("selections", (__name__,), apt_root.APT)
LISTS = Stage("lists", (__name__,), ("apt-get",))
FOUND = "packages.json"
#: Next to the lists of a selection: the packages that mmdebstrap installs first.
ESSENTIAL = "essential.json"
#: The packages that mmdebstrap's variant minbase adds to the essential ones (mmdebstrap(1)), as a pattern of apt's.
REQUIRED = "?and(?priority(required),?not(?essential))"


def _pattern(suite: str, architecture: str, what: str) -> str:
    return f"?narrow(?or(?archive(^{suite}$),?codename(^{suite}$)),?architecture({architecture}),{what})"


def selected(wanted: Bootstrap, cache: Cache, log: Path, locked: Selection | None = None) -> Bootstrap:
    """Return the bootstrap with the packages that apt selects for it, or with those of a lock.

    Raises `ImageError` for a package that the archive does not have (any more), `HostError` for an archive that does
    not answer.
    """
    found = locked if locked is not None else _selection(wanted, cache, log)

    def make(directory: Path) -> None:
        with apt_root.root(wanted, cache) as root:
            apt_root.run(wanted, root, "select", ["update", ""], log)
            _keep(root, directory, found, wanted, locked is not None)
        _essential(wanted, directory, log)

    lists = LISTS.stored(cache, _kept(wanted, found), make)
    essential = packages.of_parts(jsontext.read(lists / ESSENTIAL))
    return replace(wanted, selection=replace(found, lists=lists, essential=essential))


def _kept(wanted: Bootstrap, found: Selection) -> dict[str, Any]:
    """Return the inputs of the lists that contain only these packages."""
    return {**wanted.sources(), "variant": wanted.debian.variant, **_parts(found)}


def _parts(found: Selection) -> dict[str, Any]:
    return {"packages": found.inputs(), "tools": [one.parts() for one in found.tools]}


def _selection(wanted: Bootstrap, cache: Cache, log: Path) -> Selection:
    """Return what apt selects, computed once for each state of the archive."""

    def make(directory: Path) -> None:
        with apt_root.root(wanted, cache) as root:
            found = _solve(wanted, root, log)

            def keep(lists: Path) -> None:
                _keep(root, lists, found, wanted, False)
                _essential(wanted, lists, log, found)

            LISTS.stored(cache, _kept(wanted, found), keep)
        (directory / FOUND).write_text(json.dumps(_parts(found)))

    inputs = {**wanted.asked(), "states": wanted.index.states}
    found = jsontext.read(STAGE.stored(cache, inputs, make) / FOUND)
    return Selection(packages.of_parts(found["packages"]), None, packages.of_parts(found["tools"]))


def _solve(wanted: Bootstrap, root: Path, log: Path) -> Selection:
    """Update the lists and let apt select."""
    debian = wanted.debian
    essential = _pattern(debian.suite, debian.architecture, "?essential")
    names = list(wanted.packages)
    if debian.variant == "full":
        names.append(_pattern(debian.suite, debian.architecture, REQUIRED))
    apt_root.run(wanted, root, "select", [debian.variant, essential, *names], log)
    texts = {path.name: files.read_text(path, apt_root.LARGEST) for path in (root / "out").iterdir()}
    tools = packages.of_uris(files.read_text(root / "out.tools", apt_root.LARGEST))
    first = packages.of_uris(texts.get("essential", ""))
    return Selection(packages.of_uris("".join(texts.values())), None, tools, first)


def _keep(root: Path, directory: Path, found: Selection, wanted: Bootstrap, locked: bool) -> None:
    """Write the archive's lists reduced to the given packages into a directory; raise when one is in none of them.

    In `sources` each source has its own list, to download from. In `merged` the suite's list includes those of its
    updates: mmdebstrap asks for the essential packages of the suite, and takes the versions found there.
    """
    missing = {*found.packages, *found.tools}
    own, own_text = root / "lists" / _suite_list(wanted), ""
    places = [directory / "sources", directory / "merged"]
    for place in places:
        # Lists with these next to them show mmdebstrap that apt was already updated.
        for name in ("auxfiles", "partial"):
            (place / name).mkdir(parents=True)
        (place / "lock").touch()
    further = tuple(apt_root.list_name(extra.source.directory) for extra in wanted.repositories)
    for path in sorted((root / "lists").iterdir()):
        if path.name.endswith("_Packages"):
            text, present = packages.only(files.read_bytes(path, apt_root.LARGEST), [*found.packages, *found.tools])
            (places[0] / path.name).write_text(text)
            text, _ = packages.only(text.encode(), found.packages)
            if path.name.startswith(further):
                (places[1] / path.name).write_text(text)
            else:
                own_text += text
            missing -= present
        elif path.name.endswith(("_InRelease", "_Release", "_Release.gpg")):
            for place in places:
                shutil.copyfile(path, place / path.name)
    if missing and locked:
        lists = [path for path in (root / "lists").iterdir() if path.name.endswith("_Packages")]
        changed = {one for path in lists for one in packages.replaced(files.read_text(path, apt_root.LARGEST), missing)}
        if changed:
            raise _changed(sorted(changed))
    if missing:
        raise _missing_error(sorted(missing), wanted, locked)
    (places[1] / own.name).write_text(own_text)


def _suite_list(wanted: Bootstrap) -> str:
    """Return the name of the list of the suite's own packages."""
    first = wanted.index.sources[0]
    place = f"{first.directory}/{first.components[0]}/binary-{wanted.debian.architecture}"
    return f"{apt_root.list_name(place)}_Packages"


def download(wanted: Bootstrap, missing: Sequence[Package], directory: Path, log: Path) -> Path:
    """Download packages of the selection, verified by apt; return their directory, below `directory`."""
    assert wanted.selection.lists is not None
    return _beside(
        wanted, wanted.selection.lists / "sources", directory, ["download", *(one.exact for one in missing)], log
    )


def _essential(wanted: Bootstrap, lists: Path, log: Path, selected: Selection | None = None) -> None:
    """Record in a directory of lists which of its packages are essential, or dependencies of these.

    The query is the same as mmdebstrap's, with the same lists. In a tree that is only unpacked there is no order. Where
    apt has `selected` one version of each package, it has answered already: the archive's lists have these versions
    too, and the packages that it took there are in the reduced ones.
    """
    found: tuple[Package, ...] = ()
    if selected is not None and len({one.name for one in selected.packages}) == len(selected.packages):
        found = selected.essential
    elif wanted.debian.variant == "full":
        pattern = _pattern(wanted.debian.suite, wanted.debian.architecture, "?essential")
        with work_directory() as work:
            out = _beside(wanted, lists / "merged", work, ["essential", pattern], log)
            found = packages.of_uris(files.read_text(out / "essential", apt_root.LARGEST))
    (lists / ESSENTIAL).write_text(json.dumps([one.parts() for one in found]))


def _beside(wanted: Bootstrap, lists: Path, directory: Path, words: Sequence[str], log: Path) -> Path:
    """Run one of the scripts with a separate root for apt in `directory` and these lists; return its output."""
    root = directory / "apt"
    shutil.copytree(lists, root / "lists")
    apt_root.prepare(wanted, root)
    apt_root.run(wanted, root, words[0], words[1:], log)
    return root / "out"


def _named(packages: Sequence[Package]) -> str:
    return some([f"{one.name} {one.version}" for one in packages], 8)


def _missing_error(missing: Sequence[Package], wanted: Bootstrap, locked: bool) -> ImageError:
    """Return the error for packages that the archive does not have."""
    named = _named(missing)
    if not locked:
        return ImageError(f"the archive's lists do not have {named}", hint="build again: it is changing")
    hint = "`inv lock NAME --update` takes what there is now"
    if wanted.debian.snapshot is None:
        hint += "; with os.debian.snapshot the packages of a point in time stay available"
    return ImageError(f"the archive no longer has {named} as locked", hint=hint)


def _changed(found: Sequence[Package]) -> ImageError:
    """Return the error for packages that the archive has in the locked version, but with other content."""
    hint = "the archive replaced the file under the same version, or somebody changed the lock: find out which"
    return ImageError(f"the archive's sha256 of {_named(found)} differs from the lock's", hint=hint)
