"""`xen_kernel = included`: what Xen's pygrub finds in a finished image, tested with pygrub itself if installed.

pygrub reads the disk without mounting it, on the Xen host, before the guest exists. It supports less than GRUB
(docs/xen-in-qemu.md) and silently misreads some of the rest, so the files that it extracts are compared.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.condor.placement import kernel_of
from roost.errors import HostError, ImageError, ToolError
from roost.host import checksum, process, rooted, temporary
from roost.kernel import facts
from roost.kernel.inspect import KernelFiles, version_order
from roost.recipe.cmdline import root_parameter
from roost.recipe.model import Recipe
from roost.verify import booting

#: Its path in the package (Debian: xen-utils-VERSION), and the variable for another place.
INSTALLED = "/usr/lib/xen-*/bin/pygrub"
VARIABLE = "ROOST_PYGRUB"
_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True, slots=True)
class Pygrub:
    """The program, and the version of its Xen."""

    program: Path
    version: str

    @property
    def environment(self) -> dict[str, str]:
        """The environment in which it finds its libraries when the package was only unpacked."""
        directory = self.program.parent.parent / "lib"
        found = sorted(directory.glob("*/xenfsimage")) + sorted(directory.glob("xenfsimage"))
        if not found:
            return {}
        return {"XEN_FSIMAGE_FSDIR": str(found[0]), "LD_LIBRARY_PATH": str(found[0].parent)}


def find() -> Pygrub | None:
    """Return the newest pygrub of this host, or the one in the directory $ROOST_PYGRUB; None if there is none."""
    named = os.environ.get(VARIABLE)
    if named:
        directory = Path(named).absolute()
        found = [directory / "bin/pygrub", directory / "pygrub", *directory.glob("usr/lib/xen-*/bin/pygrub")]
    else:
        found = list(Path("/").glob(INSTALLED[1:]))
    programs = [Pygrub(path, _version(path)) for path in found if path.is_file()]
    return max(programs, key=lambda one: version_order(one.version), default=None)


def _version(program: Path) -> str:
    name = re.fullmatch(r"xen-(\d[\w.]*)", program.parent.parent.name)
    return name[1] if name else "0"


@dataclass(frozen=True, slots=True)
class Expected:
    """What pygrub must find: the `text` of grub.cfg, and the sha256 of kernel and ramdisk."""

    text: str
    sums: Mapping[str, str]


def is_used(recipe: Recipe) -> bool:
    """Return whether pygrub starts an image of the recipe."""
    return "xen" in recipe.hypervisors and kernel_of(recipe, "xen") is None


def of_tree(recipe: Recipe, tree: Path, kernel: KernelFiles) -> Expected:
    """Return what pygrub must find in an image of the tree; without the sums if no pygrub is going to look."""
    text = facts.text(tree, "boot/grub/grub.cfg") or ""
    paths = {"kernel": kernel.kernel, "ramdisk": kernel.initrd} if is_used(recipe) and find() is not None else {}
    return Expected(text, {what: checksum.sha256(rooted.resolve(tree, path)) for what, path in paths.items() if path})


def again(text: str, before: Mapping[str, Any] | None) -> Expected | None:
    """Return what pygrub must find in an image with another grub.cfg, from the result `before` it was replaced.

    None if that cannot be known: pygrub, installed now, did not look at the image then.
    """
    found = before or {}
    if find() is None:
        return Expected(text, {})
    sums = {what: found.get(key) for what, key in (("kernel", "kernel"), ("ramdisk", "initrd"))}
    return Expected(text, {what: str(one) for what, one in sums.items() if one}) if found.get("seen") is True else None


def verify(recipe: Recipe, image: Path, expected: Expected, log: Path) -> dict[str, Any] | None:
    """Return what pygrub finds in the raw `image`, for the manifest; None if the recipe does not use it.

    Raises `ImageError` when it would start nothing, or anything but what is expected. Without a pygrub the
    configuration is checked for known problems, and the result says so.
    """
    if not is_used(recipe):
        return None
    wrong = list(mistakes(expected.text))
    if wrong:
        raise ImageError(f"pygrub would not start this image: {'; '.join(wrong)}", hint="look at /boot/grub/grub.cfg")
    pygrub = find()
    if pygrub is None:
        return {"seen": False, "checked": "grub.cfg, judged by pygrub's known rules: it is not installed here"}
    with temporary.directory("pygrub") as name:
        found = run(pygrub, image, Path(name), log)
        for what, wanted in expected.sums.items():
            given = found.get(what)
            if given is None or checksum.sha256(Path(given)) != wanted:
                seen = f"no {what}" if given is None else f"another {what} than that"
                raise ImageError(f"pygrub {pygrub.version} finds {seen} in the image", log=log)
        arguments = found.get("args", "")
        if root_parameter(recipe) not in arguments.split():
            raise ImageError(f"pygrub {pygrub.version} starts the kernel without {root_parameter(recipe)}", log=log)
        return {
            "seen": True,
            "checked": f"pygrub of Xen {pygrub.version}",
            "kernel": checksum.sha256(Path(found["kernel"])),
            "initrd": checksum.sha256(Path(found["ramdisk"])) if "ramdisk" in found else None,
            "arguments": arguments,
        }


def run(pygrub: Pygrub, image: Path, directory: Path, log: Path) -> dict[str, str]:
    """Return the output of pygrub for a raw image: `kernel` and `ramdisk` (files in `directory`), `args`."""
    python = _PYTHON if Path(_PYTHON).exists() else "python3"
    try:
        done = process.run(
            [
                python,
                pygrub.program,
                "-q",
                "--output-format=simple",
                f"--output-directory={directory}",
                image.absolute(),
            ],
            deadline=120,
            env=pygrub.environment,
            log=log,
            capture=True,
            what="pygrub cannot start this image",
            hint="it reads ext2, ext3, ext4 and vfat, and a grub.cfg with a menuentry",
        )
    except ToolError as error:
        if "ImportError" not in error.tail and "ModuleNotFoundError" not in error.tail:
            raise
        raise HostError(
            f"pygrub of Xen {pygrub.version} does not start",
            hint="it needs libxenmisc of the same version, and the Python that it was built for",
            log=log,
            tail=error.tail,
        ) from error
    found = {}
    for line in done.text.splitlines():
        word, _, rest = line.partition(" ")
        if word in {"kernel", "ramdisk", "args"}:
            found[word] = rest
    # It chooses the file names itself: only those in the given directory are trusted.
    return {
        word: value
        for word, value in found.items()
        if word == "args" or Path(value).parent.resolve() == directory.resolve()
    }


def mistakes(text: str) -> Iterator[str]:
    """Yield known reasons why pygrub would not start the first entry of a grub.cfg as GRUB does."""
    entries = booting.menu(text)
    if not entries:
        yield "grub.cfg has no menuentry"
        return
    first = entries[0]
    if first.kernel is None:
        yield "its first menuentry names no kernel"
        return
    for path in (first.kernel, *first.initrds):
        if ".." in path.split("/") or "$" in path:
            yield f"the path {path} is not plain"
    if len(first.initrds) > 1:
        yield "it reads one initrd only"
    if re.search(r'^\s*set\s+default="?[^"$\n]*>', text, re.MULTILINE):
        yield "a default that is not a number selects its first entry"
