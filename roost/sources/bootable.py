"""A given tree made bootable: with a kernel, an initrd and an init, as far as it lacks them.

Additions come from Debian's archive and are laid over the tree as one more layer, so that no link of the tree redirects
them. A tree without init, such as a container, gets busybox as init.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.customize.unpack import unpack
from roost.events import Stages
from roost.host import process
from roost.kernel import depmod, initrd, inspect
from roost.sources import canonical, debs, mmdebstrap, unpacked
from roost.sources.bootstrap import Bootstrap
from roost.sources.given_tree import GivenTree
from roost.store.cache import Cache, work_directory
from roost.store.stage import Stage

TAR = "tree.tar"
STAGE = Stage("rootfs", (__name__,), mmdebstrap.STAGE.tools)
BUSYBOX = "usr/lib/roost/busybox"


@dataclass(frozen=True, slots=True)
class BootableTree:
    """A tree and its additions.

    `archive` is the download of kernel and busybox, None when nothing is added; its kernel is None if the tree keeps
    its own. `initrd` says whether one is made.
    """

    origin: Mapping[str, Any]
    base: GivenTree
    archive: Bootstrap | None
    initrd: bool
    drivers: tuple[str, ...]
    #: Whether the tree has its own kernel and keeps it.
    own_kernel: bool = False

    @property
    def epoch(self) -> int:
        """The newest time in the tree, or SOURCE_DATE_EPOCH."""
        return self.base.facts.epoch

    @property
    def bootstrap(self) -> Bootstrap | None:
        """The additions, None if there are none."""
        return self.archive

    @property
    def suite(self) -> str | None:
        """The suite of the kernel's package, None if no kernel is added."""
        return self.archive.debian.suite if self.archive is not None and self.archive.kernel is not None else None

    @property
    def key(self) -> str:
        """The key of the tree."""
        return STAGE.key(self._depends())

    def inputs(self) -> dict[str, Any]:
        """Return everything that the tree depends on, as JSON, and the state of the archive used."""
        index = {"index": self.archive.index.digests} if self.archive is not None else {}
        return {**self._depends(), **index}

    def parts(self) -> dict[str, Any]:
        """Return everything that the key is made from."""
        return STAGE.parts(self._depends())

    def _depends(self) -> dict[str, Any]:
        found: dict[str, Any] = {**self.origin, "tree": self.base.sha256, "epoch": self.epoch}
        if self.archive is not None:
            found |= {
                "packages": self.archive.packages,
                "selection": self.archive.selection.inputs(),
                "suite": self.archive.debian.suite,
                "initrd": self.initrd,
                "drivers": self.drivers,
            }
        return found

    def make(self, cache: Cache, stages: Stages, log_dir: Path) -> Path:
        """Return the tar of the tree: the given one, or with its additions from the cache or freshly made."""
        archive = self.archive
        if archive is None:
            return self.base.tar

        def fill(directory: Path) -> None:
            with (
                stages.stage("adopt", f"adding {', '.join(archive.packages)}"),
                work_directory() as work,
                debs.held(archive, cache, log_dir / "packages.log") as packages,
            ):
                self._add(packages, work, directory / TAR, log_dir / "adopt.log")

        return STAGE.stored(cache, self._depends(), fill) / TAR

    def _add(self, packages: list[Path], work: Path, output: Path, log: Path) -> None:
        extra = work / "extra"
        unpacked.unpack(packages, extra, work, log, register=False)
        names = []
        if self.archive is not None and self.archive.kernel is not None:
            version = inspect.newest(extra).version
            depmod.index(extra / "usr", version, None, log)
            holder = extra
            # Packages of either layout unpack here; in the tree `lib` may be a link or a directory.
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
            initrd.make(holder, version, initrd.Payload(self.drivers, self.epoch, busybox), made, log)
        links: dict[str, str] = {}
        if not self.base.facts.systemd and self.base.facts.init == "none":
            (extra / BUSYBOX).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(busybox, extra / BUSYBOX)
            names.append(BUSYBOX)
            listed = process.run([busybox, "--list-full"], deadline=20, capture=True, log=log).text
            links = {f"/{applet}": f"/{BUSYBOX}" for applet in listed.split()}
        elif self.base.facts.init == "none":
            # Valid in both layouts: `lib` is a directory, or a link into usr.
            links = {"/sbin/init": "/lib/systemd/systemd"}
        unpacked.pack(extra, names, self.epoch, work / "extra.tar", log)
        canonical.write([self.base.tar, work / "extra.tar"], output, whiteouts=False, epoch=self.epoch, links=links)
