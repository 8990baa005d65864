"""The doctor: every check answers, names what is missing, and says how to fix it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from roost.errors import HostError
from roost.host import appliance, doctor, guestfs, namespace, process
from roost.host.doctor import Check


@pytest.fixture
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Leave only the tools that starting any other takes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("sh", "setpriv", "apt-get"):
        path = process.which(tool)
        if path is not None:
            (folder / tool).symlink_to(path)
    (folder / "apt-get").unlink(missing_ok=True)
    (folder / "apt-get").write_text("#!/bin/sh\n")
    (folder / "apt-get").chmod(0o755)
    monkeypatch.setattr(process, "SBIN", ())
    monkeypatch.setenv("PATH", str(folder))
    return folder


def by_name(found: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in found}


def test_what_is_missing_is_named_with_the_package(empty_path: Path, tmp_path: Path) -> None:
    found = by_name([doctor._tool(tool) for tool in doctor.TOOLS])
    assert found["mmdebstrap"] == Check("mmdebstrap", False, "not installed", "apt-get install mmdebstrap")
    assert found["sfdisk"].fix == "apt-get install fdisk"
    assert not found["condor_submit"].ok and not found["condor_submit"].essential
    assert found["setpriv"].ok


def test_versions_are_read_from_any_stream(empty_path: Path) -> None:
    for name, text in (("mke2fs", "echo 'mke2fs 1.47.0 (5-Feb-2023)' >&2"), ("cpio", "exit 3"), ("tar", "echo none")):
        (empty_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (empty_path / name).chmod(0o755)
    found = by_name([doctor._tool(tool) for tool in doctor.TOOLS])
    assert (found["mke2fs"].ok, found["mke2fs"].seen) == (True, "1.47.0")
    assert (found["cpio"].ok, found["cpio"].seen) == (True, str(empty_path / "cpio"))
    assert found["tar"].ok


def test_an_old_unshare_matters_to_normal_users_only(empty_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (empty_path / "unshare").write_text("#!/bin/sh\necho ' -r, --map-root-user'\n")
    (empty_path / "unshare").chmod(0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not doctor._unshare().ok and doctor._unshare().essential
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert doctor._unshare().ok


def test_subordinate_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "subuid"
    file.write_text("other:1:2\nme:100000:65536\n1234:5:70000\nme:bad\nme:1:x\n")
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    assert doctor._ids(file, "me") == 70000
    assert doctor._ids(file, "nobody") == 70000
    assert doctor._ids(tmp_path / "none", "me") == 0
    monkeypatch.setattr(os, "geteuid", lambda: 5)
    assert doctor._ids(file, "me") == 65536
    assert doctor._ids(file, "you") == 0


def test_namespaces_and_libguestfs_pass_their_reasons_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise HostError("no way", hint="do that")

    monkeypatch.setattr(namespace, "probe", fail)
    monkeypatch.setattr(guestfs, "interpreter", fail)
    monkeypatch.setattr(appliance, "readable_kernel", fail)
    assert doctor._namespaces() == Check("namespaces", False, "no way", "do that")
    assert doctor._guestfs_kernel().fix == "do that"
    assert not doctor._guestfs_module().ok


def test_unreadable_kernel_is_told_from_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = appliance.HostKernel("6.1", tmp_path / "vmlinuz", tmp_path)
    monkeypatch.setattr(appliance, "kernels", lambda: [kernel])
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(HostError, match="cannot be read"):
        appliance.readable_kernel()
    monkeypatch.setattr(appliance, "kernels", list)
    with pytest.raises(HostError, match="no kernel"):
        appliance.readable_kernel()


def test_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert doctor._room("room", tmp_path / "not" / "yet").name == "room"
    monkeypatch.setattr(doctor, "ROOM", 1 << 60)
    short = doctor._room("room", tmp_path)
    assert not short.ok and short.fix is not None and "ROOST_CACHE" in short.fix


def test_all_checks_answer_and_kvm_does_not_decide(tmp_path: Path) -> None:
    found = doctor.checks(tmp_path, kvm=lambda: Check("kvm", False, "never boots", "use TCG", essential=False))
    names = [check.name for check in found]
    assert len(set(names)) == len(names)
    assert names[-1] == "kvm"
    assert all(check.ok or check.fix for check in found)
    assert all(check.seen for check in found)
    assert {"name", "ok", "seen", "fix"} <= found[0].to_json().keys()
    well = [check for check in found if check.name != "kvm" and check.ok]
    assert doctor.ok([*well, found[-1]])
    assert not doctor.ok([*well, Check("x", False, "gone", "bring it")])


def test_kernels_of_the_host_are_ordered_by_version() -> None:
    order = appliance._version_order
    assert order("6.10.1-amd64") > order("6.9.2-amd64")
    assert order("6.1.0-9-amd64") < order("6.1.0-10-amd64")


def test_the_init_of_the_appliance_is_a_shell_script(tmp_path: Path) -> None:
    script = tmp_path / "init"
    script.write_bytes(appliance._INIT)
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    process.run(["sh", "-n", script], deadline=10)
