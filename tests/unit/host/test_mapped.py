"""Root's bootstrap is nobody of the host: it writes its own directories, with the owners that it gives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from roost.host import bounded, mapped, namespace, process, temporary

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="who is not root is nobody anyway")


def _run(tmp_path: Path, script: str) -> process.Completed:
    given = tmp_path / "closed" / "given"
    given.mkdir(parents=True)
    # As /root is: only by the mapping can it be reached.
    (tmp_path / "closed").chmod(0o700)
    with temporary.directory("mapped", Path("/tmp")) as place:
        words = mapped.words(place, [given], ["sh", "-c", script, "sh", str(given)])
        argv = namespace.current().argv(bounded.python("roost.host.mapped", *words))
        done = process.run(argv, deadline=60, capture=True, check=False, env=bounded.SELF, log=tmp_path / "log")
    if done.returncode == mapped.UNABLE:
        pytest.skip("this kernel or file system maps no owners")
    return done


def test_owners_on_the_disk_are_those_given(tmp_path: Path) -> None:
    done = _run(tmp_path, 'id -u; touch "$1/mine" "$1/theirs"; chown 5:6 "$1/theirs"; chmod 4755 "$1/mine"')
    assert (done.returncode, done.text) == (0, "0\n")
    mine, theirs = ((tmp_path / "closed/given" / name).stat() for name in ("mine", "theirs"))
    assert (mine.st_uid, mine.st_gid, mine.st_mode & 0o7777) == (0, 0, 0o4755)
    assert (theirs.st_uid, theirs.st_gid) == (5, 6)


def test_it_can_mount_what_a_bootstrap_mounts(tmp_path: Path) -> None:
    script = 'mkdir "$1/proc" "$1/t" && mount -t proc proc "$1/proc" && mount -t tmpfs t "$1/t" && touch "$1/t/x"'
    assert _run(tmp_path, script).returncode == 0
    assert list((tmp_path / "closed/given/t").iterdir()) == []


@pytest.mark.parametrize(
    "attempt",
    [
        "cat /etc/shadow",
        "ls /root",
        "touch /etc/roost-was-here",
        "cat /proc/sys/fs/file-max >/proc/sys/fs/file-max",
        "cat /proc/sys/kernel/core_pattern >/proc/sys/kernel/core_pattern",
        "echo h >/proc/sysrq-trigger",
        'mknod "$1/disk" b 8 0',
        "chmod 600 /dev/null",
        "head -c 1 /dev/mem",
        "mkdir /sys/fs/cgroup/roost-was-here",
        "rmmod loop",
        "kill -0 $PPID_OF_THE_HOST",
    ],
)
def test_the_host_is_out_of_reach(attempt: str, tmp_path: Path) -> None:
    script = f"PPID_OF_THE_HOST={os.getpid()}; if {attempt}; then exit 0; else exit 7; fi"
    assert _run(tmp_path, script).returncode == 7


def test_the_host_keeps_its_name(tmp_path: Path) -> None:
    before = os.uname().nodename
    assert _run(tmp_path, "hostname taken && hostname").text == "taken\n"
    assert os.uname().nodename == before


def test_directories_are_named_by_where_they_are_mapped_to() -> None:
    found = mapped.words(Path("/p"), [Path("/a/b"), Path("/c")], ["x", "--hook=copy-in /a/b/f /c", "/d"])
    assert found[:4] == ["/p", "2", "/a/b", "/c"]
    assert found[-3:] == ["x", "--hook=copy-in /p/0/f /p/1", "/d"]
