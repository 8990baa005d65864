"""A root tree installed by mmdebstrap, kept as one canonical tar in the cache.

The tar holds owners as numbers, modes, xattrs, hard links and device nodes, sorted, and no time is later than the
epoch: it is the same for root and for a normal user. `full` installs and configures packages in two layers, of which
the first is shared by recipes (`essential`); `unpacked` only unpacks the named packages, without dpkg, for trees of a
few megabytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.errors import HostError
from roost.events import Stages
from roost.host import files
from roost.sources import apt_root, debs, essential, installation
from roost.sources.bootstrap import Bootstrap
from roost.sources.essential import EPOCH
from roost.store import cache
from roost.store.cache import Cache
from roost.store.stage import Stage

TAR = "tree.tar"
STAGE = Stage(
    "rootfs",
    (__name__,),
    (*installation.TOOLS, "depmod", "cpio", "zstd"),
)


@dataclass(frozen=True, slots=True)
class Installed:
    """A root tree that mmdebstrap makes."""

    wanted: Bootstrap
    #: Its kernel is a package, or files added to it.
    own_kernel: bool = False

    @property
    def bootstrap(self) -> Bootstrap:
        """What is installed."""
        return self.wanted

    @property
    def suite(self) -> str | None:
        """The suite of the kernel's package, None if no kernel package is installed."""
        return self.wanted.debian.suite if self.wanted.kernel is not None else None

    @property
    def epoch(self) -> int:
        """The latest time of any file, in seconds since 1970, once the tree is made."""
        made = cache.default().get(STAGE.name, self.key)
        if made is None:
            raise HostError("the root tree was removed from the cache while it was in use", hint="build again")
        return int(files.read_text(made / EPOCH))

    @property
    def key(self) -> str:
        """The key of the tree."""
        return STAGE.key(self.wanted.inputs())

    def inputs(self) -> dict[str, Any]:
        """Return everything that the tree depends on, as JSON, and the state of the archive in which it was found."""
        return {**self.wanted.inputs(), "index": self.wanted.index.digests}

    def parts(self) -> dict[str, Any]:
        """Return everything that the key is made from."""
        return STAGE.parts(self.wanted.inputs())

    def layer(self) -> tuple[str, dict[str, Any]] | None:
        """Return the key of the layer below the tree, and everything the key is made from; None without dpkg."""
        if self.wanted.debian.variant != "full":
            return None
        below = essential.inputs(self.wanted)
        return essential.STAGE.key(below), essential.STAGE.parts(below)

    def make(self, cache: Cache, stages: Stages, log_dir: Path) -> Path:
        """Return the tar of the tree; see `bootstrap`."""
        return bootstrap(self.wanted, cache, stages, log_dir)


def bootstrap(wanted: Bootstrap, cache: Cache, stages: Stages, log_dir: Path) -> Path:
    """Return the tar of the tree, from the cache or freshly installed.

    Raises `HostError` for an archive that does not answer or a full disk, `ToolError` for other failures of mmdebstrap;
    each with the log.
    """
    log = log_dir / "mmdebstrap.log"

    def make(directory: Path) -> None:
        with stages.stage("bootstrap", f"{wanted.debian.suite}, {len(wanted.selection.packages)} packages"):
            made = _layered if wanted.debian.variant == "full" else _unpacked
            (directory / EPOCH).write_text(str(made(wanted, cache, directory, stages, log)))

    return STAGE.stored(cache, wanted.inputs(), make) / TAR


def adopt(wanted: Bootstrap, cache: Cache, tar: Path, epoch: int) -> Path:
    """Store a tree that another host made from the same inputs as this host's result, at `epoch`; return it.

    This cannot be verified here: the caller must trust the tree's origin.
    """

    def make(directory: Path) -> None:
        tar.rename(directory / TAR)
        (directory / EPOCH).write_text(str(epoch))

    return STAGE.stored(cache, wanted.inputs(), make) / TAR


def _unpacked(wanted: Bootstrap, cache: Cache, directory: Path, stages: Stages, log: Path) -> int:
    """Make a tree that is only unpacked; return its epoch."""
    from roost.sources import uncompressed, unpacked

    with uncompressed.held(wanted, cache, log) as found:
        epoch = wanted.epoch if wanted.epoch is not None else debs.epoch(found)
        unpacked.make(wanted, epoch, directory / TAR, found, log.parent)
    return epoch


def _layered(wanted: Bootstrap, cache: Cache, directory: Path, stages: Stages, log: Path) -> int:
    """Make a tree with dpkg, on top of the layer of the essential packages; return its epoch."""
    from roost.sources import uncompressed

    layer = essential.layer(wanted, cache, stages, log)
    chosen = wanted.selection
    with uncompressed.held(wanted, cache, log, sorted({*chosen.packages} - {*chosen.essential})) as found:
        newest = max(debs.epoch(found), int(files.read_text(layer / EPOCH)))
        epoch = wanted.epoch if wanted.epoch is not None else newest
        _install(wanted, directory, found, epoch, layer / essential.TAR, log)
    return epoch


def _install(wanted: Bootstrap, directory: Path, found: Sequence[Path], epoch: int, layer: Path, log: Path) -> None:
    """Run mmdebstrap to install the rest of the selection on top of `layer` into the canonical tar in `directory`."""
    step = installation.Step(
        "install",
        (
            "--variant=minbase",
            f"--include={','.join(wanted.packages)}",
            # It would empty apt's directories with another apt-get update; hooks/finish removes them instead.
            "--skip=cleanup/apt",
            f"--customize-hook={apt_root.hook('finish')}",
        ),
        {
            "SOURCE_DATE_EPOCH": str(epoch),
            # initramfs-tools' hook of kernel packages: the initrd is made once, at the end (hooks/finish), not by each.
            "INITRD": "No",
            # A kernel that is not a package is added to the tree later, and its initrd with it.
            "ROOST_INITRD": wanted.initrd if wanted.kernel is not None else "later",
            "ROOST_LAYER": str(layer),
            "ROOST_LAYER_PACKAGES": str(len(wanted.selection.essential)),
        },
        (layer.parent,),
    )
    installation.run(wanted, step, found, directory / TAR, log)
