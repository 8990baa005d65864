"""Unpacks a canonical tar of a root tree."""

from __future__ import annotations

from pathlib import Path

from roost.host import namespace, process


def unpack(tar: Path, tree: Path, log: Path) -> None:
    """Unpack a canonical tar into a new directory, without device nodes: mknod(2) fails in a user namespace.

    SELinux labels are dropped there, too: only the host's root may set such attributes (xattr(7)).
    """
    tree.mkdir(mode=0o755)
    labels = ["--xattrs-exclude=security.selinux"] if namespace.current().user else []
    process.run(
        namespace.current().argv(
            [
                "tar", "-x", "--numeric-owner", "-p", "--xattrs", "--xattrs-include=*", *labels, "--exclude=./dev/*",
                "-C", tree, "-f", tar,
            ]
        ),
        deadline=1200,
        log=log,
        what="cannot unpack the root tree",
    )  # fmt: skip
