"""Runs inside: as root of the build's namespace, chrooted into the tree, so that no link in it leads out.

Standard input is a JSON plan; the overlay is a tar already opened. Standard library only, all of it imported
before the chroot. Fails with what is wrong in the plan's `report`, a JSON file, and on standard error.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roost.rootfs import accounts, sealing

_MS_NOSUID, _MS_NODEV, _MS_BIND = 2, 4, 4096
_CLONE_NEWNET = 0x40000000
_MNT_DETACH = 2
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2"}
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/sh",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "SYSTEMD_OFFLINE": "1",
}
#: Locales that the C library has in itself.
BUILT_IN = frozenset({"C", "POSIX", "C.UTF-8", "C.utf8"})

SSH_KEYS_UNIT = """\
[Unit]
Description=Host keys of this machine, made at its first start
Before=ssh.service ssh.socket sshd.service
ConditionPathExistsGlob=!/etc/ssh/ssh_host_*_key

[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -A

[Install]
WantedBy=multi-user.target
"""

# Loaded before the chroot: the tree may have another C library, or none.
_LIBC = ctypes.CDLL(None, use_errno=True)


class FailedError(Exception):
    """What the user is told; `key` is the place in the recipe that it is about, if it is about one."""

    def __init__(self, what: str, *key: str | int) -> None:
        super().__init__(what)
        self.key = key


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


def add_user(user: Mapping[str, Any], days: int, number_in_recipe: int) -> None:
    """Add an account with its keys, and with a password only if the plan has its hash; as useradd(8) would."""
    passwd, group, shadow = Path("/etc/passwd"), Path("/etc/group"), Path("/etc/shadow")
    try:
        added = accounts.add(
            passwd.read_text(),
            group.read_text(),
            shadow.read_text(),
            user["name"],
            shell=user["shell"],
            groups=user["groups"],
            password=user["password"],
            days=days,
        )
    except accounts.AccountError as error:
        raise FailedError(str(error), "users", number_in_recipe, error.field) from error
    passwd.write_text(added.passwd)
    group.write_text(added.group)
    shadow.write_text(added.shadow)
    number, home = added.number, added.home
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
        raise FailedError(f"cannot {verb} {' '.join(units)}: the tree has no systemd", "services", verb)
    for number, unit in enumerate(units):
        done = subprocess.run(
            ["/usr/bin/systemctl", "--no-reload", verb, "--", unit], check=False, stdin=subprocess.DEVNULL
        )
        if done.returncode != 0:
            what = f"systemctl {verb} {unit} failed: is the package that brings the unit installed?"
            raise FailedError(what, "services", verb, number)


def make_locale(name: str) -> None:
    """Have the C library know a locale, with the tree's own locale-gen."""
    if name in BUILT_IN:
        return
    language, _, codeset = name.partition(".")
    codeset, at, modifier = codeset.partition("@")
    compiled = f"{language}.{codeset.lower().replace('-', '')}{at}{modifier}" if codeset else name
    if Path("/usr/lib/locale", compiled).is_dir():
        return
    supported = Path("/usr/share/i18n/SUPPORTED")
    if not Path("/usr/sbin/locale-gen").exists() or not supported.is_file():
        raise FailedError(f"the tree cannot make the locale {name}: add locales to os.debian.packages", "locale")
    lines = supported.read_text().splitlines()
    wanted = next((line.strip() for line in lines if line.split()[:1] == [name]), None)
    if wanted is None:
        alike = sorted({line.split()[0] for line in lines if line.startswith(f"{language}")})
        known = f"; there is {', '.join(alike[:5])}" if alike else ""
        raise FailedError(f"there is no locale {name}{known}", "locale")
    chosen = Path("/etc/locale.gen")
    before = chosen.read_text() if chosen.is_file() else ""
    if wanted not in before.splitlines():
        chosen.write_text(f"{before}{'' if before.endswith(chr(10)) or not before else chr(10)}{wanted}\n")
    done = _run(["/usr/sbin/locale-gen"], network=False)
    if done != 0:
        raise FailedError(f"locale-gen failed for {name} (status {done})", "locale")


def _mount(source: str, target: str, kind: str, flags: int) -> None:
    if _LIBC.mount(os.fsencode(source), os.fsencode(target), os.fsencode(kind), flags, None) != 0:
        raise FailedError(f"cannot mount {kind or source} for run: {os.strerror(ctypes.get_errno())}")


def prepare_devices(tree: str) -> None:
    """Give commands /proc and the harmless devices of the host; our mounts end with our namespace."""
    _mount("roost", f"{tree}/dev", "tmpfs", _MS_NOSUID)
    for name in DEVICES:
        Path(f"{tree}/dev/{name}").touch()
        _mount(f"/dev/{name}", f"{tree}/dev/{name}", "", _MS_BIND)
    for name, target in LINKS.items():
        Path(f"{tree}/dev/{name}").symlink_to(target)
    _mount("proc", f"{tree}/proc", "proc", _MS_NOSUID | _MS_NODEV)


def _no_network() -> None:
    """Leave the network, in a child that is about to be a command; what cannot leave it does not run."""
    if _LIBC.unshare(_CLONE_NEWNET) != 0:
        os._exit(125)


def _run(argv: list[str], *, network: bool, extra: Mapping[str, str] | None = None) -> int:
    done = subprocess.run(
        argv,
        env={**ENVIRONMENT, **(extra or {})},
        check=False,
        stdin=subprocess.DEVNULL,
        cwd="/",
        preexec_fn=None if network else _no_network,
    )
    return done.returncode


@contextmanager
def _no_services() -> Iterator[None]:
    """Keep packages that commands install from starting services (policy-rc.d(8))."""
    policy = Path("/usr/sbin/policy-rc.d")
    mine = not os.path.lexists(policy) and policy.parent.is_dir()
    if mine:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        yield
    finally:
        if mine:
            policy.unlink(missing_ok=True)


@contextmanager
def _name_servers(text: str) -> Iterator[None]:
    """Give the tree the host's name servers for a while; a package that meanwhile makes the file its own keeps it."""
    path, aside = Path(sealing.RESOLV_CONF), Path("/etc/.resolv.conf.roost")
    had = os.path.lexists(path)
    if had:
        path.rename(aside)
    path.write_text(text)
    ours = path.lstat().st_ino
    try:
        yield
    finally:
        if os.path.lexists(path) and path.lstat().st_ino != ours:
            aside.unlink(missing_ok=True)
        else:
            path.unlink(missing_ok=True)
            if had:
                aside.rename(path)


def run(commands: list[Mapping[str, Any]], name_servers: str, proxies: Mapping[str, str]) -> None:
    """Run the recipe's commands in their order; only those that ask for the network have it."""
    with _no_services():
        for number, entry in enumerate(commands):
            command = entry["command"]
            sys.stderr.write(f"run: {command}\n")
            sys.stderr.flush()
            argv = ["/bin/sh", "-c", command]
            if entry["network"]:
                with _name_servers(name_servers):
                    status = _run(argv, network=True, extra=proxies)
            else:
                status = _run(argv, network=False)
            if status != 0:
                how = f"was killed by signal {-status}" if status < 0 else f"failed with status {status}"
                raise FailedError(f"run command {number + 1} {how}: {command}", "run", number)


def furnish_devices() -> None:
    """Make what a guest finds in /dev before anything is mounted there."""
    for name, target in LINKS.items():
        link = Path("/dev") / name
        if not link.is_symlink():
            link.symlink_to(target)
    for name, mode in (("pts", 0o755), ("shm", 0o1777)):
        (Path("/dev") / name).mkdir(exist_ok=True)
        (Path("/dev") / name).chmod(mode)


def renew_host_keys() -> None:
    """Have every machine make host keys of its own: the sealed image has none."""
    if not Path("/usr/sbin/sshd").exists() or not Path("/etc/systemd/system").is_dir():
        return
    unit = Path("/etc/systemd/system/roost-ssh-keys.service")
    unit.write_text(SSH_KEYS_UNIT)
    wants = Path("/etc/systemd/system/multi-user.target.wants")
    wants.mkdir(exist_ok=True)
    (wants / unit.name).unlink(missing_ok=True)
    (wants / unit.name).symlink_to(f"../{unit.name}")


def furnish(plan: Mapping[str, Any]) -> None:
    """Do what the plan says."""
    with tarfile.open(plan["overlay"]) as overlay:
        devices = plan["run"] or plan["locale"] not in BUILT_IN
        if devices:
            prepare_devices(plan["tree"])
        os.chroot(plan["tree"])
        os.chdir("/")
        unpack(overlay)
    for number, user in enumerate(plan["users"]):
        add_user(user, plan["epoch"] // 86400, number)
    make_locale(plan["locale"])
    systemctl("enable", plan["enable"])
    systemctl("disable", plan["disable"])
    run(plan["run"], plan["name_servers"], plan["proxies"])
    for name, (hint, *key) in plan["needed"].items():
        if not Path(name).exists():
            raise FailedError(f"the tree has no {name}: {hint}", *key)
    if devices:
        _LIBC.umount2(b"/proc", _MNT_DETACH)
        _LIBC.umount2(b"/dev", _MNT_DETACH)
    if plan["seal"]:
        sealing.seal(plan["files"], [user["name"] for user in plan["users"] if user["password"]])
        renew_host_keys()
    furnish_devices()


def main() -> int:
    """Do what the plan on standard input says; return the exit status."""
    plan = json.load(sys.stdin)
    os.umask(0o022)
    with Path(plan["report"]).open("w") as report:
        try:
            furnish(plan)
        except FailedError as error:
            what, key = str(error), list(error.key)
        except OSError as error:
            what, key = f"{error.filename or 'the tree'}: {error.strerror}", []
        else:
            return 0
        json.dump({"what": what, "key": key}, report)
        sys.stderr.write(f"{what}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
