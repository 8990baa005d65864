"""A bootstrap has a root directory of its own, in root's builds and in a user's: the host is out of its reach."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import roost
from roost.host import confinement, mapped, namespace, process
from roost.host.confinement import Limits
from roost.host.namespace import Namespace

BOUNDS = Limits(processes=100, memory=64 << 20)
#: What root becomes to be a user: root of a namespace whose ids are nobody's, as a user's own and subordinate ids are.
BECOME = """
import os, sys
from roost.host import confinement, syscalls
here = confinement.user_namespace(nested=True)
syscalls.enter(here, syscalls.CLONE_NEWUSER)
os.setgroups([]); os.setresgid(0, 0, 0); os.setresuid(0, 0, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True)
class Host:
    """A home that only its owner may read, and how he runs a script that gets two directories of it."""

    home: Path
    before: tuple[str, ...]
    library: Path

    def run(self, script: str, bounds: Limits = BOUNDS, *, network: bool = False) -> process.Completed:
        """Run a script; `$1` is the directory that it may write, `$2` that which it may read."""
        writable, readable, place = self.home / "writable", self.home / "readable", self.home.parent / "place"
        command = ["sh", "-c", script, "sh", str(writable), str(readable)]
        words = mapped.words(place, mapped.Given([writable], [readable], network), bounds, command)
        inside = Namespace(user=os.geteuid() != 0)
        self.log.unlink(missing_ok=True)
        argv = [*self.before, *inside.argv([PYTHON, "-P", "-m", "roost.host.mapped", *words])]
        env = {"PYTHONPATH": str(self.library)}
        done = process.run(argv, deadline=60, capture=True, check=False, env=env, log=self.log)
        assert done.returncode != mapped.UNABLE, "this kernel or file system cannot: not what is tested"
        return done

    @property
    def log(self) -> Path:
        """What the command said on standard error, below its own command line."""
        return self.library.parent / "log"

    def said(self) -> str:
        """Return the last line of the log that is roost's."""
        return "".join(line for line in self.log.read_text().splitlines(keepends=True) if mapped.STOPPED in line)


PYTHON = os.path.realpath(sys.executable)


@pytest.fixture(params=["root", "user"])
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    if request.param == "root" and os.geteuid() != 0:
        pytest.skip("only root builds as root")
    # Not tmp_path: others cannot enter it, and only the home is to be closed.
    top = Path(tempfile.mkdtemp(prefix="roost-mapped-", dir="/tmp"))
    try:
        top.chmod(0o755)
        library = top / "library"
        shutil.copytree(Path(roost.__file__).parent / "host", library / "roost/host")
        for name in ("__init__.py", "errors.py"):
            shutil.copy(Path(roost.__file__).parent / name, library / "roost")
        home = top / "home"
        for name in ("readable", "writable", ".ssh"):
            (home / name).mkdir(parents=True)
        (home / ".ssh/id_ed25519").write_text("secret\n")
        (home / "readable/package.deb").write_text("package\n")
        (top / "place").mkdir()
        before: tuple[str, ...] = ()
        if request.param == "user" and os.geteuid() == 0:
            for path in (top / "place", home, *home.rglob("*")):
                os.chown(path, confinement.IDS, confinement.IDS)
            before = (PYTHON, "-P", "-c", BECOME)
        home.chmod(0o700)
        yield Host(home, before, library)
    finally:
        subprocess.run([*namespace.current().argv(["rm", "-rf", "--", str(top)])], check=True)


def test_owners_on_the_disk_are_those_given(host: Host) -> None:
    done = host.run('id -u; touch "$1/mine" "$1/theirs"; chown 5:6 "$1/theirs"; chmod 4755 "$1/mine"')
    assert (done.returncode, done.text) == (0, "0\n")
    base = confinement.IDS if host.before else 0
    mine, theirs = ((host.home / "writable" / name).stat() for name in ("mine", "theirs"))
    if os.geteuid() == 0:
        assert (mine.st_uid, mine.st_gid, mine.st_mode & 0o7777) == (base, base, 0o4755)
        assert (theirs.st_uid, theirs.st_gid) == (base + 5, base + 6)


def test_it_can_mount_what_a_bootstrap_mounts(host: Host) -> None:
    script = (
        'cd "$1" && mkdir proc sys t dev && mount -t proc proc proc && mount -o rbind /sys sys && touch dev/null'
        " && mount -o bind /dev/null dev/null && mount -t tmpfs t t && touch t/x && echo gone >dev/null"
    )
    done = host.run(script)
    assert done.returncode == 0, done.text
    assert list((host.home / "writable/t").iterdir()) == []


ATTEMPTS = [
    "cat /etc/shadow",
    "ls /root/",
    "ls /home /srv /mnt | grep .",
    "touch /etc/roost-was-here",
    "touch /usr/roost-was-here",
    "cat /proc/sys/fs/file-max >/proc/sys/fs/file-max",
    "cat /proc/sys/kernel/core_pattern >/proc/sys/kernel/core_pattern",
    "echo h >/proc/sysrq-trigger",
    'mknod "$1/disk" b 8 0',
    "chmod 600 /dev/null",
    "head -c 1 /dev/mem",
    "test -e /dev/kvm",
    "mkdir /sys/fs/cgroup/roost-was-here",
    "rmmod loop",
    "kill -0 $PPID_OF_THE_HOST",
    'cat "$1/../.ssh/id_ed25519"',
    'ls -A "$1/.." | grep -v -e "^readable$" -e "^writable$"',
    'touch "$2/more"',
    'echo poison >"$2/package.deb"',
    'mount -o remount,rw,bind "$2" && touch "$2/more"',
    'umount "$2"',
    "umount -l /usr",
    "umount -l /etc || umount -l /proc && ls -l /proc/1/root/ && cat /proc/1/root/etc/shadow",
    "mount -o remount,rw,bind /usr",
    # Out of a chroot, as chroot(2) tells: what is reached is the same small root directory.
    'mkdir -p "$1/jail/in" && perl -e \'chdir $ARGV[0]; chroot "jail"; chdir ".." for 1..64; chroot "."; '
    'exec "/bin/cat", "$ARGV[0]/../.ssh/id_ed25519"\' "$1"',
]


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_the_host_is_out_of_reach(attempt: str, host: Host) -> None:
    script = f"PPID_OF_THE_HOST={os.getpid()}; if {attempt}; then exit 0; else exit 7; fi"
    done = host.run(script)
    assert done.returncode == 7, done.text
    assert (host.home / "readable/package.deb").read_text() == "package\n"


def test_what_is_given_is_where_it_is(host: Host) -> None:
    done = host.run('cat "$2/package.deb"; cp "$2/package.deb" "$1/copy"; grep -c . /etc/hosts >/dev/null && pwd')
    assert (done.returncode, done.text) == (0, "package\n/\n")
    assert (host.home / "writable/copy").read_text() == "package\n"


def test_the_hosts_network_is_there_for_whoever_is_given_it(host: Host) -> None:
    """Packages are downloaded with it and installed without it; a program of theirs may talk to itself all the same."""
    devices = "sed -n 's/^ *\\([^:]*\\):.*/\\1/p' /proc/net/dev"
    with socket.create_server(("127.0.0.1", 0)) as listening:
        reach = f"{PYTHON} -c 'import socket; socket.create_connection((\"127.0.0.1\", {listening.getsockname()[1]}))'"
        assert host.run(f"{devices}; {reach} 2>/dev/null && echo REACHED").text == "lo\n"
        assert "REACHED" in host.run(f"{reach} && echo REACHED", network=True).text
    own = 'import socket as s; a = s.create_server(("127.0.0.1", 0)); s.create_connection(a.getsockname())'
    assert host.run(f"{PYTHON} -c '{own}'").returncode == 0


def test_the_host_keeps_its_name(host: Host) -> None:
    before = os.uname().nodename
    assert host.run("hostname taken && hostname").text == "taken\n"
    assert os.uname().nodename == before


def test_a_fork_bomb_ends(host: Host) -> None:
    # The shell that cannot fork any more ends; what it started stays.
    done = host.run("sh -c 'while :; do sleep 20 & done'; sleep 30")
    assert (done.returncode, done.seconds < 20) == (1, True)
    assert host.said() == f"{mapped.STOPPED}more than 100 processes at once (ROOST_RUN_PROCESSES)\n"


def test_memory_is_bounded(host: Host) -> None:
    done = host.run("for i in 1 2 3 4 5 6; do head -c 20m /dev/zero | tail -c 20m | sleep 20 & done; wait")
    assert done.returncode == 1
    assert host.said() == f"{mapped.STOPPED}more than 64 MiB of memory (ROOST_RUN_MEMORY)\n"


def test_memory_of_shared_files_is_bounded(host: Host) -> None:
    done = host.run("head -c 500m /dev/zero >/dev/shm/x; test $(stat -c %s /dev/shm/x) -le 33554432")
    assert done.returncode == 0


def test_the_exit_status_is_the_commands(host: Host) -> None:
    assert host.run("exit 42").returncode == 42
    assert host.run("sh -c 'kill -KILL $$'").returncode == 128 + 9
