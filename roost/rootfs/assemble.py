"""From the cached tar to the finished tree of one image: `unpack`, then `furnish` lays the recipe's things over it."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from roost.errors import ImageError, ToolError
from roost.host import namespace, process
from roost.recipe.loader import Loaded
from roost.rootfs import overlay
from roost.rootfs.overlay import Item

#: Seconds for all `run` commands of a recipe.
DEADLINE = 3600


def unpack(tar: Path, tree: Path, log: Path) -> None:
    """Unpack a canonical tar into a new folder, without device nodes: mknod(2) fails in a user namespace."""
    tree.mkdir(mode=0o755)
    process.run(
        namespace.current().argv(
            [
                "tar", "-x", "--numeric-owner", "-p", "--xattrs", "--xattrs-include=*", "--exclude=./dev/*",
                "-C", tree, "-f", tar,
            ]
        ),
        deadline=1200,
        log=log,
        what="cannot unpack the root tree",
    )  # fmt: skip


def furnish(loaded: Loaded, tree: Path, items: Sequence[Item], work: Path, *, epoch: int, log_dir: Path) -> None:
    """Lay `items` and the recipe's users, services and commands over an unpacked tree, and seal it.

    Raises `ImageError` when a `run` command fails or the tree lacks what the recipe asks for.
    """
    recipe = loaded.recipe
    overlay.write(items, work / "overlay.tar", epoch)
    needed = {}
    if recipe.timezone != "UTC":
        needed[f"/usr/share/zoneinfo/{recipe.timezone}"] = "add tzdata to os.debian.packages, or check timezone"
    plan = {
        "tree": str(tree),
        "overlay": str(work / "overlay.tar"),
        "epoch": epoch,
        "users": [
            {
                "name": user.name,
                "shell": user.shell,
                "groups": user.groups,
                "keys": [
                    line for name in user.ssh_keys for line in (loaded.folder / name).read_text().splitlines() if line
                ],
            }
            for user in recipe.users
        ],
        "enable": recipe.services.enable,
        "disable": recipe.services.disable,
        "run": recipe.run,
        "needed": needed,
    }
    inside = replace(namespace.current(), network=False)
    log = log_dir / "customise.log"
    try:
        process.run(
            inside.argv([sys.executable, "-P", "-m", "roost.rootfs.apply"]),
            deadline=DEADLINE,
            log=log,
            stdin=json.dumps(plan).encode(),
        )
    except ToolError as error:
        last = error.tail.splitlines()[-1] if error.tail else str(error.problem)
        raise ImageError(
            last, hint="the recipe's files, users, services and run commands", log=log, tail=error.tail
        ) from error
