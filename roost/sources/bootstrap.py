"""What mmdebstrap is to install: the recipe's source, the kernel, and the packages that apt selects for both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from roost.recipe.debian import Debian
from roost.sources import keyring
from roost.sources.archive import Index
from roost.sources.packages import Selection
from roost.sources.repositories import Extra

#: Packages that the initrd of a `full` tree needs besides the kernel's own dependencies.
INITRD_PACKAGES = ("initramfs-tools", "zstd")
#: Packages that a build uses from the archive besides the tree: GRUB's modules, for the boot loader.
TOOLS = ("grub-pc-bin",)


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """What is to be installed.

    `kernel` is the package of the kernel, None when none is added; `drivers` are the modules of an initrd of busybox;
    `epoch` is the latest allowed file time, in seconds since 1970, None for that of the newest package.
    """

    debian: Debian
    kernel: str | None
    initrd: str
    drivers: tuple[str, ...]
    index: Index
    epoch: int | None
    repositories: tuple[Extra, ...] = ()
    selection: Selection = field(default_factory=Selection)

    @property
    def packages(self) -> tuple[str, ...]:
        """All requested packages: the recipe's, the kernel's, the initrd's."""
        extra = INITRD_PACKAGES if self.initrd == "distribution" else ()
        kernel = (self.kernel,) if self.kernel is not None else ()
        return tuple(sorted({*self.debian.packages, *kernel, *extra}))

    @property
    def lines(self) -> tuple[str, ...]:
        """The archive's sources as sources.list lines, the same on all hosts.

        On a host that does not trust the archive, mmdebstrap adds its keyring to the lines; in the image, apt finds the
        archive's keys by itself.
        """
        known = self.index.origin in keyring.VENDORS
        return tuple(source.unsigned.line if known else source.line for source in self.index.sources)

    def sources(self) -> dict[str, Any]:
        """Return the package sources, as JSON."""
        return {
            "suite": self.debian.suite,
            "architecture": self.debian.architecture,
            "sources": self.lines,
            "repositories": [extra.inputs() for extra in self.repositories],
        }

    def asked(self) -> dict[str, Any]:
        """Return what apt is asked to select, as JSON."""
        return {**self.sources(), "variant": self.debian.variant, "packages": self.packages, "tools": TOOLS}

    def inputs(self) -> dict[str, Any]:
        """Return everything that the tree depends on, as JSON."""
        return {
            "debian": self.debian.model_dump(mode="json"),
            "packages": self.packages,
            "selection": self.selection.inputs(),
            "initrd": self.initrd if self.kernel is not None else None,
            "drivers": self.drivers,
            # The image's own sources.
            "sources": self.lines if self.debian.variant == "full" else (),
            "repositories": [extra.inputs() for extra in self.repositories],
            "given_epoch": self.epoch,
        }
