"""A canonical tar of a root tree, unpacked."""

from __future__ import annotations

from pathlib import Path

from roost.host import namespace, process


def unpack(tar: Path, tree: Path, log: Path) -> None:
    """Unpack a canonical tar into a new directory, without device nodes: mknod(2) fails in a user namespace.

    Without SELinux labels there, too: only root of the host may set attributes of that kind (xattr(7)).
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
