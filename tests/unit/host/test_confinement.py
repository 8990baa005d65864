"""Programs of a root tree see the tree and nothing of the host, and take no more than they may."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from roost.customize import limits
from roost.errors import UsageError
from roost.host import bounded, namespace, process
from roost.host.confinement import Limits

PROGRAMS = (
    "sh", "cat", "chmod", "chown", "dd", "env", "head", "hostname", "id", "kill", "ls", "mkdir", "mknod", "mount",
    "nsenter", "rm", "script", "setpriv", "sleep", "stat", "tail", "touch", "unshare", "chroot",
)  # fmt: skip


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a root tree with the host's own small tools and their libraries."""
    top = tmp_path_factory.mktemp("tree")
    for name in ("bin", "dev", "etc", "proc", "root", "sys", "tmp"):
        (top / name).mkdir()
    top.chmod(0o755)
    for name in PROGRAMS:
        found = process.which(name)
        assert found is not None
        shutil.copy(found, top / "bin" / name)
        listed = subprocess.run(["ldd", found], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(0x", listed):
            (top / library[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, top / library[1:])
    return top


def _run(tree: Path, script: str, *, network: bool = False, bounds: Limits | None = None) -> tuple[int, str]:
    """Run a script in the tree; return its exit status, and what it and the bounds said."""
    program = (
        "import sys; from roost.host import bounded, confinement\n"
        f"limits = confinement.{bounds or Limits()!r}\n"
        "runner = bounded.Runner(confinement.enter(sys.argv[1], limits.memory), limits, output=1)\n"
        "try: sys.exit(runner.run(['/bin/sh', '-c', sys.argv[2]], network=sys.argv[3] == 'True'))\n"
        "except bounded.ExceededError as error: print(error); sys.exit(99)\n"
    )
    inside = replace(namespace.current(), network=network)
    argv = inside.argv([sys.executable, "-P", "-c", program, str(tree), script, str(network)])
    done = process.run(argv, deadline=60, capture=True, check=False, env=bounded.SELF)
    return done.returncode, done.text


@pytest.mark.parametrize(
    "attempt",
    [
        "hostname taken",
        "mount -t tmpfs t /tmp",
        "mount -t cgroup2 c /tmp",
        "mount --bind / /tmp",
        "mount -o remount,rw /proc/sys",
        "mknod /tmp/disk b 8 0",
        "mknod /dev/disk b 8 0",
        "mknod /dev/shm/kmem c 1 2",
        "cat /proc/sys/fs/file-max >/proc/sys/fs/file-max",
        "echo /tmp/x >/proc/sys/kernel/core_pattern",
        "echo h >/proc/sysrq-trigger",
        "chmod 600 /dev/null",
        "chown 5 /dev/null",
        "nsenter -t 1 -m true",
        "ls /proc/1/root/",
        # The numbers may be listed; what they stand for stays closed.
        "cat /proc/1/fd/0",
        "ls -l /proc/1/fd/0",
        "cat /proc/1/environ",
        "unshare --user true",
        "unshare --mount true",
        "setpriv --inh-caps +sys_admin true",
        "head -c 1 /dev/mem",
        "head -c 1 /dev/kvm",
        '[ -n "$(head -c 1 /proc/kmsg)" ]',
    ],
)
def test_the_host_is_out_of_reach(tree: Path, attempt: str) -> None:
    status, said = _run(tree, f"if {attempt}; then exit 0; else exit 7; fi")
    assert status == 7, said


def test_what_commands_see_is_the_tree(tree: Path) -> None:
    status, said = _run(tree, "hostname; cat /proc/self/mountinfo; kill -9 1; kill -INT 1; kill -TERM 1; echo alive")
    assert status == 0 and said.endswith("alive\n")
    lines = said.splitlines()
    assert lines[0] == "localhost"
    mounts = {line.split()[4] for line in lines if " - " in line}
    assert {"/", "/dev", "/dev/pts", "/dev/shm", "/proc"} <= mounts
    assert not [one for one in mounts if one != "/" and not one.startswith(("/dev", "/proc"))]


def test_capabilities_are_few_and_none_is_gained(tree: Path) -> None:
    _, said = _run(tree, "cat /proc/self/status")
    facts = dict(line.split(":\t", 1) for line in said.splitlines())
    assert facts["NoNewPrivs"] == "1"
    assert facts["CapInh"] == facts["CapAmb"] == "0" * 16
    bounding = int(facts["CapBnd"], 16)
    # SYS_MODULE, SYS_RAWIO, SYS_PTRACE, SYS_ADMIN, SYS_BOOT, SYS_TIME, MKNOD, SYSLOG, BPF (capabilities(7)).
    assert not [number for number in (16, 17, 19, 21, 22, 25, 27, 34, 39) if bounding & (1 << number)]


def test_devices_are_those_of_a_booted_system(tree: Path) -> None:
    script = (
        "set -e; stat -c '%a %F' /dev/shm/.; stat -fc %T /dev/shm; echo x >/dev/shm/x; stat -fc %T /dev/pts;"
        " stat -L -c '%a %F' /dev/ptmx; echo gone >/dev/null; head -c 2 /dev/zero >/dev/full || echo full"
    )
    status, said = _run(tree, script)
    assert status == 0, said
    assert said.replace("head: write error: No space left on device\n", "").splitlines() == [
        "1777 directory", "tmpfs", "devpts", "666 character special file", "full",
    ]  # fmt: skip


def test_a_pseudo_terminal_can_be_opened(tree: Path) -> None:
    status, said = _run(tree, "script -qec 'test -t 0 && stat -c %a /dev/pts/0' /dev/null")
    assert (status, said.split()) == (0, ["620"]), said


def test_owners_are_those_of_the_tree(tree: Path) -> None:
    status, said = _run(tree, "touch /tmp/own && chown 5:6 /tmp/own && id -u && stat -c %u:%g /tmp/own /bin/sh")
    assert (status, said.split()) == (0, ["0", "5:6", "0:0"]), said
    seen = process.run(namespace.current().argv(["stat", "-c", "%u:%g", tree / "tmp/own"]), deadline=20, capture=True)
    assert seen.text == "5:6\n"


def test_the_environment_and_open_files_of_the_caller_stay_out(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://secret@proxy")
    _, said = _run(tree, "env; ls -l /proc/self/fd")
    assert "secret" not in said and "PYTHONPATH" not in said and "HOME=/root\n" in said
    # 3 is the directory that ls itself reads.
    assert {line.split()[-3] for line in said.splitlines() if " -> " in line} == {"0", "1", "2", "3"}


def test_no_network_but_a_loopback_that_is_up(tree: Path) -> None:
    _, said = _run(tree, "cat /proc/net/dev /proc/net/route /proc/net/fib_trie")
    assert [line.split(":")[0].strip() for line in said.splitlines() if ": " in line and "|" not in line] == ["lo"]
    assert "127.0.0.1" in said


def test_a_fork_bomb_ends(tree: Path) -> None:
    status, said = _run(tree, "while :; do sleep 20 & done", bounds=Limits(processes=100))
    assert status == 99 and "more than 100 processes at once (ROOST_RUN_PROCESSES)" in said


def test_memory_is_bounded(tree: Path) -> None:
    script = "for i in 1 2 3 4; do head -c 10m /dev/zero | tail -c 10m | sleep 20 & done; wait"
    status, said = _run(tree, script, bounds=Limits(memory=32 << 20))
    assert status == 99 and "more than 32 MiB of memory (ROOST_RUN_MEMORY)" in said, said


def test_a_file_does_not_fill_the_disk(tree: Path) -> None:
    status, _ = _run(tree, "dd if=/dev/zero of=/tmp/big bs=1M count=9", bounds=Limits(file_size=1 << 20))
    assert status not in {0, 99}
    assert (tree / "tmp/big").stat().st_size == 1 << 20
    (tree / "tmp/big").unlink()


def test_the_room_that_others_need_stays(tree: Path, tmp_path: Path) -> None:
    """The tree is on a small disk: half of what it has free stays."""
    script = 'mount -t tmpfs -o size=64m none "$1" && cp -a "$2/." "$1" && shift 2 && exec "$@"'
    program = (
        "import sys; from roost.host import bounded, confinement\n"
        "limits = confinement.Limits()\n"
        "runner = bounded.Runner(confinement.enter(sys.argv[1], limits.memory), limits, output=1)\n"
        "try: sys.exit(runner.run(['/bin/sh', '-c', 'dd if=/dev/zero of=/big bs=1M; sleep 5']))\n"
        "except bounded.ExceededError as error: print(error); sys.exit(99)\n"
    )
    argv: process.Argv = ["sh", "-c", script, "sh", tmp_path, tree, sys.executable, "-P", "-c", program, tmp_path]
    done = process.run(namespace.current().argv(argv), deadline=60, capture=True, check=False, env=bounded.SELF)
    assert done.returncode == 99 and "left on the disk of the tree (ROOST_RUN_FREE)" in done.text


def test_time_is_bounded_and_nothing_runs_on(tree: Path) -> None:
    status, said = _run(tree, "sleep 50 & sleep 40", bounds=Limits(seconds=0.5))
    assert status == 99 and "it did not end within 0.5 s (ROOST_RUN_TIME)" in said


def test_endless_output_is_cut(tree: Path) -> None:
    status, said = _run(tree, "head -c 80000000 /dev/zero")
    assert status == 0
    assert len(said) < bounded.OUTPUT + 1000 and "not kept" in said[-100:]


def test_a_background_process_does_not_hold_a_command(tree: Path) -> None:
    status, said = _run(tree, "sleep 100 & echo started")
    assert (status, said) == (0, "started\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a user namespace to do without")
def test_root_without_a_user_namespace_has_no_powers_either(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = (
        "import sys; from roost.host import bounded, confinement, syscalls\n"
        "def refuse(*_): raise OSError(22, 'Invalid argument')\n"
        "syscalls.bind_mapped = refuse\n"
        "limits = confinement.Limits(processes=300)\n"
        "entered = confinement.enter(sys.argv[1], limits.memory)\n"
        "assert not entered.user\n"
        "runner = bounded.Runner(entered, limits, output=1)\n"
        "try: sys.exit(runner.run(['/bin/sh', '-c', sys.argv[2]]))\n"
        "except bounded.ExceededError as error: print(error); sys.exit(99)\n"
    )
    script = """
        cat /proc/self/uid_map
        for one in 'hostname taken' 'mount -t cgroup2 c /tmp' 'mknod /tmp/disk b 8 0' 'chmod 600 /dev/null' \
            'cat /proc/sys/fs/file-max >/proc/sys/fs/file-max' 'ls /proc/1/root/' 'echo h >/proc/sysrq-trigger'; do
            (eval "$one") && echo "REACHED $one"
        done
        touch /tmp/own; chown 7:8 /tmp/own
        while :; do sleep 20 & done
    """
    inside = replace(namespace.current(), network=False)
    argv = inside.argv([sys.executable, "-P", "-c", program, str(tree), script])
    done = process.run(argv, deadline=60, capture=True, check=False, env=bounded.SELF)
    assert done.text.split()[:2] == ["0", "0"] and "REACHED" not in done.text
    assert done.returncode == 99 and "ROOST_RUN_PROCESSES" in done.text
    assert ((tree / "tmp/own").stat().st_uid, (tree / "tmp/own").stat().st_gid) == (7, 8)


@pytest.mark.parametrize("capability", ["net_admin", "net_admin,-sys_resource"])
def test_root_of_a_container_without_rights_on_the_network_has_a_loopback(tree: Path, capability: str) -> None:
    """Podman keeps CAP_NET_ADMIN from root, and a container's overlay cannot be mounted with mapped owners."""
    program = (
        "import sys; from roost.host import bounded, confinement, syscalls\n"
        "def refuse(*_): raise OSError(22, 'Invalid argument')\n"
        "syscalls.bind_mapped = refuse\n"
        "limits = confinement.Limits()\n"
        "entered = confinement.enter(sys.argv[1], limits.memory)\n"
        "sys.exit(bounded.Runner(entered, limits, output=1).run(['/bin/cat', '/proc/net/dev', '/proc/net/fib_trie']))\n"
    )
    inside = replace(namespace.current(), network=False)
    argv = ["setpriv", "--bounding-set", f"-{capability}", sys.executable, "-P", "-c", program, str(tree)]
    done = process.run(inside.argv(argv), deadline=60, capture=True, env=bounded.SELF)
    assert "lo:" in done.text and "127.0.0.1" in done.text


@pytest.mark.skipif(os.geteuid() != 0, reason="a user's programs run in a user namespace that roost made for them")
def test_the_limit_of_user_namespaces_of_a_container_stays(tree: Path) -> None:
    """Root of a container is not alone in its user namespace: what follows needs further ones."""
    program = (
        "import sys; from roost.host import bounded, confinement\n"
        "limits = confinement.Limits()\n"
        "confinement.enter(sys.argv[1], limits.memory)\n"
    )
    container = (
        "import os, sys; from roost.host import confinement, syscalls\n"
        "syscalls.enter(confinement.user_namespace(nested=True), syscalls.CLONE_NEWUSER)\n"
        "os.setgroups([]); os.setresgid(0, 0, 0); os.setresuid(0, 0, 0); os.execvp(sys.argv[1], sys.argv[1:])\n"
    )
    script = """
        tree=$(mktemp -d -p /tmp) && mkdir "$tree/dev" "$tree/proc" && "$@" "$tree" && rm -r "$tree" &&
        cat /proc/sys/user/max_user_namespaces
    """
    enter = namespace.current().argv([sys.executable, "-P", "-c", program])
    argv = [sys.executable, "-P", "-c", container, "sh", "-c", script, "sh", *enter]
    done = process.run(argv, deadline=60, capture=True, env=bounded.SELF)
    assert int(done.text) > 0


def test_a_program_that_cannot_be_confined_is_told_why(tree: Path) -> None:
    program = (
        "import sys; from roost.host import bounded, confinement, syscalls\n"
        "def refuse(*_): raise PermissionError(1, 'Operation not permitted', 'loopback')\n"
        "syscalls.raise_loopback = refuse\n"
        "sys.exit(bounded.main(sys.argv[1:]))\n"
    )
    inside = replace(namespace.current(), network=False)
    argv = inside.argv(["sh", "-c", 'exec "$@" 2>&1', "sh", sys.executable, "-P", "-c", program, str(tree), "/bin/ls"])
    done = process.run(argv, deadline=60, capture=True, check=False, env=bounded.SELF)
    assert done.returncode == 1
    assert done.text == "/bin/ls: cannot be confined: Operation not permitted: 'loopback'\n"


def test_abstract_sockets_of_the_host_are_out_of_reach_without_a_network(tree: Path) -> None:
    name = f"roost-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"\0{name}")
        listening.listen()
        _, said = _run(tree, "cat /proc/net/unix")
    assert name not in said


def test_limits_come_from_the_environment() -> None:
    given = {"ROOST_RUN_PROCESSES": "500", "ROOST_RUN_MEMORY": "2GiB", "ROOST_RUN_TIME": "10min", "ROOST_RUN_FREE": "0"}
    found = limits.of_run_commands(given)
    assert (found.processes, found.memory, found.seconds, found.free) == (500, 2 << 30, 600.0, 0)
    assert limits.of_run_commands({}) == Limits()


@pytest.mark.parametrize(
    ("name", "text"), [("ROOST_RUN_MEMORY", "much"), ("ROOST_RUN_PROCESSES", "-1"), ("ROOST_RUN_TIME", "0")]
)
def test_a_limit_that_is_none_is_told(name: str, text: str) -> None:
    with pytest.raises(UsageError, match=name):
        limits.of_run_commands({name: text})
