"""Whether the kernel of an existing image starts on the recipe's disks, judged like that of a tree.

Only the required files are copied from the image: the kernel, its initrd, its configuration, and depmod(8)'s lists.
"""

from __future__ import annotations

from pathlib import Path

from roost.host import causes
from roost.host.guestfs import Guest, GuestfsError
from roost.kernel import check, contents, cpio, facts
from roost.kernel.facts import Facts
from roost.kernel.inspect import KernelFiles
from roost.recipe.loader import Loaded

_LISTS = ("modules.dep", "modules.builtin", "modules.builtin.modinfo", "modules.order")
_DIRECTORIES = ("/usr/lib/modules", "/lib/modules")


def judge(loaded: Loaded, guest: Guest, kernel: KernelFiles, work: Path) -> tuple[Facts | None, list[str]]:
    """Return the kernel's facts and notes; raise `KernelRefusalError` with everything that keeps it from starting.

    A kernel that is not for x86, or has no list of modules, has no facts.
    """
    tree = work / "kernel"
    taken = [kernel.kernel, f"/boot/config-{kernel.version}", *([kernel.initrd] if kernel.initrd else [])]
    for path in taken:
        _take(guest, path, tree)
    modules = next(
        (f"{directory}/{kernel.version}" for directory in _DIRECTORIES if _lists(guest, directory, kernel)), None
    )
    for name in _LISTS if modules is not None else ():
        _take(guest, f"{modules}/{name}", tree, f"/lib/modules/{kernel.version}/{name}")
    found = facts.in_tree(tree, kernel.kernel)
    if found is None or modules is None:
        return None, [f"cannot tell whether kernel {kernel.version} starts on these disks: it has no list of modules"]
    initrd, bad = None, None
    if kernel.initrd is not None:
        try:
            initrd = contents.read(tree / kernel.initrd[1:])
        except (cpio.BadInitrdError, OSError) as error:
            causes.check(error)
            bad = causes.reason(error)
    xen = "xen" in loaded.recipe.hypervisors
    seen = check.Candidate(
        found.facts(look=xen), found.modules, lambda path: guest.exists(f"{modules}/{path}"), None, initrd, bad
    )
    judged = check.check(loaded.recipe, seen, loaded.where)
    if judged.problems:
        raise check.KernelRefusalError(judged.problems)
    return seen.facts, list(judged.notes)


def _lists(guest: Guest, directory: str, kernel: KernelFiles) -> bool:
    return guest.exists(f"{directory}/{kernel.version}/modules.dep")


def _take(guest: Guest, path: str, tree: Path, to: str | None = None) -> None:
    """Copy a file of the image, links followed inside it, to the same path below a directory, if it exists."""
    target = tree / (to or path)[1:]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        guest.download(path, target)
    except GuestfsError:
        target.unlink(missing_ok=True)
