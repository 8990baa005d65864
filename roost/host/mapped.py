"""Runs a command as root of a user namespace, in a root directory of its own: the bootstrap, for root and for users.

For commands that need to mount, and so cannot be confined like programs of a finished tree: the bootstrap, whose
packages run their scripts. The command sees the programs and settings of the host (`roost.host.own_root`) and the given
directories, at the same paths as outside; it has the host's network only on request. When roost runs as root, root of
that namespace has no rights on the host, and the owners on the disk are those set inside. A normal user has no such
range of ids: root inside has the user's rights, but none of the user's files to use them on.

The first process of the process namespace stays outside that of the command, and kills all of it when it exceeds the
limits. As a program, started as root of its own mount and process namespace (`roost.host.namespace`), it is `python -m
roost.host.mapped PLAN -- COMMAND...`; PLAN is JSON.

Uses the standard library only, all of it imported before the root changes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roost.host import bounded, confinement, own_root, syscalls
from roost.host.confinement import Limits

#: Further confinement: namespaces owned by the new root, so that it can mount proc in its tree, and that lock the
#: mounts around it (mount_namespaces(7), "locked").
OWN = ("unshare", "--mount", "--uts", "--ipc", "--cgroup", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
#: The exit status that tells a probe that this host cannot do it.
UNABLE = 75
#: The prefix of the message on standard error when a command exceeded a limit, which `what` names.
STOPPED = "E: roost: stopped: "


@dataclasses.dataclass(frozen=True, slots=True)
class Given:
    """What a command gets from the host: directories at the same paths, and with `network` the host's network."""

    writable: Sequence[Path] = ()
    readable: Sequence[Path] = ()
    network: bool = False


def words(place: Path, given: Given, limits: Limits, command: Sequence[str]) -> list[str]:
    """Return the program's arguments: `place` is an empty directory to mount on."""
    plan = {
        "place": str(place),
        "writable": [str(path) for path in given.writable],
        "readable": [str(path) for path in given.readable],
        "network": given.network,
        "limits": dataclasses.asdict(limits),
    }
    return [json.dumps(plan), "--", *command]


def enter(plan: dict[str, Any]) -> None:
    """Become root of a user namespace in a root directory of its own. Raises `OSError` where this is impossible."""
    initial = confinement.is_initial()
    namespace = confinement.user_namespace(nested=True)
    root, readable = Path(plan["place"]), [Path(name) for name in plan["readable"]]
    own_root.build(root, plan["limits"]["memory"])
    mapped = namespace if initial else None
    # Sorted, so that a directory inside another is mounted after it; writable ones last, so that they stay writable.
    own_root.give(root, sorted(readable), namespace=mapped, read_only=True)
    own_root.give(root, sorted(map(Path, plan["writable"])), namespace=mapped, read_only=False)
    own_root.enter(root)
    syscalls.enter(namespace, syscalls.CLONE_NEWUSER)
    os.close(namespace)
    if initial:
        os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    # A process that finds this one must not be able to take it over.
    syscalls.hide_memory()


def watch(child: int, limits: Limits) -> int:
    """Wait for the command; return its exit status, or 1 when it exceeded a limit."""
    looked = time.monotonic()
    while True:
        found, status = os.waitpid(-1, os.WNOHANG)
        if found == child:
            return os.waitstatus_to_exitcode(status)
        now = time.monotonic()
        if now - looked >= bounded.INTERVAL:
            looked = now
            exceeded = bounded.exceeded(limits)
            if exceeded is not None:
                bounded.kill_all()
                sys.stderr.write(f"{STOPPED}{exceeded}\n")
                return 1
        if not found:
            time.sleep(0.02)


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit status, or `UNABLE` when this host cannot."""
    text, _, *command = arguments
    plan = json.loads(text)
    limits = Limits(**plan["limits"])
    try:
        enter(plan)
    except OSError as error:
        sys.stderr.write(f"no user namespace with a root directory of its own here: {error.strerror or error}\n")
        return UNABLE
    os.environ.pop("PYTHONPATH", None)
    child = os.fork()
    if child == 0:
        try:
            confinement.bind(limits)
            if not plan["network"]:
                syscalls.unshare(syscalls.CLONE_NEWNET)
                syscalls.raise_loopback()
            with contextlib.suppress(OSError):
                # The host's network includes its abstract sockets, for example of a desktop session.
                syscalls.leave_abstract_sockets()
            argv = [*OWN, *command]
            os.execvp(argv[0], argv)
        except OSError as error:
            sys.stderr.write(f"{command[0]}: {error.strerror or error}\n")
        os._exit(127)
    status = watch(child, limits)
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
