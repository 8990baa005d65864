"""A given tree made bootable: with a kernel, an initrd and an init, where it has none of its own.

What is added comes from Debian's archive and lies over the tree as one more layer, so that no link of the tree leads
it elsewhere. A tree without init, as containers are, gets busybox for one.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.customize.unpack import unpack
from roost.errors import ImageError
from roost.events import Stages
from roost.host import namespace, process
from roost.kernel import initrd, inspect
from roost.sources import canonical, mmdebstrap, unpacked
from roost.sources.bootstrap import Bootstrap
from roost.sources.given_tree import GivenTree
from roost.store.cache import Cache, work_folder
from roost.store.stage import Stage

TAR = "tree.tar"
STAGE = Stage("rootfs", (__name__,), mmdebstrap.STAGE.tools)
#: Where trees that are no Debian take kernel and busybox from, unless the recipe says.
SUITE = "bookworm"
BUSYBOX_PACKAGE = "busybox-static"
BUSYBOX = "usr/lib/roost/busybox"
#: The largest id that a user with the usual 65536 subordinate ids can give to a file.
LARGEST_SUBORDINATE = 65535
#: What an x86-64 kernel runs, as ELF numbers it (elf.h): EM_X86_64, EM_386.
MACHINES = frozenset({62, 3})
_OTHER_MACHINES = {183: "arm64", 40: "arm", 243: "riscv", 21: "ppc64", 22: "s390x", 8: "mips", 258: "loongarch"}


@dataclass(frozen=True, slots=True)
class BootableTree:
    """A tree and what is added to it.

    `archive` is the download of kernel and busybox, None when nothing is added; its kernel is None where the tree
    keeps its own. `initrd` says whether one is made.
    """

    origin: Mapping[str, Any]
    base: GivenTree
    archive: Bootstrap | None
    initrd: bool
    drivers: tuple[str, ...]

    @property
    def epoch(self) -> int:
        """The newest time in the tree, or SOURCE_DATE_EPOCH."""
        return self.base.facts.epoch

    @property
    def key(self) -> str:
        """The key of the tree."""
        return STAGE.key(self.inputs())

    def inputs(self) -> dict[str, Any]:
        """Return all that the tree depends on, as JSON."""
        found: dict[str, Any] = {**self.origin, "tree": self.base.sha256, "epoch": self.epoch}
        if self.archive is not None:
            found |= {
                "packages": self.archive.packages,
                "index": self.archive.index.digests,
                "suite": self.archive.debian.suite,
                "initrd": self.initrd,
                "drivers": self.drivers,
            }
        return found

    def make(self, cache: Cache, stages: Stages, log_dir: Path) -> Path:
        """Return the tar of the tree: the given one, or with what is added from the cache or freshly made."""
        archive = self.archive
        if archive is None:
            return self.base.tar

        def fill(folder: Path) -> None:
            with stages.stage("adopt", f"adding {', '.join(archive.packages)}"), work_folder() as work:
                packages = mmdebstrap.download(archive, cache, log_dir / "mmdebstrap.log")
                self._add(packages, work, folder / TAR, log_dir / "adopt.log")

        return STAGE.stored(cache, self.inputs(), fill) / TAR

    def _add(self, packages: list[Path], work: Path, output: Path, log: Path) -> None:
        extra = work / "extra"
        unpacked.unpack(packages, extra, work, log, register=False)
        names = []
        if self.archive is not None and self.archive.kernel is not None:
            version = inspect.newest(extra).version
            process.run(["depmod", "-b", extra / "usr", version], deadline=60, log=log, what="cannot index the modules")
            holder = extra
            # Packages of either layout unpack here; in the tree `lib` may be a link or a folder.
            (extra / "lib").unlink()
            (extra / "lib").mkdir()
            (extra / "usr/lib/modules").rename(extra / "lib/modules")
            names += ["boot", "lib/modules"]
        else:
            holder = work / "tree"
            unpack(self.base.tar, holder, log)
            version = inspect.newest(holder).version if self.initrd else ""
            (extra / "boot").mkdir(exist_ok=True)
            names += ["boot"] if self.initrd else []
        busybox = extra / "usr/bin/busybox"
        if self.initrd:
            made = extra / f"boot/initrd.img-{version}"
            initrd.make(holder, version, self.drivers, self.epoch, made, log, busybox=busybox)
        links: dict[str, str] = {}
        if not self.base.facts.systemd and self.base.facts.init == "none":
            (extra / BUSYBOX).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(busybox, extra / BUSYBOX)
            names.append(BUSYBOX)
            listed = process.run([busybox, "--list-full"], deadline=20, capture=True, log=log).text
            links = {f"/{applet}": f"/{BUSYBOX}" for applet in listed.split()}
        elif self.base.facts.init == "none":
            # True in both layouts: `lib` is a folder, or a link into usr.
            links = {"/sbin/init": "/lib/systemd/systemd"}
        unpacked.pack(extra, names, self.epoch, work / "extra.tar", log)
        canonical.write([self.base.tar, work / "extra.tar"], output, whiteouts=False, epoch=self.epoch, links=links)


def refusal(base: GivenTree) -> ImageError | None:
    """Return why a tree cannot become an image, or None."""
    facts = base.facts
    if facts.machine is not None and facts.machine not in MACHINES:
        name = _OTHER_MACHINES.get(facts.machine, f"ELF machine {facts.machine}")
        return ImageError(f"the programs of the tree are for {name}, not for x86-64", hint="use a tree for amd64")
    if facts.init == "other":
        return ImageError(
            "the tree's init is neither systemd nor busybox: roost does not know how to start a job with it",
            hint="install systemd-sysv in it, or take its init out to get busybox",
        )
    if not facts.shell and facts.init != "none":
        return ImageError("the tree has no /bin/sh, which the job's runner needs", hint="add a shell to it")
    return None


def notes(base: GivenTree, *, network: bool = False, kept: Collection[str] = ()) -> Iterator[str]:
    """Yield what the person should know about a tree that can become an image.

    `network` says whether its machine has one, `kept` are the paths of the recipe's own files.
    """
    facts = base.facts
    yield from facts.notes
    yield from (tie for tie in facts.ties[network] if not tie.startswith(tuple(f"{path}:" for path in kept)))
    user = namespace.current().user
    if facts.labels and user:
        yield (
            f"{facts.labels} files of the source have SELinux labels, which only root can set: they are left out."
            " Build as root to keep them"
        )
    if facts.enforcing:
        which = "what roost adds has" if facts.labels and not user else "the files have"
        yield (
            f"SELinux is enforcing in the source, and {which} no labels. Label all of it in a `run` command (setfiles,"
            " of policycoreutils), or let it only warn: kernel: {parameters: [enforcing=0]}"
        )
    if facts.highest > LARGEST_SUBORDINATE and user:
        yield (
            f"files of the source belong to ids up to {facts.highest}: a user with 65536 subordinate ids cannot lay"
            " them out. Build as root, or give yourself more (/etc/subuid, /etc/subgid)"
        )
