"""Run the host's depmod(8) with a result that is the same on all hosts if only busybox reads it in the tree."""

from __future__ import annotations

from pathlib import Path

from roost.host import process, rooted

#: Programs that read depmod's binary indexes; busybox reads the text files.
KMOD = ("bin/kmod", "usr/bin/kmod")


def index(base: Path, release: str, tree: Path | None, log: Path) -> None:
    """Index the modules of a kernel below `base`; `tree` is the tree they are for, None if it is not known yet.

    The layout of the binary indexes, and whether there is a modules.weakdep (kmod 33), depend on the host's kmod.
    """
    process.run(["depmod", "-b", base, release], deadline=120, log=log, what="cannot index the modules")
    modules = rooted.resolve(base, f"lib/modules/{release}")
    (modules / "modules.weakdep").unlink(missing_ok=True)
    if tree is not None and not any(rooted.is_file(tree, path) for path in KMOD):
        for path in modules.glob("modules.*.bin"):
            path.unlink()
