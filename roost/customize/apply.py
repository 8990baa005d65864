"""Customizes a tree, as root of the build's namespace and then chrooted into the tree, so that no path leads out.

Standard input is a JSON plan; the overlay is a tar opened in advance. Uses the standard library only, all of it
imported before the root changes. On failure the error is written to the plan's `report`, a JSON file, and to standard
error.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roost.customize import accounts, sealing, units
from roost.host import bounded, confinement
from roost.host.bounded import ExceededError, Runner
from roost.host.confinement import LINKS, Limits

#: Locales built into the C library.
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


class FailedError(Exception):
    """The error message for the user; `key` is the key of the recipe in question, if any."""

    def __init__(self, what: str, *key: str | int) -> None:
        super().__init__(what)
        self.key = key


def unpack(overlay: tarfile.TarFile) -> None:
    """Unpack the overlay over the tree; this process is chrooted, so links of the tree are followed only inside it."""
    for member in overlay:
        path = Path("/") / member.name
        try:
            _lay(overlay, member, path)
        except OSError as error:
            what = f"{path} cannot be written into the tree: {error.filename or path}: {error.strerror}"
            raise FailedError(what, "files", str(path)) from error


def _lay(overlay: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if member.isdir():
        if not path.is_dir() and os.path.lexists(path):
            raise FailedError(
                f"{path} is not a directory in the tree: a directory cannot replace it", "files", str(path)
            )
        path.mkdir(exist_ok=True)
    else:
        # A link may replace a link to a directory (/etc/x -> y); a file in place of /lib would remove everything behind
        # it.
        if path.is_dir() and not (path.is_symlink() and member.issym()):
            kind = "a link to a directory" if path.is_symlink() else "a directory"
            raise FailedError(f"{path} is {kind} in the tree: a file cannot replace it", "files", str(path))
        path.unlink(missing_ok=True)
        if member.issym():
            path.symlink_to(member.linkname)
        else:
            content = overlay.extractfile(member)
            assert content is not None
            with content, path.open("wb") as file:
                shutil.copyfileobj(content, file)
    # A directory entry applies to the directory behind a link of the tree.
    os.chown(path, member.uid, member.gid, follow_symlinks=member.isdir())
    if not member.issym():
        path.chmod(member.mode)


def add_user(user: Mapping[str, Any], days: int, number_in_recipe: int) -> None:
    """Add an account with its keys, and its password if the plan has a hash; as useradd(8) would."""
    passwd, group, shadow = Path("/etc/passwd"), Path("/etc/group"), Path("/etc/shadow")
    try:
        account = accounts.Account(user["name"], user["shell"], days, user["groups"], user["password"])
        added = accounts.add(passwd.read_text(), group.read_text(), shadow.read_text(), account)
    except accounts.AccountError as error:
        raise FailedError(str(error), "users", number_in_recipe, error.field) from error
    passwd.write_text(added.passwd)
    group.write_text(added.group)
    shadow.write_text(added.shadow)
    number, home = added.number, added.home
    directory = Path(home)
    directory.mkdir(parents=True, exist_ok=True)
    skeleton = Path("/etc/skel")
    if skeleton.is_dir():
        shutil.copytree(skeleton, directory, dirs_exist_ok=True, symlinks=True)
    if user["keys"]:
        (directory / ".ssh").mkdir(mode=0o700, exist_ok=True)
        (directory / ".ssh/authorized_keys").write_text("".join(f"{line.strip()}\n" for line in user["keys"]))
        (directory / ".ssh/authorized_keys").chmod(0o600)
    for path in (directory, *directory.rglob("*")):
        os.chown(path, number, number, follow_symlinks=False)
    directory.chmod(0o755)


def systemctl(runner: Runner, verb: str, units: list[str]) -> None:
    """Enable or disable units with the tree's own systemctl, which only writes links when offline."""
    if not units:
        return
    if not Path("/usr/bin/systemctl").exists():
        raise FailedError(f"cannot {verb} {' '.join(units)}: the tree has no systemd", "services", verb)
    for number, unit in enumerate(units):
        if _run(runner, ["/usr/bin/systemctl", "--no-reload", verb, "--", unit]) != 0:
            what = f"systemctl {verb} {unit} failed: is the package that provides the unit installed?"
            raise FailedError(what, "services", verb, number)


def make_locale(runner: Runner, name: str) -> None:
    """Make a locale available to the C library, with the tree's own locale-gen."""
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
        known = f"; it has {', '.join(alike[:5])}" if alike else ""
        raise FailedError(f"there is no locale {name}{known}", "locale")
    chosen = Path("/etc/locale.gen")
    before = chosen.read_text() if chosen.is_file() else ""
    if wanted not in before.splitlines():
        chosen.write_text(f"{before}{'' if before.endswith(chr(10)) or not before else chr(10)}{wanted}\n")
    done = _run(runner, ["/usr/sbin/locale-gen"])
    if done != 0:
        raise FailedError(f"locale-gen failed for {name} (status {done})", "locale")


def _run(runner: Runner, argv: list[str], *, network: bool = False, extra: Mapping[str, str] | None = None) -> int:
    try:
        return runner.run(argv, network=network, extra=extra)
    except ExceededError as error:
        raise FailedError(f"{argv[0]} was stopped: {error}") from error


@contextmanager
def _no_services() -> Iterator[None]:
    """Keep packages installed by commands from starting services (policy-rc.d(8))."""
    policy = Path(bounded.POLICY)
    mine = not os.path.lexists(policy) and policy.parent.is_dir()
    if mine:
        policy.write_text(bounded.NO_SERVICES)
        policy.chmod(0o755)
    try:
        yield
    finally:
        if mine:
            policy.unlink(missing_ok=True)


@contextmanager
def _name_servers(text: str) -> Iterator[None]:
    """Install the host's name servers in the tree for a while; if a package replaces the file, its version is kept."""
    path, saved = Path(sealing.RESOLV_CONF), Path("/etc/.resolv.conf.roost")
    had = os.path.lexists(path)
    if had:
        path.rename(saved)
    path.write_text(text)
    ours = path.lstat().st_ino
    try:
        yield
    finally:
        if os.path.lexists(path) and path.lstat().st_ino != ours:
            saved.unlink(missing_ok=True)
        else:
            path.unlink(missing_ok=True)
            if had:
                saved.rename(path)


def run(runner: Runner, commands: list[Mapping[str, Any]], name_servers: str, proxies: Mapping[str, str]) -> None:
    """Run the recipe's commands in order; only those that ask for the network have it."""
    with _no_services():
        for number, entry in enumerate(commands):
            command = entry["command"]
            sys.stderr.write(f"run: {command}\n")
            sys.stderr.flush()
            argv = ["/bin/sh", "-c", command]
            try:
                if entry["network"]:
                    with _name_servers(name_servers):
                        status = runner.run(argv, network=True, extra=proxies)
                else:
                    status = runner.run(argv)
            except ExceededError as error:
                raise FailedError(f"run command {number + 1} was stopped: {error}: {command}", "run", number) from error
            if status != 0:
                how = f"was killed by signal {-status}" if status < 0 else f"failed with status {status}"
                raise FailedError(f"run command {number + 1} {how}: {command}", "run", number)


def make_devices(dev: int) -> None:
    """Make the nodes that a guest needs in /dev before it is mounted; `dev` is a descriptor of that directory."""
    os.fchdir(dev)
    for name, target in LINKS.items():
        link = Path(name)
        if not link.is_symlink():
            link.symlink_to(target)
    for name, mode in (("pts", 0o755), ("shm", 0o1777)):
        Path(name).mkdir(exist_ok=True)
        Path(name).chmod(mode)
    os.chdir("/")


def renew_host_keys() -> None:
    """Make every machine generate its own host keys: the sealed image has none."""
    if not Path("/usr/sbin/sshd").exists() or not Path("/etc/systemd/system").is_dir():
        return
    unit = Path("/etc/systemd/system/roost-ssh-keys.service")
    unit.write_text(SSH_KEYS_UNIT)
    wants = Path("/etc/systemd/system/multi-user.target.wants")
    wants.mkdir(exist_ok=True)
    (wants / unit.name).unlink(missing_ok=True)
    (wants / unit.name).symlink_to(f"../{unit.name}")


def customize(plan: Mapping[str, Any]) -> None:
    """Apply the plan."""
    limits = Limits(**plan["limits"])
    with tarfile.open(plan["overlay"]) as overlay:
        entered = confinement.enter(plan["tree"], limits.memory)
        if not entered.user:
            sys.stderr.write("no user namespace here: programs of the tree run as root without capabilities\n")
        unpack(overlay)
    runner = Runner(entered, limits)
    for number, user in enumerate(plan["users"]):
        add_user(user, plan["epoch"] // 86400, number)
    make_locale(runner, plan["locale"])
    systemctl(runner, "enable", plan["enable"])
    systemctl(runner, "disable", plan["disable"])
    run(runner, plan["run"], plan["name_servers"], plan["proxies"])
    # Background processes of commands must not change the tree any more.
    bounded.kill_all()
    for name, (hint, *key) in plan["needed"].items():
        if not Path(name).exists():
            raise FailedError(f"the tree has no {name}: {hint}", *key)
    units.await_services(Path("/"), plan["enable"])
    if plan["batch"] is not None:
        masked = units.rest(Path("/"), plan["enable"], **plan["batch"])
        sys.stderr.write(f"no use for: {' '.join(masked) or 'nothing'}\n")
    if plan["seal"]:
        sealing.seal(plan["files"], [user["name"] for user in plan["users"] if user["password"]])
        renew_host_keys()
    make_devices(entered.dev)


def main() -> int:
    """Apply the plan on standard input; return the exit status."""
    plan = json.load(sys.stdin)
    os.umask(0o022)
    with Path(plan["report"]).open("w") as report:
        try:
            customize(plan)
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
