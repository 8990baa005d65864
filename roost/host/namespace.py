"""Where ownership matters: commands run as root of a name space of their own.

A normal user becomes root of a user namespace whose ids are the subordinate ids of /etc/subuid, so that
files get the owners they have in the image. Root needs no user namespace. Both get a mount and a process
namespace, so that nothing stays mounted or running, however a command ends. Each command gets a name
space of its own with the same mapping: a tree written by one is seen alike by the next.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from roost.errors import HostError
from roost.host import process
from roost.host.process import Argv

#: unshare(1) of util-linux 2.38 is the first with --map-auto (subordinate ids, through newuidmap).
USER = ("--user", "--map-root-user", "--map-auto")
COMMON = ("--mount", "--pid", "--fork", "--kill-child")
PRIVATE = ("--propagation", "private", "--mount-proc")

#: In a chroot `/` is no mount point: it cannot be made private, and what is mounted below it would show outside.
#: /proc is one; so `/` is bound there, privately, and becomes the root. Arguments: the folder to be in, the command.
CHROOTED = """\
mount --make-private /proc && mount --rbind / /proc && mount --make-rprivate /proc &&
exec chroot /proc sh -c 'mount -t proc proc /proc && cd -- "$1" && shift && exec "$@"' roost "$PWD" "$@"
"""


@dataclass(frozen=True, slots=True)
class Namespace:
    """How to become root inside: `user` adds a user namespace, `network` false takes the network away.

    `chrooted` is for root in a chroot.
    """

    user: bool
    network: bool = True
    chrooted: bool = False

    def argv(self, argv: Argv) -> list[str]:
        """Return the command line that runs `argv` inside."""
        words = ["unshare", *(USER if self.user else ()), *COMMON]
        words += ("--propagation", "unchanged") if self.chrooted else PRIVATE
        if not self.network:
            words.append("--net")
        words.append("--")
        if self.chrooted:
            words += ("sh", "-c", CHROOTED, "roost")
        return [*words, *(os.fspath(arg) for arg in argv)]


def current() -> Namespace:
    """Return the namespace that fits who runs roost, and where: a user namespace for all but root."""
    root = os.geteuid() == 0
    return Namespace(user=not root, chrooted=root and not _root_is_mounted())


def _root_is_mounted() -> bool:
    """Return whether `/` is a mount point, which it is not in a chroot (proc(5), mountinfo: field 5)."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return True
    return any(line.split()[4] == "/" for line in lines)


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
