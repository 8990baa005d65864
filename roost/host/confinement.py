"""Runs untrusted programs on the host in a root tree of their own, without the host's users and capabilities.

A recipe's `run` commands and the programs of a given tree can reach only the tree: no file, process, device, sysctl,
cgroup, keyring or host name of the host, and the network only on request. A process that is root of its own mount and
process namespace (`roost.host.namespace`) calls `enter`; each child that becomes such a program calls `lock_down`.

When roost runs as root it also makes a user namespace: the tree is mounted with its owners mapped (Linux 5.12), so that
root inside has no rights outside. Where this is not possible, programs run as the host's root without the capabilities
that affect the host.

Uses the standard library only, loaded before the root changes.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from roost.host import syscalls
from roost.host.syscalls import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, MS_REMOUNT

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {
    "fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
}  # fmt: skip
#: Entries of /proc that change the host, or reveal what only its root may know: made read-only, and hidden.
READ_ONLY = ("sys", "sysrq-trigger", "irq", "bus", "fs", "acpi", "scsi")
HIDDEN = ("kcore", "keys", "key-users", "kmsg", "timer_list", "sched_debug", "latency_stats")
#: The first of the host's user ids that stand for those of a tree when root builds, and their number. No file uses
#: them.
IDS, COUNT = 0x40000000, 0x3FFF0000
#: The number of ids that the host's own user namespace maps (user_namespaces(7)).
ALL = "4294967295"
#: The group of terminals in Debian (tty(4)).
TTY = 5
#: The host name inside: the builder's own must not get into an image.
NAME = "localhost"

#: capabilities(7) by number: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP, NET_BIND_SERVICE,
#: SYS_CHROOT, AUDIT_WRITE, SETFCAP: needed to install and configure software, and effective only in the tree.
KEPT = sum(1 << number for number in (0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 29, 31))
SYS_CHROOT = 1 << 18


def _half_of_memory() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of programs.

    Processes and threads at the same time, bytes of memory in total, bytes of one file, bytes that must stay free on
    the tree's file system, and wall seconds of one command.
    """

    processes: int = 2048
    memory: int = field(default_factory=_half_of_memory)
    file_size: int = 64 << 30
    free: int = 1 << 30
    seconds: float = 3600.0


@dataclass(frozen=True, slots=True)
class Entered:
    """The state after `enter`.

    `kept` are the capabilities of programs; `user` is whether root inside has no rights outside; `dev` is the tree's
    own /dev, below what is mounted there.
    """

    kept: int
    user: bool
    dev: int


def user_namespace(*, nested: bool = False, same: bool = False) -> int:
    """Return a descriptor of a new user namespace; `nested` allows further ones inside it.

    As the host's root it maps the ids starting at `IDS`; as root of another namespace, and with `same`, the ids that
    are mapped here.
    """
    same = same or not is_initial()
    known = {name: _same(name) if same else f"0 {IDS} {COUNT}\n" for name in ("uid_map", "gid_map")}
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            os.close(go_write)
            syscalls.unshare(syscalls.CLONE_NEWUSER)
            if not nested:
                with contextlib.suppress(OSError):
                    Path("/proc/sys/user/max_user_namespaces").write_text("0")
            os.write(ready_write, b".")
            os.read(go_read, 1)
            status = 0
        os._exit(status)
    os.close(ready_write)
    try:
        if os.read(ready_read, 1) != b".":
            raise OSError("no user namespace can be made")
        for name, text in known.items():
            Path(f"/proc/{child}/{name}").write_text(text)
        return os.open(f"/proc/{child}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for descriptor in (ready_read, go_read, go_write):
            os.close(descriptor)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _same(name: str) -> str:
    """Return the lines that map every id of this namespace to itself (user_namespaces(7))."""
    rows = [line.split() for line in Path("/proc/self", name).read_text().splitlines()]
    return "".join(f"{first} {first} {count}\n" for first, _, count in rows)


def is_initial() -> bool:
    """Return whether this process's root is the host's, not that of a user namespace with other ids."""
    return Path("/proc/self/uid_map").read_text().split() == ["0", "0", ALL]


def _bind(tree: str) -> tuple[int | None, int]:
    """Bind-mount the tree on itself; return the user namespace of its programs, and what its root is here.

    None is the user namespace of this process.
    """
    if is_initial():
        with contextlib.suppress(OSError):
            namespace = user_namespace()
            try:
                syscalls.bind_mapped(tree, namespace)
            except OSError:
                os.close(namespace)
                raise
            return namespace, IDS
    syscalls.mount(tree, tree, "", MS_BIND | syscalls.MS_REC)
    with contextlib.suppress(OSError):
        # Root of a container may lack CAP_NET_ADMIN, and is no owner of a loopback device but in a user namespace of
        # its own. The limit of user namespaces, which is set inside, is then not that of the whole container.
        return user_namespace(same=True), 0
    return None, 0


def mount_devices(dev: Path, memory: int, sources: Mapping[str, str] | None = None, base: int = 0) -> None:
    """Mount harmless devices of the host, terminals and `memory` bytes of shared memory on `dev`.

    `sources` gives the path of each of `DEVICES`, None means /dev; `base` is the new namespace's root as seen from
    here.
    """
    syscalls.mount("roost", str(dev), "tmpfs", MS_NOSUID | MS_NOEXEC, f"mode=755,uid={base},gid={base},size=4m")
    for name in DEVICES:
        (dev / name).touch()
    for name, target in LINKS.items():
        (dev / name).symlink_to(target)
    for name in ("shm", "pts"):
        (dev / name).mkdir()
    options = f"mode=1777,uid={base},gid={base},size={memory}"
    syscalls.mount("shm", str(dev / "shm"), "tmpfs", MS_NOSUID | MS_NODEV, options)
    options = f"newinstance,ptmxmode=0666,mode=620,gid={base + TTY}"
    syscalls.mount("devpts", str(dev / "pts"), "devpts", MS_NOSUID | MS_NOEXEC, options)
    (dev / "ptmx").symlink_to("pts/ptmx")
    for name in DEVICES:
        target = str(dev / name)
        syscalls.mount(sources[name] if sources else f"/dev/{name}", target, "", MS_BIND)
        # The node is the host's: it can be written to, but its owner and mode cannot change.
        syscalls.mount("", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NOEXEC)


def _protect_proc(null: str) -> None:
    """Make the entries of /proc that affect the host read-only, and hide those that reveal its secrets."""
    for name in READ_ONLY:
        path = f"/proc/{name}"
        if os.path.lexists(path):
            syscalls.mount(path, path, "", MS_BIND)
            flags = MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
            syscalls.mount("", path, "", flags)
    for name in HIDDEN:
        if os.path.lexists(f"/proc/{name}"):
            syscalls.mount(null, f"/proc/{name}", "", MS_BIND)


def enter(tree: str, memory: int) -> Entered:
    """Make `tree` the root of this process, with /dev and /proc, and become its root, without rights outside.

    Afterwards nothing of the host is in its mount namespace. Raises `OSError` when a mount fails.
    """
    syscalls.unshare(syscalls.CLONE_NEWUTS | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWCGROUP)
    syscalls.set_host_name(NAME)
    for name in ("dev", "proc"):
        if not os.path.lexists(f"{tree}/{name}"):
            Path(tree, name).mkdir(mode=0o755)
    devices = {name: os.open(f"/dev/{name}", os.O_PATH | os.O_CLOEXEC) for name in DEVICES}
    mapped = not is_initial()
    namespace, base = _bind(tree)
    os.chdir(tree)
    try:
        # The old root is then stacked on the new one, unreachable, until it is detached (pivot_root(2), NOTES).
        syscalls.pivot_root(".", ".")
        pivoted = True
    except OSError:
        # pivot_root can fail in a chroot: then no process inside gets the capability to leave one.
        os.chroot(".")
        pivoted = False
    os.chdir("/")
    dev = os.open("/dev", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    found = {name: f"/proc/self/fd/{descriptor}" for name, descriptor in devices.items()}
    mount_devices(Path("/dev"), memory // 2, found, base)
    _protect_proc("/dev/null")
    for descriptor in devices.values():
        os.close(descriptor)
    if pivoted:
        syscalls.detach(".")
        os.chdir("/")
    if namespace is not None:
        syscalls.enter(namespace, syscalls.CLONE_NEWUSER)
        os.close(namespace)
        if base:
            os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    # A program inside must not be able to interrupt this process, which enforces the limits.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    return Entered(KEPT if pivoted else KEPT & ~SYS_CHROOT, mapped or base != 0, dev)


def bind(limits: Limits) -> None:
    """Set kernel limits for this process and its children, and drop the caller's keys."""
    bounds = {
        resource.RLIMIT_NPROC: limits.processes,
        resource.RLIMIT_DATA: limits.memory,
        resource.RLIMIT_FSIZE: limits.file_size,
        resource.RLIMIT_CORE: 0,
    }
    for kind, bound in bounds.items():
        _, hard = resource.getrlimit(kind)
        most = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (most, most))
    with contextlib.suppress(OSError):
        # A kernel without keyrings has no keys to drop.
        syscalls.leave_keyrings()
    with contextlib.suppress(OSError):
        # These are killed first when memory runs out.
        Path("/proc/self/oom_score_adj").write_text("1000")


def lock_down(entered: Entered, limits: Limits, *, network: bool) -> None:
    """Restrict this process, which is about to become a program, and all its children. Raises `OSError`.

    Without `network` it has only a loopback device.
    """
    bind(limits)
    if not network:
        syscalls.unshare(syscalls.CLONE_NEWNET)
        syscalls.raise_loopback()
    syscalls.gain_nothing()
    if network:
        with contextlib.suppress(OSError):
            syscalls.leave_abstract_sockets()
    syscalls.keep_capabilities(entered.kept)
