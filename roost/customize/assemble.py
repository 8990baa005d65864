"""Turns an unpacked root tree into that of one image: adds the recipe's files and runs its commands."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from roost.customize import limits, overlay, passwords
from roost.customize.overlay import Item
from roost.errors import ImageError, ToolError
from roost.host import bounded, files, jsontext, namespace, process
from roost.recipe.loader import Loaded
from roost.recipe.model import Recipe

#: Seconds for everything except the `run` commands, each of which has its own limit.
DEADLINE = 3600


def customize(loaded: Loaded, tree: Path, items: Sequence[Item], work: Path, *, epoch: int, log_dir: Path) -> None:
    """Add `items` and the recipe's users, services and commands to an unpacked tree, and seal it.

    Raises `ImageError` when a `run` command fails or the tree lacks what the recipe requires.
    """
    recipe = loaded.recipe
    overlay.write(items, work / "overlay.tar", epoch)
    report = work / "customize.json"
    report.touch()
    plan = {"tree": str(tree), "overlay": str(work / "overlay.tar"), "epoch": epoch, "report": str(report)}
    plan |= _wishes(loaded)
    # Without a separate network namespace here, each command gets one unless it asks for the network.
    inside = replace(namespace.current(), network=any(command.network for command in recipe.commands))
    log = log_dir / "customize.log"
    bounds = limits.of_run_commands()
    plan["limits"] = asdict(bounds)
    try:
        process.run(
            inside.argv(bounded.python("roost.customize.apply")),
            deadline=DEADLINE + bounds.seconds * len(recipe.commands),
            log=log,
            env=bounded.SELF,
            stdin=json.dumps(plan).encode(),
            foreign=True,
        )
    except ToolError as error:
        raise _explained(error, loaded, report, log) from error


def _wishes(loaded: Loaded) -> dict[str, Any]:
    """Return the recipe's part of the plan for `apply`, passed by standard input only, since it has the passwords."""
    recipe = loaded.recipe
    hashes = passwords.hashes(loaded)
    return {
        "users": [
            {
                "name": user.name,
                "shell": user.shell,
                "groups": user.groups,
                "password": hashes.get(user.name),
                "keys": [
                    line
                    for name in user.ssh_keys
                    for line in files.read_text(loaded.directory / name).splitlines()
                    if line
                ],
            }
            for user in recipe.users
        ],
        "enable": recipe.services.enable,
        "disable": recipe.services.disable,
        "locale": recipe.locale,
        "run": [command.model_dump() for command in recipe.commands],
        "name_servers": _name_servers(),
        "proxies": process.proxies(),
        "needed": _needed(recipe),
        "files": [entry.path for entry in recipe.files],
        "seal": recipe.seal,
        "batch": _batch(recipe),
    }


def _batch(recipe: Recipe) -> dict[str, Any] | None:
    """Return the input of `units.rest` for a machine with one job and a tree from the archive; None for all others."""
    if recipe.job is None or not recipe.os.source.installs:
        return None
    return {"screen": recipe.machine.vnc, "cmdline": " ".join(recipe.kernel.parameters)}


def _name_servers() -> str:
    try:
        return Path("/etc/resolv.conf").read_text()
    except OSError:
        return ""


def _needed(recipe: Recipe) -> dict[str, list[str | int]]:
    """Return what the tree must have, with a hint and the recipe's key that requires it."""
    needed: dict[str, list[str | int]] = {}
    if recipe.timezone != "UTC":
        hint = "add tzdata to os.debian.packages (tzdata-legacy for old names), or check timezone"
        needed[f"/usr/share/zoneinfo/{recipe.timezone}"] = [hint, "timezone"]
    if recipe.cloud_init is not None:
        needed["/usr/bin/cloud-init"] = ["nothing would read the seed: add cloud-init to its packages", "cloud_init"]
    return needed


def _of_file(loaded: Loaded, path: str) -> list[str | int]:
    """Return the key of the recipe's last file at a path; empty for roost's own files."""
    numbers = [
        number
        for number, entry in enumerate(loaded.recipe.files)
        if path == entry.path or (entry.source is not None and path.startswith(f"{entry.path.rstrip('/')}/"))
    ]
    return ["files", numbers[-1], "path"] if numbers else []


def _explained(error: ToolError, loaded: Loaded, report: Path, log: Path) -> ImageError:
    """Return the error reported by `apply`, at its place in the recipe."""
    try:
        failure = jsontext.read(report)
        what, key = str(failure["what"]), list(failure["key"])
    except (OSError, ValueError, KeyError, TypeError):
        last = error.tail.splitlines()[-1] if error.tail else str(error.problem)
        what, key = last, []
    if key[:1] == ["files"] and isinstance(key[-1], str):
        key = _of_file(loaded, key[-1])
    where = loaded.where(key) if key else None
    hint = None if where else "the recipe's files, users, services and run commands"
    return ImageError(what, where=where, hint=hint, log=log, tail=error.tail)
