"""The doctor: every check answers, names what is missing, and says how to fix it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from roost.errors import HostError
from roost.host import appliance, doctor, process
from roost.host.doctor import Check
from tests.fake_tools import FakeTools

USER = 1000


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    """Leave fake tools, and only the real ones that starting any other takes."""
    tools = FakeTools(tmp_path / "bin")
    tools.put("apt-get")
    for tool in ("sh", "setpriv"):
        path = process.which(tool)
        assert path is not None
        (tools.directory / tool).symlink_to(path)
    monkeypatch.setattr(process, "SBIN", ())
    monkeypatch.setenv("PATH", str(tools.directory))
    return tools


def found(project: Path) -> dict[str, Check]:
    return {check.name: check for check in doctor.checks(project)}


def test_what_is_missing_is_named_with_the_package(tools: FakeTools, tmp_path: Path) -> None:
    checks = found(tmp_path)
    assert checks["mmdebstrap"] == Check("mmdebstrap", False, "not installed", "apt-get install mmdebstrap")
    assert checks["sfdisk"].fix == "apt-get install fdisk"
    assert not checks["condor_submit"].ok and not checks["condor_submit"].essential
    assert checks["setpriv"].ok


def test_another_distribution_gets_its_own_command(tools: FakeTools, tmp_path: Path) -> None:
    (tools.directory / "apt-get").unlink()
    tools.put("dnf")
    assert found(tmp_path)["sfdisk"].fix == "dnf install util-linux"


def test_versions_are_asked_for_and_read_from_any_stream(tools: FakeTools, tmp_path: Path) -> None:
    tools.put("mke2fs", "echo 'mke2fs 1.47.0 (5-Feb-2023)' >&2")
    tools.put("cpio", "exit 3")
    tools.put("tar", "echo none")
    tools.put("mkfs.vfat", "sleep 60")
    checks = found(tmp_path)
    assert (checks["mke2fs"].ok, checks["mke2fs"].seen) == (True, "1.47.0")
    assert (checks["cpio"].ok, checks["cpio"].seen) == (True, str(tools.directory / "cpio"))
    assert checks["tar"].ok
    assert (tools.calls("mke2fs"), tools.calls("tar")) == ([["-V"]], [["--version"]])
    # It ran into the deadline: it is there, and that is all that is known.
    assert (checks["mkfs.vfat"].ok, checks["mkfs.vfat"].seen) == (True, str(tools.directory / "mkfs.vfat"))


@pytest.mark.parametrize(("options", "user", "ok"), [("-r", USER, False), ("-r", 0, True), ("--map-auto", USER, True)])
def test_an_old_unshare_matters_to_normal_users_only(
    tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: str, user: int, ok: bool
) -> None:
    tools.put("unshare", f"echo ' {options}'")
    monkeypatch.setattr(os, "geteuid", lambda: user)
    check = found(tmp_path)["unshare --map-auto"]
    assert (check.ok, check.essential) == (ok, user != 0)
    assert ["--help"] in tools.calls("unshare")
    assert ok or (check.fix is not None and "2.38" in check.fix)


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


def test_a_refused_namespace_is_told_with_the_way_out(
    tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: USER)
    tools.put("unshare", "exit 1")
    check = found(tmp_path)["namespaces"]
    assert not check.ok and "newuidmap is not installed" in check.seen
    assert check.fix == "apt-get install uidmap, or build as root"
    # It was tried, not guessed from what is installed.
    assert any("chown 1:1" in " ".join(call) for call in tools.calls("unshare"))
    tools.put("unshare", "exit 0")
    assert found(tmp_path)["namespaces"].ok


def test_unreadable_kernel_is_told_from_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = appliance.HostKernel("6.1", tmp_path / "vmlinuz", tmp_path)
    monkeypatch.setattr(appliance, "kernels", lambda: [kernel])
    with pytest.raises(HostError, match="cannot be read"):
        appliance.readable_kernel()
    check = found(tmp_path)["kernel for libguestfs"]
    assert (check.ok, check.fix) == (False, f"sudo chmod 0644 {kernel.image}")
    kernel.image.touch()
    assert appliance.readable_kernel() is kernel
    monkeypatch.setattr(appliance, "kernels", list)
    with pytest.raises(HostError, match="no kernel"):
        appliance.readable_kernel()


def test_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ROOM", 1)
    assert found(tmp_path / "not" / "yet")["room for images"].ok
    monkeypatch.setattr(doctor, "ROOM", 1 << 60)
    short = found(tmp_path)["room for images"]
    assert not short.ok and short.fix is not None and "ROOST_CACHE" in short.fix


def test_on_a_host_with_nothing_every_check_answers(tools: FakeTools, tmp_path: Path) -> None:
    checks = doctor.checks(tmp_path, kvm=lambda: Check("kvm", False, "never boots", "use TCG", essential=False))
    names = [check.name for check in checks]
    assert len(set(names)) == len(names) > 30
    assert names[-1] == "kvm"
    assert {check.name for check in checks if check.seen == "not installed"} >= {
        "mmdebstrap",
        "mke2fs",
        "qemu-img",
        "tar",
    }
    for check in checks:
        assert check.seen
        assert check.ok or check.fix, check.name
        assert set(check.to_json()) == {"name", "ok", "seen", "fix", "essential"}
    assert not doctor.ok(checks)


def test_kvm_does_not_decide_and_what_is_essential_does() -> None:
    well = [Check("tar", True, "1.34"), Check("kvm", False, "never boots", "use TCG", essential=False)]
    assert doctor.ok(well)
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
