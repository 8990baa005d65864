"""What mmdebstrap is to install: the recipe's source, the kernel, the state of the archive, the time of all files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from roost.recipe.debian import Debian
from roost.sources.archive import Index
from roost.sources.repositories import Extra

#: What the initrd of a `full` tree needs beside the kernel's own dependencies.
INITRD_PACKAGES = ("initramfs-tools", "zstd")


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What is to be installed.

    `kernel` is the package of the kernel, None when none is added; `drivers` are the modules of an initrd of busybox;
    `epoch` is in seconds since 1970.
    """

    debian: Debian
    kernel: str | None
    initrd: str
    drivers: tuple[str, ...]
    index: Index
    epoch: int
    repositories: tuple[Extra, ...] = ()

    @property
    def packages(self) -> tuple[str, ...]:
        """All packages asked for: the recipe's, the kernel's, the initrd's."""
        extra = INITRD_PACKAGES if self.initrd == "distribution" else ()
        kernel = (self.kernel,) if self.kernel is not None else ()
        return tuple(sorted({*self.debian.packages, *kernel, *extra}))

    def inputs(self) -> dict[str, Any]:
        """Return all that the tree depends on, as JSON."""
        return {
            "debian": self.debian.model_dump(mode="json"),
            "packages": self.packages,
            "initrd": self.initrd if self.kernel is not None else None,
            "drivers": self.drivers,
            "index": self.index.digests,
            # Where a snapshot is does not change what it holds, but the image's own sources.
            "sources": [source.line for source in self.index.sources] if self.debian.snapshot else [],
            "repositories": [extra.inputs() for extra in self.repositories],
            "epoch": self.epoch,
        }
