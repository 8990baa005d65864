"""One run of mmdebstrap: without a network, with the packages of a selection available, into a tar.

mmdebstrap installs the essential packages with dpkg, then has apt install all others. The first part does nothing in a
tree that already has the essential packages (mmdebstrap, run_download, run_essential).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roost.errors import ToolError
from roost.host import files, temporary
from roost.sources import apt_root, archive, contained, keyring, packages
from roost.sources.bootstrap import Bootstrap
from roost.sources.bootstrap_errors import explained
from roost.store.cache import work_directory

#: mmdebstrap runs the host's apt-get, dpkg and tar.
TOOLS = ("mmdebstrap", "apt-get", "apt-cache", "dpkg", "dpkg-deb", "tar")
#: Files in the hooks' directory: the lists, the sources of further repositories, and the packages that must have been
#: installed (NAME VERSION, one a line, sorted).
LISTS, SOURCES, SELECTED = "lists", "sources.list.d", "selected"


@dataclass(frozen=True, slots=True)
class Step:
    """One step: `hook` runs mmdebstrap with `options` and packs the tree; `env` is for it and mmdebstrap's hooks.

    `readable` are directories of the host besides roost's own. With `ordered`, apt's lists are sorted by package, so
    that their order in the archive does not matter.
    """

    hook: str
    options: tuple[str, ...]
    env: Mapping[str, str]
    readable: tuple[Path, ...] = ()
    ordered: bool = False


def run(wanted: Bootstrap, step: Step, found: Sequence[Path], tar: Path, log: Path) -> None:
    """Run mmdebstrap to install the selection of `wanted`, whose packages are `found`, and pack the tree into `tar`.

    Raises `HostError` for an archive that does not answer or a full disk, `ToolError` for other failures; with the log.
    """
    with temporary.directory("sources") as given, work_directory() as scratch:
        give(wanted, given, found, ordered=step.ordered)
        # A tree that has everything already needs no package.
        at_hand = found[0].parent if found else given / "none"
        (at_hand / "partial").mkdir(parents=True, exist_ok=True)
        env = {**step.env, "ROOST_GIVEN": str(given), "ROOST_PACKAGES": str(at_hand)}
        hook, tree = apt_root.hook(step.hook), scratch / "tree"
        host = contained.Given(scratch, [given, hook.parent, at_hand, *step.readable], [tar.parent])
        words = [hook, tree, tar, *base_argv(wanted), *_options(wanted), *step.options, *target(wanted, tree)]
        try:
            what = f"cannot install {wanted.debian.suite}"
            contained.run(wanted, [str(word) for word in words], host, log=log, env=env, what=what)
        except ToolError as error:
            raise explained(error, wanted) from error


def base_argv(wanted: Bootstrap) -> list[str]:
    """Return mmdebstrap's command line up to the step's options."""
    return [
        "mmdebstrap",
        # Not --quiet: it would keep apt's messages from the log when apt fails. Root of roost's own namespace, see
        # `contained`: the root that mmdebstrap maps by itself is a subordinate id, which cannot read below a home that
        # is closed to others, as Debian 13 makes them.
        "--mode=root",
        # A dead mirror must not block a build for apt's default of minutes per file.
        '--aptopt=Acquire::http::Timeout "20"',
        '--aptopt=Acquire::https::Timeout "20"',
        '--aptopt=Acquire::Retries "2"',
        *_sandbox(wanted),
        *archive.arguments(wanted.debian),
        *keyring.arguments(wanted.index.origin),
    ]


def _sandbox(wanted: Bootstrap) -> list[str]:
    """Return apt's option for the user that reads packages: not _apt if it cannot (closed home, local archive)."""
    return ['--aptopt=APT::Sandbox::User "root"'] if contained.sandbox(wanted) else []


def _options(wanted: Bootstrap) -> list[str]:
    return [
        "--format=directory",
        # If the host goes down in the middle, the tree is thrown away anyway.
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in wanted.debian.exclude),
        "--skip=download/empty",
        "--skip=essential/unlink",
        f"--setup-hook={apt_root.hook('setup')}",
    ]


def target(wanted: Bootstrap, output: Path | str) -> list[str]:
    """Return the end of mmdebstrap's command line: suite, target, sources."""
    return [wanted.debian.suite, str(output), *wanted.lines]


def give(wanted: Bootstrap, directory: Path, files_of: Sequence[Path], *, ordered: bool = False) -> None:
    """Write what the hooks put into the tree or compare it with: lists of the available packages, sources."""
    lists = wanted.selection.lists
    assert lists is not None, "packages were selected"
    shutil.copytree(lists / "merged", directory / LISTS)
    sizes = {path.name: path.stat().st_size for path in files_of}
    for path in (directory / LISTS).glob("*_Packages"):
        text, _ = packages.only(files.read_bytes(path, apt_root.LARGEST), wanted.selection.packages)
        path.write_text(packages.stored(packages.ordered(text) if ordered else text, sizes))
    (directory / SOURCES).mkdir()
    for extra in wanted.repositories:
        path = directory / SOURCES / f"roost-{extra.name}.sources"
        path.write_text(extra.outside(wanted.debian.architecture))
    # mmdebstrap's own differs from release to release.
    (directory / "sources.list").write_text("".join(f"{line}\n" for line in wanted.lines))
    (directory / SELECTED).write_text("".join(f"{one.name} {one.version}\n" for one in wanted.selection.packages))
