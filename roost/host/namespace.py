"""Commands run as root of a namespace of their own, where ownership matters.

A normal user becomes root of a user namespace whose ids are the subordinate ids of /etc/subuid, so that files get the
owners that they have in the image. Root needs no user namespace. Both get a mount and a process namespace, so that
nothing stays mounted or running however a command ends, and a host name, IPC objects and control groups of their own.
Programs of a tree are confined further: `roost.host.confinement`. Each command gets its own namespace with the same
mapping, so that each sees the same owners in a tree.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from roost.errors import HostError
from roost.host import process
from roost.host.process import Argv

#: unshare(1) of util-linux 2.38 is the first with --map-auto (subordinate ids, through newuidmap).
USER = ("--user", "--map-root-user", "--map-auto")
COMMON = ("--mount", "--uts", "--ipc", "--cgroup", "--pid", "--fork", "--kill-child")
PRIVATE = ("--propagation", "private", "--mount-proc")
#: Maps the caller to root and no other ids: files of others have no mapped owner.
OWNER = ("unshare", "--user", "--map-root-user", "--")

#: In a chroot `/` is not a mount point: it cannot be made private, and mounts below it would show outside. /proc is a
#: mount point, so `/` is bound there, privately, and becomes the root. Arguments: the working directory, the command.
CHROOTED = """\
mount --make-private /proc && mount --rbind / /proc && mount --make-rprivate /proc &&
exec chroot /proc sh -c 'mount -t proc proc /proc && cd -- "$1" && shift && exec "$@"' roost "$PWD" "$@"
"""

#: Settings that refuse user namespaces to all but root, each with the value that does: Debian's, Linux', Ubuntu's.
SYSCTLS = {
    "kernel.unprivileged_userns_clone": "0",
    "user.max_user_namespaces": "0",
    "kernel.apparmor_restrict_unprivileged_userns": "1",
}


@dataclass(frozen=True, slots=True)
class Namespace:
    """How to become root inside: `user` adds a user namespace, `network` false removes the network.

    `chrooted` is for root in a chroot. `owner` is for tools that write no tree and leave nothing: see `owner`.
    """

    user: bool
    network: bool = True
    chrooted: bool = False
    owner: bool = False

    def argv(self, argv: Argv) -> list[str]:
        """Return the command line that runs `argv` inside."""
        if self.owner:
            return [*(OWNER if self.user else ()), *(os.fspath(arg) for arg in argv)]
        words = ["unshare", *(USER if self.user else ()), *COMMON]
        words += ("--propagation", "unchanged") if self.chrooted else PRIVATE
        if not self.network:
            words.append("--net")
        words.append("--")
        if self.chrooted:
            words += ("sh", "-c", CHROOTED, "roost")
        return [*words, *(os.fspath(arg) for arg in argv)]


def current() -> Namespace:
    """Return the namespace for the user who runs roost: a user namespace for all but root."""
    root = os.geteuid() == 0
    return Namespace(user=not root, chrooted=root and not root_is_mounted())


def owner() -> Namespace:
    """Return a namespace in which the caller's own files belong to root, without subordinate ids.

    It costs a third of `current`, and nothing at all when roost runs as root.
    """
    return Namespace(user=os.geteuid() != 0, owner=True)


def root_is_mounted() -> bool:
    """Return whether `/` is a mount point, which it is not in a chroot (proc(5), mountinfo: field 5)."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return True
    return any(line.split()[4] == "/" for line in lines)


def gains_nothing() -> bool:
    """Return whether set-user-ID programs gain no rights here, as in containers (PR_SET_NO_NEW_PRIVS)."""
    try:
        return re.search(r"^NoNewPrivs:\s*1$", Path("/proc/self/status").read_text(), re.MULTILINE) is not None
    except OSError:
        return False


def probe(namespace: Namespace | None = None) -> None:
    """Raise `HostError`, with a hint, unless files can be given to another user inside."""
    chosen = namespace or current()
    script = ":" if chosen.owner else 't=$(mktemp) && chown 1:1 "$t" && rm -f "$t"'
    done = process.run(chosen.argv(["sh", "-c", script]), deadline=20, check=False)
    if done.returncode == 0:
        return
    if not chosen.user:
        raise HostError(
            "cannot make a mount and a process namespace as root",
            hint="give the container the capability and the system calls for that (podman run --cap-add=SYS_ADMIN"
            " --security-opt seccomp=unconfined --security-opt unmask=ALL; apptainer exec --fakeroot), or run outside",
        )
    raise _refused(ids=not chosen.owner)


def _refused(*, ids: bool) -> HostError:
    """Return the probable reason why this user got no user namespace; with `ids` subordinate ids are needed."""
    what = "cannot make a user namespace"
    for tool in ("newuidmap", "newgidmap"):
        if ids and process.which(tool) is None:
            return HostError(f"{what}: {tool} is not installed", hint="apt-get install uidmap, or build as root")
    if not root_is_mounted():
        return HostError(
            f"{what}: this is a chroot, where the kernel allows none (user_namespaces(7))",
            hint="build as root, or enter the tree with systemd-nspawn, or with unshare and pivot_root",
        )
    for name, bad in SYSCTLS.items():
        try:
            value = Path("/proc/sys", name.replace(".", "/", 1)).read_text().strip()
        except OSError:
            continue
        if value == bad:
            good = "0" if bad == "1" else "1" if "clone" in name else "10000"
            return HostError(f"{what}: {name} is {value}", hint=f"sudo sysctl {name}={good}, or build as root")
    if ids and gains_nothing():
        return HostError(
            f"{what}: newuidmap gains no rights here (no_new_privs)",
            hint="in a container of Apptainer use `apptainer exec --fakeroot`, in one of Podman be root",
        )
    if not ids:
        return HostError(what, hint="run outside of chroots and restricted containers, or as root")
    return HostError(
        what,
        hint="give yourself 65536 ids (`usermod --add-subuids 100000-165535 --add-subgids 100000-165535 USER`) and run"
        " outside of chroots and restricted containers, or build as root",
    )
