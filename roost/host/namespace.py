"""Where ownership matters: commands run as root of a name space of their own.

A normal user becomes root of a user namespace whose ids are the subordinate ids of /etc/subuid, so that
files get the owners they have in the image. Root needs no user namespace. Both get a mount and a process
namespace, so that nothing stays mounted or running, however a command ends. Each command gets a name
space of its own with the same mapping: a tree written by one is seen alike by the next.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from roost.errors import HostError
from roost.host import process
from roost.host.process import Argv

#: unshare(1) of util-linux 2.38 is the first with --map-auto (subordinate ids, through newuidmap).
USER = ("--user", "--map-root-user", "--map-auto")
COMMON = ("--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")


@dataclass(frozen=True, slots=True)
class Namespace:
    """How to become root inside: `user` adds a user namespace, `network` false takes the network away."""

    user: bool
    network: bool = True

    def argv(self, argv: Argv) -> list[str]:
        """Return the command line that runs `argv` inside."""
        words = ["unshare", *(USER if self.user else ()), *COMMON]
        if not self.network:
            words.append("--net")
        return [*words, "--", *(os.fspath(arg) for arg in argv)]


def current() -> Namespace:
    """Return the namespace that fits who runs roost: none for root, a user namespace for all others."""
    return Namespace(user=os.geteuid() != 0)


def probe(namespace: Namespace | None = None) -> None:
    """Raise `HostError`, with the way out, unless files can be owned by another user inside."""
    chosen = namespace or current()
    done = process.run(
        chosen.argv(["sh", "-c", 't=$(mktemp) && chown 1:1 "$t" && rm -f "$t"']), deadline=20, check=False
    )
    if done.returncode == 0:
        return
    if not chosen.user:
        raise HostError(
            "cannot make a mount and a process namespace as root", hint="run outside of a restricted container"
        )
    raise HostError(
        "cannot make a user namespace",
        hint="install uidmap, give yourself 65536 ids (`usermod --add-subuids 100000-165535"
        " --add-subgids 100000-165535 USER`) and allow user namespaces (sysctl kernel.unprivileged_userns_clone=1;"
        " on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0), or build as root",
    )
