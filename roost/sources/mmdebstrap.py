"""A root tree installed by mmdebstrap, kept as one canonical tar in the cache.

The tar holds owners as numbers, modes, xattrs, hard links and device nodes, sorted, no time later than the
epoch: the same for root and for a normal user. `full` installs and configures packages; `unpacked` only unpacks
those named, without dpkg, for trees of a few megabytes.
"""

from __future__ import annotations

import contextlib
import filecmp
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from roost.errors import ToolError
from roost.events import Stages
from roost.host import bounded, mapped, memory, namespace, process, temporary
from roost.sources import archive, keyring, unpacked
from roost.sources.bootstrap import Bootstrap
from roost.sources.bootstrap_errors import explained
from roost.store import keys
from roost.store.cache import Cache, work_directory
from roost.store.stage import Stage

TAR = "tree.tar"
#: Seconds: a whole Debian from a slow mirror.
DEADLINE = 3600
STAGE = Stage(
    "rootfs",
    (__name__,),
    # mmdebstrap runs apt-get, dpkg and tar of the host.
    ("mmdebstrap", "apt-get", "dpkg", "dpkg-deb", "tar", "depmod", "cpio", "zstd"),
)


@dataclass(frozen=True, slots=True)
class Installed:
    """A root tree that mmdebstrap makes."""

    wanted: Bootstrap
    #: Its kernel is a package, or files that are added to it.
    own_kernel: bool = False

    @property
    def suite(self) -> str | None:
        """The suite that the kernel's package is of, None where no package of a kernel is installed."""
        return self.wanted.debian.suite if self.wanted.kernel is not None else None

    @property
    def epoch(self) -> int:
        """The time that no file is later than, in seconds since 1970."""
        return self.wanted.epoch

    @property
    def key(self) -> str:
        """The key of the tree."""
        return STAGE.key(self.inputs())

    def inputs(self) -> dict[str, Any]:
        """Return all that the tree depends on, as JSON: the parts of its key."""
        return self.wanted.inputs()

    def make(self, cache: Cache, stages: Stages, log_dir: Path) -> Path:
        """Return the tar of the tree; see `bootstrap`."""
        return bootstrap(self.wanted, cache, stages, log_dir)


def _hooks() -> Path:
    return Path(str(resources.files("roost.sources") / "hooks"))


def bootstrap(wanted: Bootstrap, cache: Cache, stages: Stages, log_dir: Path) -> Path:
    """Return the tar of the tree, from the cache or freshly installed.

    Raises `ImageError` for a package that the archive does not have, `HostError` for an archive that does not
    answer or a full disk, `ToolError` for all else that stops mmdebstrap; each with the log.
    """

    def make(directory: Path) -> None:
        with stages.stage("bootstrap", f"{wanted.debian.suite}, {len(wanted.packages)} packages and what they need"):
            if wanted.debian.variant == "full":
                _install(wanted, directory, cache, log_dir / "mmdebstrap.log")
            else:
                unpacked.make(wanted, directory / TAR, download(wanted, cache, log_dir / "mmdebstrap.log"), log_dir)

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
    """Return apt's option for who downloads: not _apt where that cannot read, in a closed home or a local archive."""
    addresses = [source.uri for source in wanted.index.sources] + [one.repository.uri for one in wanted.repositories]
    local = any(address.startswith(("file:", "copy:")) for address in addresses)
    return ['--aptopt=APT::Sandbox::User "root"'] if local or namespace.current().user else []


def _target(wanted: Bootstrap, output: Path | str) -> list[str]:
    if wanted.debian.snapshot is not None:
        return [wanted.debian.suite, str(output), *(source.line for source in wanted.index.sources)]
    return [wanted.debian.suite, str(output), *archive.mirror(wanted.debian)]


def _packages_cache(cache: Cache, wanted: Bootstrap) -> Path:
    """Return the directory of downloaded packages that all recipes with the same repositories share.

    apt takes a package that is there already by its name and size: what another repository calls by the name of one of
    the archive's must not come into an image of the archive alone.
    """
    name: str = wanted.debian.architecture
    if wanted.repositories:
        name += "-" + keys.digest([extra.inputs() for extra in wanted.repositories])[:16]
    directory = cache.root / "packages" / name
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@contextmanager
def _packages(cache: Cache, wanted: Bootstrap) -> Iterator[tuple[Path, Path]]:
    """Yield a copy of the directory of downloaded packages, for this bootstrap alone, and the directory; keep what is
    new.

    mmdebstrap reads the whole directory as a tar, which fails when another build puts something there meanwhile, and
    writes all of it back, file by file. So what all share only ever gets whole files, by their last name.
    """
    shared = _packages_cache(cache, wanted)
    with work_directory() as work:
        mine = work / "packages"
        mine.mkdir()
        for package in shared.glob("*.deb"):
            # What nobody needs may be collected at any time.
            with contextlib.suppress(FileNotFoundError):
                shutil.copy2(package, mine / package.name)
        (mine / "lock").touch()
        yield mine, shared
        for package in mine.glob("*.deb"):
            there = shared / package.name
            # Another than the one that is there was fetched for one that was broken.
            if not there.exists() or not filecmp.cmp(package, there, shallow=False):
                package.replace(there)


def _sources_hooks(wanted: Bootstrap, directory: Path) -> list[str]:
    """Return the hooks that tell apt of the further repositories; hooks/finish takes their files out again."""
    hooks = ['--setup-hook=mkdir -p "$1/etc/apt/sources.list.d"'] if wanted.repositories else []
    for extra in wanted.repositories:
        path = directory / f"roost-{extra.name}.sources"
        path.write_text(extra.outside(wanted.debian.architecture))
        path.chmod(0o644)
        hooks.append(f"--setup-hook=copy-in {path} /etc/apt/sources.list.d")
    return hooks


def _install(wanted: Bootstrap, directory: Path, cache: Cache, log: Path) -> None:
    try:
        with _packages(cache, wanted) as (packages, _):
            _run(wanted, _install_argv(wanted, directory, packages), [packages, directory], log)
    except ToolError:
        # apt takes a package that is there by its size, and so dpkg met one that is broken (after a power cut, say).
        if not _drop_broken(_packages_cache(cache, wanted), log):
            raise
        (directory / TAR).unlink(missing_ok=True)
        with _packages(cache, wanted) as (packages, _):
            _run(wanted, _install_argv(wanted, directory, packages), [packages, directory], log)


def _drop_broken(packages: Path, log: Path) -> bool:
    """Remove the downloaded packages that are not complete, to be fetched again; return whether there were any."""
    found = False
    for package in sorted(packages.glob("*.deb")):
        argv: list[str | Path] = ["sh", "-c", 'exec dpkg-deb --fsys-tarfile "$1" >/dev/null', "sh", package]
        read = process.run(argv, deadline=300, log=log, check=False)
        if read.returncode != 0 and package.is_file():
            package.unlink(missing_ok=True)
            found = True
    return found


def _install_argv(wanted: Bootstrap, directory: Path, packages: Path) -> list[str]:
    return [
        "--variant=minbase",
        "--format=tar",
        f"--include={','.join(wanted.packages)}",
        # The tree is thrown away when the host goes down in the middle.
        "--dpkgopt=force-unsafe-io",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in wanted.debian.exclude),
        "--skip=download/empty",
        "--skip=essential/unlink",
        # Its way of emptying apt's directories is another apt-get update; hooks/finish removes them.
        "--skip=cleanup/apt",
        '--setup-hook=mkdir -p "$1/var/cache/apt/archives"',
        f"--setup-hook=sync-in {packages} /var/cache/apt/archives",
        f"--customize-hook=sync-out /var/cache/apt/archives {packages}",
        f"--customize-hook={_hooks() / 'finish'}",
        *_target(wanted, directory / TAR),
    ]


def download(wanted: Bootstrap, cache: Cache, log: Path) -> list[Path]:
    """Return the packages named, and the kernel that a metapackage stands for, downloaded and verified by apt."""
    with _packages(cache, wanted) as (packages, shared):
        chosen = packages / "chosen"
        argv = [
            "--variant=custom",
            "--format=null",
            "--skip=download/empty",
            '--setup-hook=mkdir -p "$1/var/cache/apt/archives"',
            f"--setup-hook=sync-in {packages} /var/cache/apt/archives",
            f"--customize-hook={_hooks() / 'download'}",
            f"--customize-hook=sync-out /var/cache/apt/archives {packages}",
            f"--customize-hook=download /chosen {chosen}",
            *_target(wanted, "-"),
        ]
        _run(wanted, argv, [packages], log)
        names = chosen.read_text().split()
    return [shared / name for name in names]


def _run(wanted: Bootstrap, argv: list[str], directories: list[Path], log: Path) -> None:
    """Run mmdebstrap, which reads and writes `directories`."""
    env = {
        "SOURCE_DATE_EPOCH": str(wanted.epoch),
        # initramfs-tools' hook of kernel packages: the initrd is made once, at the end (hooks/finish), not by each.
        "INITRD": "No",
        "ROOST_PACKAGES": " ".join(wanted.packages),
        # A kernel that is not a package comes into the tree later, and its initrd with it.
        "ROOST_INITRD": wanted.initrd if wanted.kernel is not None else "later",
    }
    try:
        with temporary.directory("sources") as lists, work_directory() as scratch:
            words = [*_base_argv(wanted), *_sources_hooks(wanted, lists), *argv]
            what = f"cannot install {wanted.debian.suite}"
            with temporary.directory("mapped", Path("/tmp")) as place:
                given = [scratch, lists, _hooks(), *directories]
                argv = _inside(words if namespace.current().user else [*WEAKER, *words], scratch)
                if _can_be_nobody(wanted, place):
                    argv = namespace.current().argv(
                        bounded.python("roost.host.mapped", *mapped.words(place, given, _script(words, scratch)))
                    )
                process.run(argv, deadline=DEADLINE, log=log, env={**bounded.SELF, **env}, what=what, foreign=True)
    except ToolError as error:
        raise explained(error, wanted) from error


#: What scripts of packages need not have where they must run as root of the host (capabilities(7), setpriv(1)).
WEAKER = (
    "setpriv",
    "--bounding-set=-sys_module,-sys_rawio,-sys_boot,-sys_time,-sys_ptrace,-syslog,-net_admin,-mac_admin,-mac_override",
    "--inh-caps=-all",
    "--",
)
#: A whole Debian while it is installed, with room to spare; bytes.
ROOM = 6 << 30


def _inside(argv: list[str], scratch: Path) -> list[str]:
    """Return the command line that installs in memory where there is plenty of it, else in `scratch`."""
    return namespace.current().argv(_script(argv, scratch))


def _script(argv: list[str], scratch: Path) -> list[str]:
    script = 'export TMPDIR="$2" && shift 2 && exec "$@"'
    if memory.available() >= 2 * ROOM:
        script = f'mount -t tmpfs -o "size=$1,mode=1777" roost "$2" && {script}'
    return ["sh", "-c", script, "sh", str(ROOM), str(scratch), *argv]


def _can_be_nobody(wanted: Bootstrap, place: Path) -> bool:
    """Return whether root can install as nobody of this host (`roost.host.mapped`); who is not root is so anyway.

    A local archive may be closed to others, and so may what APT_CONFIG names.
    """
    here = namespace.current()
    if here.user or here.chrooted or _sandbox(wanted) or "APT_CONFIG" in process.environment():
        return False
    tried = bounded.python("roost.host.mapped", *mapped.words(place, [place], ["true"]))
    return process.run(here.argv(tried), deadline=60, check=False, env=bounded.SELF).returncode == 0
