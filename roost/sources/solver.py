"""Package selection: apt of this host selects a tree's packages, as it will under mmdebstrap, before any installation.

The archive's lists are kept in a separate root for apt in the cache, and are updated only when the signed index has new
package information. The result is stored with lists that contain only the selected packages: mmdebstrap gets these, so
that it installs exactly what was selected.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from filelock import FileLock

from roost.errors import ImageError, ToolError
from roost.host import files, jsontext
from roost.recipe.words import some
from roost.sources import contained, keyring, packages
from roost.sources.bootstrap import TOOLS, Bootstrap
from roost.sources.bootstrap_errors import explained
from roost.sources.packages import Package, Selection
from roost.store import keys
from roost.store.cache import Cache, work_directory
from roost.store.stage import Stage

STAGE = Stage("selections", (__name__,), ("apt-get", "apt-cache", "apt-config"))
LISTS = Stage("lists", (__name__,), ("apt-get",))
#: The directory of apt's roots in the cache.
ROOTS = "apt"
FOUND = "packages.json"
#: Next to the lists of a selection: the packages that mmdebstrap installs first.
ESSENTIAL = "essential.json"
#: In apt's root: the keys of an archive that the host does not trust by default.
KEYRING = "keyring.gpg"
#: Bytes of one list: Debian's main has 50 MB.
LARGEST = 1 << 30
#: The packages that mmdebstrap's variant minbase adds to the essential ones (mmdebstrap(1)), as a pattern of apt's.
REQUIRED = "?and(?priority(required),?not(?essential))"

CONFIGURATION = """\
Dir "@ROOT@";
Dir::Etc "@ROOT@/etc";
Dir::Etc::Trusted "@TRUSTED@";
Dir::Etc::TrustedParts "@PARTS@";
Dir::State "@ROOT@";
Dir::State::Lists "@ROOT@/lists";
Dir::State::Status "@ROOT@/status";
Dir::Cache "@ROOT@";
Dir::Cache::Archives "@ROOT@/archives";
APT::Architecture "{architecture}";
APT::Architectures "{architecture}";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::GzipIndexes "false";
Acquire::ForceHash "SHA256";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Acquire::Retries "2";
pkgCacheGen::ForceEssential ",";
"""


def hook(name: str) -> Path:
    """Return the path of one of roost's scripts that run with apt."""
    return Path(str(resources.files("roost.sources") / "hooks" / name))


def _pattern(suite: str, architecture: str, what: str) -> str:
    return f"?narrow(?or(?archive(^{suite}$),?codename(^{suite}$)),?architecture({architecture}),{what})"


def selected(wanted: Bootstrap, cache: Cache, log: Path, locked: Selection | None = None) -> Bootstrap:
    """Return the bootstrap with the packages that apt selects for it, or with those of a lock.

    Raises `ImageError` for a package that the archive does not have (any more), `HostError` for an archive that does
    not answer.
    """
    found = locked if locked is not None else _selection(wanted, cache, log)

    def make(directory: Path) -> None:
        with _root(wanted, cache) as root:
            _apt(wanted, root, "select", ["update", ""], log)
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
        with _root(wanted, cache) as root:
            found = _solve(wanted, root, log)

            def keep(lists: Path) -> None:
                _keep(root, lists, found, wanted, False)
                _essential(wanted, lists, log)

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
    _apt(wanted, root, "select", [debian.variant, essential, *names], log)
    texts = [files.read_text(path, LARGEST) for path in sorted((root / "out").iterdir())]
    tools = packages.of_uris(files.read_text(root / "out.tools", LARGEST))
    return Selection(packages.of_uris("".join(texts)), None, tools)


@contextmanager
def _root(wanted: Bootstrap, cache: Cache) -> Iterator[Path]:
    """Yield the root directory of apt for these sources, with its configuration, locked."""
    name = keys.digest(wanted.sources())
    root = cache.root / ROOTS / name
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(files.lock_path(root.with_name(f".{name}.lock"))):
        root.mkdir(exist_ok=True)
        os.utime(root)
        prepare(wanted, root)
        try:
            yield root
        finally:
            for left in ("pkgcache.bin", "srcpkgcache.bin"):
                (root / left).unlink(missing_ok=True)


def prepare(wanted: Bootstrap, root: Path) -> None:
    """Write apt's configuration into a directory: settings, sources, and an empty directory `out`."""
    shutil.rmtree(root / "out", ignore_errors=True)
    shutil.rmtree(root / "etc", ignore_errors=True)
    for name in (
        "out",
        "etc/apt.conf.d",
        "etc/preferences.d",
        "etc/sources.list.d",
        "lists/partial",
        "archives/partial",
    ):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "apt.conf.in").write_text(CONFIGURATION.format(architecture=wanted.debian.architecture))
    (root / "etc/sources.list").write_text("".join(f"{line}\n" for line in wanted.lines))
    for extra in wanted.repositories:
        path = root / f"etc/sources.list.d/roost-{extra.name}.sources"
        path.write_text(extra.outside(wanted.debian.architecture))


def _apt(wanted: Bootstrap, root: Path, script: str, words: Sequence[str], log: Path) -> None:
    """Run one of the scripts that call apt with a separate root; raise an error for its output."""
    given = keyring.foreign(wanted.index.origin)
    if given is not None:
        shutil.copyfile(given, root / KEYRING)
    try:
        with work_directory() as scratch:
            contained.run(
                wanted,
                [str(hook(script)), str(root), *words],
                contained.Given(scratch, [hook(script).parent], [root], network=True),
                log=log,
                env={"ROOST_TOOLS": " ".join(TOOLS)},
                what=f"cannot select the packages of {wanted.debian.suite}",
            )
    except ToolError as error:
        raise explained(error, wanted) from error


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
    further = tuple(list_name(extra.source.directory) for extra in wanted.repositories)
    for path in sorted((root / "lists").iterdir()):
        if path.name.endswith("_Packages"):
            whole = files.read_text(path, LARGEST)
            text, present = packages.only(whole, [*found.packages, *found.tools])
            (places[0] / path.name).write_text(text)
            text, _ = packages.only(text, found.packages)
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
        changed = {one for path in lists for one in packages.replaced(files.read_text(path, LARGEST), missing)}
        if changed:
            raise _changed(sorted(changed))
    if missing:
        raise _missing_error(sorted(missing), wanted, locked)
    (places[1] / own.name).write_text(own_text)


def _suite_list(wanted: Bootstrap) -> str:
    """Return the name of the list of the suite's own packages."""
    first = wanted.index.sources[0]
    place = f"{first.directory}/{first.components[0]}/binary-{wanted.debian.architecture}"
    return f"{list_name(place)}_Packages"


def list_name(address: str) -> str:
    """Return apt's file name for the list of an address (apt, URItoFileName): no scheme, some characters as %XX."""
    path = re.sub(r"^[a-z+]+:(//([^/@]*@)?)?", "", address)
    return re.sub(r'[\\|{}\[\]<>"^~_=!@#$%&*]', lambda found: f"%{ord(found[0]):02x}", path).replace("/", "_")


def download(wanted: Bootstrap, missing: Sequence[Package], directory: Path, log: Path) -> Path:
    """Download packages of the selection, verified by apt; return their directory, below `directory`."""
    assert wanted.selection.lists is not None
    return _beside(
        wanted, wanted.selection.lists / "sources", directory, ["download", *(one.exact for one in missing)], log
    )


def _essential(wanted: Bootstrap, lists: Path, log: Path) -> None:
    """Record in a directory of lists which of its packages are essential, or dependencies of these.

    The query is the same as mmdebstrap's, with the same lists. In a tree that is only unpacked there is no order.
    """
    found: tuple[Package, ...] = ()
    if wanted.debian.variant == "full":
        pattern = _pattern(wanted.debian.suite, wanted.debian.architecture, "?essential")
        with work_directory() as work:
            out = _beside(wanted, lists / "merged", work, ["essential", pattern], log)
            found = packages.of_uris(files.read_text(out / "essential", LARGEST))
    (lists / ESSENTIAL).write_text(json.dumps([one.parts() for one in found]))


def _beside(wanted: Bootstrap, lists: Path, directory: Path, words: Sequence[str], log: Path) -> Path:
    """Run one of the scripts with a separate root for apt in `directory` and these lists; return its output."""
    root = directory / "apt"
    shutil.copytree(lists, root / "lists")
    prepare(wanted, root)
    _apt(wanted, root, words[0], words[1:], log)
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
