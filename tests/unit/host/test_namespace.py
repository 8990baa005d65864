"""Where ownership matters: root of a name space of one's own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from roost.errors import HostError
from roost.host import bounded, namespace, process
from roost.host.namespace import Namespace
from roost.store import cache


def test_a_user_gets_a_user_namespace() -> None:
    argv = Namespace(user=True).argv(["id", "-u"])
    assert argv[:4] == ["unshare", "--user", "--map-root-user", "--map-auto"]
    assert argv[-3:] == ["--", "id", "-u"]


def test_root_gets_none() -> None:
    assert "--user" not in Namespace(user=False).argv(["id"])


def test_ones_own_files_need_no_ids() -> None:
    assert Namespace(user=False, owner=True).argv(["ls"]) == ["ls"]
    words = Namespace(user=True, owner=True).argv(["ls"])
    assert "--map-root-user" in words and "--map-auto" not in words and words[-1] == "ls"


def test_the_network_can_be_taken_away() -> None:
    assert "--net" in Namespace(user=False, network=False).argv(["id"])


def test_a_file_can_belong_to_somebody_else(tmp_path: Path) -> None:
    here = namespace.current()
    namespace.probe(here)
    script = f"echo x > {tmp_path}/f && chown 5:6 {tmp_path}/f && stat -c %u:%g {tmp_path}/f && rm {tmp_path}/f"
    assert process.run(here.argv(["sh", "-c", script]), deadline=20, capture=True).text == "5:6\n"


def test_mounts_do_not_reach_the_host(tmp_path: Path) -> None:
    done = process.run(
        namespace.current().argv(
            ["sh", "-c", f"mount -t tmpfs none {tmp_path} && touch {tmp_path}/x && ls {tmp_path}"]
        ),
        deadline=20,
        capture=True,
    )
    assert done.text == "x\n"
    assert list(tmp_path.iterdir()) == []


def test_root_in_a_chroot_too_keeps_its_mounts_to_itself(tmp_path: Path) -> None:
    """`/` of a chroot is not a mount point, so it cannot be made private: a bare `unshare --mount` fails there."""
    inside = Namespace(user=False, network=False, chrooted=True)
    show = inside.argv(["sh", "-c", "pwd; mount -t tmpfs none /mnt && touch /mnt/x && ls /mnt; ls /proc | grep -cx 1"])
    root = tmp_path / "root"
    script = """
        root=$1; shift
        mkdir -p "$root/mnt" "$root/here"
        for name in bin lib lib64 usr proc dev; do
            [ -d "/$name" ] && mkdir "$root/$name" && mount --rbind "/$name" "$root/$name"
        done
        chroot "$root" sh -c 'cd /here
            ! grep -q "^[^ ]* [^ ]* [^ ]* [^ ]* / " /proc/self/mountinfo && "$@" && ls -A /mnt' roost "$@"
    """
    done = process.run(namespace.current().argv(["sh", "-c", script, "roost", root, *show]), deadline=20, capture=True)
    assert done.text == "/here\nx\n1\n"


def test_a_host_without_user_namespaces_says_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = tmp_path / "unshare"
    fake.write_text("#!/bin/sh\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(HostError, match="cannot make a user namespace") as caught:
        namespace.probe(Namespace(user=True))
    assert "--add-subuids" in str(caught.value)


def _refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> HostError:
    """Return what is said when unshare(1) fails; every tool but that is there."""
    for name in ("unshare", "newuidmap", "newgidmap"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(HostError) as caught:
        namespace.probe(Namespace(user=True))
    return caught.value


def test_a_chroot_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespace, "root_is_mounted", lambda: False)
    error = _refused(monkeypatch, tmp_path)
    assert "this is a chroot" in str(error) and "pivot_root" in str(error)


def test_a_setting_that_refuses_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespace, "root_is_mounted", lambda: True)
    monkeypatch.setattr(namespace, "SYSCTLS", {"kernel.ostype": "Linux"})
    assert "kernel.ostype is Linux" in str(_refused(monkeypatch, tmp_path))


def test_absent_uidmap_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    which = process.which
    monkeypatch.setattr(process, "which", lambda tool: None if tool == "newuidmap" else which(tool))
    error = _refused(monkeypatch, tmp_path)
    assert "newuidmap is not installed" in str(error) and "uidmap" in str(error)


def test_what_cannot_be_removed_for_want_of_namespaces_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "unshare").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "unshare").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(HostError, match="cannot make a mount and a process namespace as root"):
        cache.remove_tree(tmp_path / "tree")


def test_a_container_whose_programs_gain_no_rights_is_named() -> None:
    """Apptainer without --fakeroot: more subordinate ids would not help."""
    program = (
        "from roost.host import namespace, syscalls\n"
        "from roost.errors import RoostError\n"
        "syscalls.gain_nothing()\n"
        "namespace.process.run = lambda *_, **__: type('Failed', (), {'returncode': 1})\n"
        "try: namespace.probe(namespace.Namespace(user=True))\n"
        "except RoostError as error: print(error)\n"
    )
    done = process.run([sys.executable, "-P", "-c", program], deadline=20, capture=True, env=bounded.SELF)
    assert "no_new_privs" in done.text and "--fakeroot" in done.text and "usermod" not in done.text
