"""Runs inside: as root of the build's namespace, chrooted into the tree, so that no link in it leads out.

Standard input is a JSON plan; the overlay is a tar already opened. Standard library only, all of it imported
before the chroot. Fails with one line on standard error.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

_MS_NOSUID, _MS_NODEV, _MS_BIND = 2, 4, 4096
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}

#: Identity and traces: none of it may be the same in two machines.
EMPTIED = ("/etc/machine-id",)
REMOVED = (
    "/var/lib/dbus/machine-id", "/var/lib/systemd/random-seed", "/etc/resolv.conf", "/etc/passwd-", "/etc/group-",
    "/etc/shadow-", "/etc/gshadow-", "/root/.bash_history",
)  # fmt: skip
SWEPT = (
    "/etc/ssh/ssh_host_*",
    "/var/lib/apt/lists/*",
    "/var/cache/apt/*",
    "/var/lib/dhcp/*",
    "/tmp/*",
    "/var/tmp/*",
    "/run/*",
)

SSH_KEYS_UNIT = """\
[Unit]
Description=Host keys of this machine, made at its first start
Before=ssh.service
ConditionPathExistsGlob=!/etc/ssh/ssh_host_*_key

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
"""


class FailedError(Exception):
    """What the user is told."""


def unpack(overlay: tarfile.TarFile) -> None:
    """Lay the overlay over the tree; we are chrooted, so links of the tree are followed inside of it only."""
    for member in overlay:
        path = Path("/") / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if member.isdir():
            path.mkdir(exist_ok=True)
        else:
            if path.is_dir() and not path.is_symlink():
                raise FailedError(f"{path} is a folder in the tree: a file cannot replace it")
            path.unlink(missing_ok=True)
            if member.issym():
                path.symlink_to(member.linkname)
            else:
                content = overlay.extractfile(member)
                assert content is not None
                with content, path.open("wb") as file:
                    shutil.copyfileobj(content, file)
        os.chown(path, member.uid, member.gid, follow_symlinks=False)
        if not member.issym():
            path.chmod(member.mode)


def add_user(user: dict[str, Any], days: int) -> None:
    """Add an account that no password opens, with its keys; as useradd(8) would."""
    name, home = user["name"], f"/home/{user['name']}"
    passwd, group, shadow = Path("/etc/passwd"), Path("/etc/group"), Path("/etc/shadow")
    accounts = [line.split(":") for line in passwd.read_text().splitlines()]
    if any(account[0] == name for account in accounts):
        raise FailedError(f"the tree has a user {name} already")
    number = max([999, *(int(account[2]) for account in accounts if 1000 <= int(account[2]) < 60000)]) + 1
    groups = [line.split(":") for line in group.read_text().splitlines()]
    for wanted in user["groups"]:
        found = next((entry for entry in groups if entry[0] == wanted), None)
        if found is None:
            raise FailedError(f"the tree has no group {wanted} for user {name}")
        found[3] = ",".join([*filter(None, found[3].split(",")), name])
    groups.append([name, "x", str(number), ""])
    group.write_text("".join(":".join(entry) + "\n" for entry in groups))
    passwd.write_text(passwd.read_text() + f"{name}:x:{number}:{number}::{home}:{user['shell']}\n")
    # `*` is no password at all; `!` would make sshd refuse keys too (sshd(8), locked accounts).
    shadow.write_text(shadow.read_text() + f"{name}:*:{days}:0:99999:7:::\n")
    folder = Path(home)
    folder.mkdir(parents=True, exist_ok=True)
    skeleton = Path("/etc/skel")
    if skeleton.is_dir():
        shutil.copytree(skeleton, folder, dirs_exist_ok=True, symlinks=True)
    if user["keys"]:
        (folder / ".ssh").mkdir(mode=0o700, exist_ok=True)
        (folder / ".ssh/authorized_keys").write_text("".join(f"{line.strip()}\n" for line in user["keys"]))
        (folder / ".ssh/authorized_keys").chmod(0o600)
    for path in (folder, *folder.rglob("*")):
        os.chown(path, number, number, follow_symlinks=False)
    folder.chmod(0o755)


def systemctl(verb: str, units: list[str]) -> None:
    """Enable or disable units with the tree's own systemctl, which in a chroot only writes links."""
    if not units:
        return
    if not Path("/usr/bin/systemctl").exists():
        raise FailedError(f"cannot {verb} {' '.join(units)}: the tree has no systemd")
    done = subprocess.run(
        ["/usr/bin/systemctl", "--no-reload", verb, "--", *units], check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        raise FailedError(f"systemctl {verb} {' '.join(units)} failed: is the package that brings the unit installed?")


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(os.fsencode(source), os.fsencode(target), os.fsencode(kind), flags, None) != 0:
        raise FailedError(f"cannot mount {kind or source} for run: {os.strerror(ctypes.get_errno())}")


def prepare_devices(tree: str) -> None:
    """Give `run` commands /proc and the harmless devices of the host; our mounts end with our namespace."""
    _mount("roost", f"{tree}/dev", "tmpfs", _MS_NOSUID)
    for name in DEVICES:
        Path(f"{tree}/dev/{name}").touch()
        _mount(f"/dev/{name}", f"{tree}/dev/{name}", "", _MS_BIND)
    for name, target in LINKS.items():
        Path(f"{tree}/dev/{name}").symlink_to(target)
    _mount("proc", f"{tree}/proc", "proc", _MS_NOSUID | _MS_NODEV)


def run(commands: list[str]) -> None:
    """Run the recipe's commands; no service starts meanwhile (policy-rc.d(8)), there is no network."""
    policy = Path("/usr/sbin/policy-rc.d")
    mine = not policy.exists()
    if mine:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8",
           "DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_OFFLINE": "1"}  # fmt: skip
    try:
        for number, command in enumerate(commands):
            sys.stderr.write(f"run: {command}\n")
            sys.stderr.flush()
            done = subprocess.run(["/bin/sh", "-c", command], env=env, check=False, stdin=subprocess.DEVNULL, cwd="/")
            if done.returncode != 0:
                raise FailedError(f"run command {number + 1} failed with status {done.returncode}: {command}")
    finally:
        if mine:
            policy.unlink(missing_ok=True)


def seal() -> None:
    """Take identity and traces out of the tree."""
    for name in EMPTIED:
        if Path(name).exists():
            Path(name).write_bytes(b"")
    for name in REMOVED:
        Path(name).unlink(missing_ok=True)
    for pattern in SWEPT:
        for path in Path("/").glob(pattern[1:]):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for path in Path("/var/log").rglob("*"):
        if stat.S_ISREG(path.lstat().st_mode):
            path.unlink()
    if Path("/usr/sbin/sshd").exists() and Path("/etc/systemd/system").is_dir():
        unit = Path("/etc/systemd/system/roost-ssh-keys.service")
        unit.write_text(SSH_KEYS_UNIT)
        wants = Path("/etc/systemd/system/multi-user.target.wants")
        wants.mkdir(exist_ok=True)
        (wants / unit.name).unlink(missing_ok=True)
        (wants / unit.name).symlink_to(f"../{unit.name}")
    for name, target in LINKS.items():
        link = Path("/dev") / name
        if not link.is_symlink():
            link.symlink_to(target)
    for name, mode in (("pts", 0o755), ("shm", 0o1777)):
        (Path("/dev") / name).mkdir(exist_ok=True)
        (Path("/dev") / name).chmod(mode)


def main() -> int:
    """Do what the plan on standard input says; return the exit status."""
    plan = json.load(sys.stdin)
    os.umask(0o022)
    try:
        with tarfile.open(plan["overlay"]) as overlay:
            if plan["run"]:
                prepare_devices(plan["tree"])
            os.chroot(plan["tree"])
            os.chdir("/")
            unpack(overlay)
        for user in plan["users"]:
            add_user(user, plan["epoch"] // 86400)
        systemctl("enable", plan["enable"])
        systemctl("disable", plan["disable"])
        run(plan["run"])
        for name in plan["needed"]:
            if not os.path.lexists(name) or not Path(name).exists():
                raise FailedError(f"the tree has no {name}: {plan['needed'][name]}")
        if plan["run"]:
            libc = ctypes.CDLL(None)
            libc.umount2(b"/proc", 2)
            libc.umount2(b"/dev", 2)
        seal()
    except FailedError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except OSError as error:
        sys.stderr.write(f"{error.filename or 'the tree'}: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
