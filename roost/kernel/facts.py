"""The properties of an actual kernel, read from its files, not from its name or the catalogue's claims."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from roost.host import bzimage, rooted
from roost.kernel import drivers
from roost.kernel.drivers import Modules, State

#: Paths of a kernel's configuration: Debian and most others; Fedora and EL.
CONFIGS = ("boot/config-{}", "lib/modules/{}/config")
#: Size limit in bytes of one of depmod's lists, or of a configuration.
LIMIT = 32 << 20


@dataclass(frozen=True, slots=True)
class Facts:
    """The properties of a kernel. `xen_pv` is None where neither its configuration nor the kernel itself shows it."""

    release: str
    version: str
    compression: str | None
    size: int
    drivers: Mapping[str, State]
    filesystems: Mapping[str, State]
    xen_pv: bool | None

    def to_json(self) -> dict[str, Any]:
        """Return the facts as JSON; `from_json` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Facts:
        """Return the facts of `to_json`; raises TypeError or KeyError for anything else."""
        found = cls(**value)
        if set(found.drivers) != set(drivers.BUSES) or set(found.filesystems) != set(drivers.FILESYSTEMS):
            raise KeyError("drivers of another time")
        return found


def of(kernel: bzimage.BzImage, size: int, modules: Modules, xen_pv: bool | None) -> Facts:
    """Return the facts of a kernel from its parts."""
    return Facts(
        kernel.release,
        kernel.version,
        kernel.compression,
        size,
        {bus: modules.state(names) for bus, names in drivers.BUSES.items()},
        {name: modules.state(names) for name, names in drivers.FILESYSTEMS.items()},
        xen_pv,
    )


def setting(config: str, name: str) -> str | None:
    """Return a value of a kernel's configuration: y, m, or another value; None when it is not set."""
    found = re.search(rf"^{re.escape(name)}=(.*)$", config, re.MULTILINE)
    return found[1] if found else None


def xen_pv(config: str | None, kernel: Callable[[], bool | None]) -> bool | None:
    """Return whether Xen can start the kernel as PV, from its configuration, else from the result of `kernel`."""
    return setting(config, "CONFIG_XEN_PV") == "y" if config is not None else kernel()


@dataclass(frozen=True, slots=True)
class InTree:
    """A kernel in an unpacked, untrusted tree; links cannot lead out of it."""

    tree: Path
    path: Path
    image: bzimage.BzImage
    modules: Modules

    @property
    def directory(self) -> Path:
        """The directory of its modules, whether it exists or not."""
        return rooted.resolve(self.tree, f"lib/modules/{self.image.release}")

    def facts(self, *, look: bool) -> Facts:
        """Return the facts; a kernel without a configuration is unpacked (a second) only if `look`."""
        text = config(self.tree, self.image.release)
        seen = xen_pv(text, lambda: bzimage.starts_under_xen(self.path) if look else None)
        return of(self.image, self.path.stat().st_size, self.modules, seen)


def in_tree(tree: Path, path: str) -> InTree | None:
    """Return the kernel at `path` of a tree, or None when that is not an x86 kernel."""
    if not rooted.is_file(tree, path):
        return None
    file = rooted.resolve(tree, path)
    image = bzimage.read(file)
    if image is None:
        return None
    directory = f"lib/modules/{image.release}"
    builtin, dependencies = (text(tree, f"{directory}/{name}") or "" for name in ("modules.builtin", "modules.dep"))
    return InTree(tree, file, image, Modules.of(builtin, dependencies))


def config(tree: Path, release: str) -> str | None:
    """Return the configuration of a kernel in a tree, or None."""
    return next((found for form in CONFIGS if (found := text(tree, form.format(release))) is not None), None)


def text(tree: Path, path: str) -> str | None:
    """Return a text file of a tree, or None when it does not exist or is not acceptable."""
    if not rooted.is_file(tree, path):
        return None
    with rooted.resolve(tree, path).open("rb") as file:
        data = file.read(LIMIT + 1)
    return data.decode("utf-8", "replace") if len(data) <= LIMIT else None
