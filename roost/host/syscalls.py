"""Linux system calls that Python 3.11 has no function for: mounts, namespaces, capabilities, keyrings.

Uses the standard library only; each function raises `OSError` with the kernel's error. Constants are those of the
kernel's headers (linux/mount.h, sched.h, prctl.h, capability.h, keyctl.h, landlock.h).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import socket
import struct

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT, MS_BIND, MS_REC = 1, 2, 4, 8, 32, 4096, 16384
CLONE_NEWUSER, CLONE_NEWNET, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWCGROUP = (
    0x10000000,
    0x40000000,
    0x04000000,
    0x08000000,
    0x02000000,
)
_MNT_DETACH = 2
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH = 1, 4
_MOUNT_ATTR_RDONLY, _MOUNT_ATTR_NOSUID, _MOUNT_ATTR_NODEV, _MOUNT_ATTR_IDMAP = 0x1, 0x2, 0x4, 0x100000
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 24, 38, 47, 4
_PR_SET_DUMPABLE = 4
_CAPABILITY_VERSION = 0x20080522
_KEYCTL_JOIN_SESSION_KEYRING = 1
_LANDLOCK_CREATE_RULESET_VERSION, _LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, _LANDLOCK_SCOPES_SINCE = 1, 1, 6
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1

#: Numbers of the calls without a function in the C library; those from 424 on are the same on all machines.
_KEYCTL = {"x86_64": 250, "aarch64": 219, "ppc64le": 271, "s390x": 280, "riscv64": 219}
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "ppc64le": 203, "s390x": 217, "riscv64": 41}
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR, _LANDLOCK_CREATE, _LANDLOCK_RESTRICT = 428, 429, 442, 444, 446

# Loaded before the root changes: a tree may have another C library, or none.
_LIBC = ctypes.CDLL(None, use_errno=True)
_MACHINE = platform.machine()


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def _call(number: int | None, what: str, *arguments: object) -> int:
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), what)
    words = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    return _checked(int(_LIBC.syscall(ctypes.c_long(number), *words)), what)


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    """Mount as mount(2) does; an empty `kind` or `data` is passed as NULL."""
    words = (os.fsencode(one) if one else None for one in (source, target, kind))
    _checked(_LIBC.mount(*words, ctypes.c_ulong(flags), data.encode() or None), target)


def detach(target: str) -> None:
    """Unmount lazily: the mount is no longer reachable by a path."""
    _checked(_LIBC.umount2(os.fsencode(target), _MNT_DETACH), target)


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root of this mount namespace, and put the old one on `old` (pivot_root(2))."""
    _call(_PIVOT_ROOT.get(_MACHINE), new, ctypes.c_char_p(os.fsencode(new)), ctypes.c_char_p(os.fsencode(old)))


def unshare(flags: int) -> None:
    """Move this process to new namespaces (unshare(2))."""
    _checked(_LIBC.unshare(flags), "unshare")


def enter(namespace: int, kind: int) -> None:
    """Enter the namespace of an open descriptor (setns(2))."""
    _checked(_LIBC.setns(namespace, kind), "setns")


def bind_mapped(directory: str, user_namespace: int) -> None:
    """Bind-mount a directory on itself with the owners of a user namespace (mount_setattr(2), Linux 5.12).

    Owner 0 on the disk is root of that namespace; nothing changes on the disk. Fails where the file system does not
    support it.
    """
    path = ctypes.c_char_p(os.fsencode(directory))
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC
    cloned = _call(_OPEN_TREE, directory, _AT_FDCWD, path, flags)
    try:
        attributes = struct.pack("=QQQQ", _MOUNT_ATTR_NODEV | _MOUNT_ATTR_IDMAP, 0, 0, user_namespace)
        _call(
            _MOUNT_SETATTR,
            directory,
            cloned,
            ctypes.c_char_p(b""),
            _AT_EMPTY_PATH,
            ctypes.c_char_p(attributes),
            len(attributes),
        )
        _call(_MOVE_MOUNT, directory, cloned, ctypes.c_char_p(b""), _AT_FDCWD, path, _MOVE_MOUNT_F_EMPTY_PATH)
    finally:
        os.close(cloned)


def restrict(target: str) -> None:
    """Make a mount and all its submounts read-only, without set-user-ID programs and devices (mount_setattr(2))."""
    attributes = struct.pack("=QQQQ", _MOUNT_ATTR_RDONLY | _MOUNT_ATTR_NOSUID | _MOUNT_ATTR_NODEV, 0, 0, 0)
    path, flags = ctypes.c_char_p(os.fsencode(target)), _AT_RECURSIVE
    _call(_MOUNT_SETATTR, target, _AT_FDCWD, path, flags, ctypes.c_char_p(attributes), len(attributes))


def hide_memory() -> None:
    """Keep other processes from tracing this one or reading its files (PR_SET_DUMPABLE), unless they may trace any."""
    _checked(_LIBC.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")


def set_host_name(name: str) -> None:
    """Set the host name in the UTS namespace of this process."""
    text = name.encode()
    _checked(_LIBC.sethostname(text, len(text)), "sethostname")


def raise_loopback() -> None:
    """Bring `lo` up in the network namespace of this process, as a booted machine has it (netdevice(7))."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sh22x", b"lo", 0)
        _, flags = struct.unpack("16sh22x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", flags | _IFF_UP))


def leave_keyrings() -> None:
    """Join a new, empty session keyring: the caller's keys are possessed no longer (keyctl(2))."""
    _call(_KEYCTL.get(_MACHINE), "keyctl", _KEYCTL_JOIN_SESSION_KEYRING, ctypes.c_void_p(None))


def leave_abstract_sockets() -> None:
    """Block connections to abstract sockets of other processes, permanently (landlock(7), Linux 6.12)."""
    version = _call(_LANDLOCK_CREATE, "landlock", ctypes.c_void_p(None), 0, _LANDLOCK_CREATE_RULESET_VERSION)
    if version < _LANDLOCK_SCOPES_SINCE:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), "landlock")
    attributes = struct.pack("=QQQ", 0, 0, _LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET)
    rules = _call(_LANDLOCK_CREATE, "landlock", ctypes.c_char_p(attributes), len(attributes), 0)
    try:
        _call(_LANDLOCK_RESTRICT, "landlock", rules, 0)
    finally:
        os.close(rules)


def gain_nothing() -> None:
    """Keep programs from gaining privileges that this process does not have (PR_SET_NO_NEW_PRIVS)."""
    _checked(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def keep_capabilities(kept: int) -> None:
    """Drop all capabilities except those of the mask `kept`, from every set, for this process and its children."""
    for number in range(64):
        if not kept & (1 << number) and _LIBC.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) != 0:
            code = ctypes.get_errno()
            if code == errno.EINVAL:
                # The kernel knows no higher one.
                break
            raise OSError(code, os.strerror(code), "prctl")
    _checked(_LIBC.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "prctl")
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION, 0))
    sets = ctypes.create_string_buffer(24)
    _checked(_LIBC.capget(header, sets), "capget")
    low_effective, low_permitted, _, high_effective, high_permitted, _ = struct.unpack("=6I", sets.raw[:24])
    low, high = kept & 0xFFFFFFFF, kept >> 32
    words = (low_effective & low, low_permitted & low, 0, high_effective & high, high_permitted & high, 0)
    sets = ctypes.create_string_buffer(struct.pack("=6I", *words))
    _checked(_LIBC.capset(header, sets), "capset")
