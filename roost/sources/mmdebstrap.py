"""A root tree installed by mmdebstrap, kept as one canonical tar in the cache.

The tar holds owners as numbers, modes, xattrs, hard links and device nodes, sorted, no time later than the
epoch: the same for root and for a normal user. `full` installs and configures packages; `unpacked` only unpacks
those named, without dpkg, for trees of a few megabytes.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.errors import HostError, ToolError
from roost.events import Stages
from roost.host import files, temporary
from roost.sources import archive, contained, debs, keyring, packages, solver, uncompressed, unpacked
from roost.sources.bootstrap import Bootstrap
from roost.sources.bootstrap_errors import explained
from roost.store import cache
from roost.store.cache import Cache, work_directory
from roost.store.stage import Stage

TAR = "tree.tar"
#: Beside the tar: the time that no file in it is later than.
EPOCH = "epoch"
STAGE = Stage(
    "rootfs",
    (__name__,),
    # mmdebstrap runs apt-get, dpkg and tar of the host.
    ("mmdebstrap", "apt-get", "apt-cache", "dpkg", "dpkg-deb", "tar", "depmod", "cpio", "zstd"),
)


@dataclass(frozen=True, slots=True)
class Installed:
    """A root tree that mmdebstrap makes."""

    wanted: Bootstrap
    #: Its kernel is a package, or files that are added to it.
    own_kernel: bool = False

    @property
    def bootstrap(self) -> Bootstrap:
        """What is installed."""
        return self.wanted

    @property
    def suite(self) -> str | None:
        """The suite that the kernel's package is of, None where no package of a kernel is installed."""
        return self.wanted.debian.suite if self.wanted.kernel is not None else None

    @property
    def epoch(self) -> int:
        """The time that no file is later than, in seconds since 1970, once the tree is made."""
        made = cache.default().get(STAGE.name, self.key)
        if made is None:
            raise HostError("the root tree was removed from the cache while it was in use", hint="build again")
        return int(files.read_text(made / EPOCH))

    @property
    def key(self) -> str:
        """The key of the tree."""
        return STAGE.key(self.wanted.inputs())

    def inputs(self) -> dict[str, Any]:
        """Return all that the tree depends on, as JSON, and the state of the archive that it was found in."""
        return {**self.wanted.inputs(), "index": self.wanted.index.digests}

    def parts(self) -> dict[str, Any]:
        """Return all that the key is made of."""
        return STAGE.parts(self.wanted.inputs())

    def make(self, cache: Cache, stages: Stages, log_dir: Path) -> Path:
        """Return the tar of the tree; see `bootstrap`."""
        return bootstrap(self.wanted, cache, stages, log_dir)


def bootstrap(wanted: Bootstrap, cache: Cache, stages: Stages, log_dir: Path) -> Path:
    """Return the tar of the tree, from the cache or freshly installed.

    Raises `HostError` for an archive that does not answer or a full disk, `ToolError` for all else that stops
    mmdebstrap; each with the log.
    """
    log = log_dir / "mmdebstrap.log"

    def make(directory: Path) -> None:
        with stages.stage("bootstrap", f"{wanted.debian.suite}, {len(wanted.selection.packages)} packages"):
            with uncompressed.held(wanted, cache, log) as found:
                epoch = wanted.epoch if wanted.epoch is not None else debs.epoch(found)
                if wanted.debian.variant == "full":
                    _install(wanted, directory, found, epoch, log)
                else:
                    unpacked.make(wanted, epoch, directory / TAR, found, log_dir)
            (directory / EPOCH).write_text(str(epoch))

    return STAGE.stored(cache, wanted.inputs(), make) / TAR


def adopt(wanted: Bootstrap, cache: Cache, tar: Path, epoch: int) -> Path:
    """Keep a tree that another host installed from the same inputs as what this one would make, at `epoch`; return it.

    Nobody can tell from outside whether it is: the caller knows where it comes from.
    """

    def make(directory: Path) -> None:
        tar.rename(directory / TAR)
        (directory / EPOCH).write_text(str(epoch))

    return STAGE.stored(cache, wanted.inputs(), make) / TAR


def _base_argv(wanted: Bootstrap) -> list[str]:
    return [
        "mmdebstrap",
        # Not --quiet: it would keep apt's own words from the log when apt fails.
        # Root of our own namespace, see _inside. The root that mmdebstrap maps by itself is a subordinate id: it could
        # read nothing below a home that is closed to others, as Debian 13 makes them.
        "--mode=root",
        # A dead mirror must not hold a build for apt's default of minutes at each file.
        '--aptopt=Acquire::http::Timeout "20"',
        '--aptopt=Acquire::https::Timeout "20"',
        '--aptopt=Acquire::Retries "2"',
        *_sandbox(wanted),
        *archive.arguments(wanted.debian),
        *keyring.arguments(wanted.index.origin),
    ]


def _sandbox(wanted: Bootstrap) -> list[str]:
    """Return apt's option for who reads packages: not _apt where that cannot, in a closed home or a local archive."""
    return ['--aptopt=APT::Sandbox::User "root"'] if contained.sandbox(wanted) else []


def _target(wanted: Bootstrap, output: Path | str) -> list[str]:
    return [wanted.debian.suite, str(output), *wanted.lines]


def _give(wanted: Bootstrap, directory: Path, files_of: Sequence[Path]) -> None:
    """Write what the hooks put into the tree, or compare it with: lists of the packages that there are, sources."""
    lists = wanted.selection.lists
    assert lists is not None, "packages were selected"
    shutil.copytree(lists / "merged", directory / LISTS)
    sizes = {path.name: path.stat().st_size for path in files_of}
    for path in (directory / LISTS).glob("*_Packages"):
        path.write_text(packages.stored(files.read_text(path, solver.LARGEST), sizes))
    (directory / SOURCES).mkdir()
    for extra in wanted.repositories:
        path = directory / SOURCES / f"roost-{extra.name}.sources"
        path.write_text(extra.outside(wanted.debian.architecture))
    # mmdebstrap's own differs from release to release.
    (directory / "sources.list").write_text("".join(f"{line}\n" for line in wanted.lines))
    (directory / SELECTED).write_text("".join(f"{one.name} {one.version}\n" for one in wanted.selection.packages))


def _install(wanted: Bootstrap, directory: Path, found: Sequence[Path], epoch: int, log: Path) -> None:
    """Have mmdebstrap install the selection, without a network, into the canonical tar in `directory`."""
    with temporary.directory("sources") as given, work_directory() as scratch:
        _give(wanted, given, found)
        env = {
            "SOURCE_DATE_EPOCH": str(epoch),
            # initramfs-tools' hook of kernel packages: the initrd is made once, at the end (hooks/finish), not by each.
            "INITRD": "No",
            # A kernel that is not a package comes into the tree later, and its initrd with it.
            "ROOST_INITRD": wanted.initrd if wanted.kernel is not None else "later",
            "ROOST_GIVEN": str(given),
            "ROOST_PACKAGES": str(found[0].parent),
        }
        readable = [given, solver.hook("finish").parent, found[0].parent]
        host = contained.Given(scratch, readable, [directory])
        what = f"cannot install {wanted.debian.suite}"
        tree = scratch / "tree"
        words = [solver.hook("install"), tree, directory / TAR, *_base_argv(wanted), *_install_argv(wanted, tree)]
        try:
            contained.run(wanted, [str(word) for word in words], host, log=log, env=env, what=what)
        except ToolError as error:
            raise explained(error, wanted) from error


#: What hooks/setup and hooks/finish find in the directory that they are given: the lists, the sources of further
#: repositories, what must have been installed (NAME VERSION, a line each, sorted).
LISTS, SOURCES, SELECTED = "lists", "sources.list.d", "selected"


def _install_argv(wanted: Bootstrap, tree: Path) -> list[str]:
    return [
        "--variant=minbase",
        "--format=directory",
        f"--include={','.join(wanted.packages)}",
        # The tree is thrown away when the host goes down in the middle.
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in wanted.debian.exclude),
        "--skip=download/empty",
        "--skip=essential/unlink",
        # Its way of emptying apt's directories is another apt-get update; hooks/finish removes them.
        "--skip=cleanup/apt",
        f"--setup-hook={solver.hook('setup')}",
        f"--customize-hook={solver.hook('finish')}",
        *_target(wanted, tree),
    ]
