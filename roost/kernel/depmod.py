"""depmod(8) of the host, its result the same on all hosts where the tree leaves it no other reader than busybox."""

from __future__ import annotations

from pathlib import Path

from roost.host import process, rooted

#: The reader of depmod's binary indexes; busybox reads the texts.
KMOD = ("bin/kmod", "usr/bin/kmod")


def index(base: Path, release: str, tree: Path | None, log: Path) -> None:
    """Index the modules of a kernel below `base`; `tree` is what they are for, None where that is not known yet.

    How the binary indexes are laid out, and whether there is a modules.weakdep (kmod 33), depends on the host's kmod.
    """
    process.run(["depmod", "-b", base, release], deadline=120, log=log, what="cannot index the modules")
    modules = rooted.resolve(base, f"lib/modules/{release}")
    (modules / "modules.weakdep").unlink(missing_ok=True)
    if tree is not None and not any(rooted.is_file(tree, path) for path in KMOD):
        for path in modules.glob("modules.*.bin"):
            path.unlink()
