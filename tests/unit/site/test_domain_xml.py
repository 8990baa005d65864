"""LIBVIRT_XML_SCRIPT's wrapper, fed the ads that condor_vm-gahp hands it: consoles kept, bad disks refused by name."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

SCRIPT = Path(__file__).parents[3] / "roost/site/domain-xml"
#: What HTCondor's own generator begins its devices with, and the disks that it was told of.
GENERATOR = """\
#!/bin/sh
disks=$(sed -n 's/^VMPARAM_vm_Disk = "\\(.*\\)"$/\\1/p')
echo "<domain type='kvm'><name>x</name><devices>"
echo "<console type='pty'><source path='/dev/ptmx'/></console>"
echo "<disk><source file='$disks'/></disk></devices></domain>"
"""
QCOW2 = b"QFI\xfb" + (3).to_bytes(4, "big")


def qcow2(path: Path, backing: str = "") -> None:
    """Write the head of a qcow2; its backing file's name begins at byte 512."""
    name = backing.encode()
    head = QCOW2 + (512 if name else 0).to_bytes(8, "big") + len(name).to_bytes(4, "big")
    path.write_bytes(head.ljust(512, b"\0") + name)


def ad(directory: Path, disks: str, **more: str) -> str:
    values = {
        "JobVMType": '"kvm"',
        "VMPARAM_VM_NAME": '"alice_example.org_12.0"',
        "JobVMMemory": "512",
        "VMPARAM_vm_Disk": f'"{disks}"',
        "VM_WORKING_DIR": f'"{directory}"',
        **more,
    }
    return "".join(f"{name} = {value}\n" for name, value in values.items())


def run(directory: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    generator = directory / "generator"
    generator.write_text(GENERATOR)
    generator.chmod(0o755)
    return subprocess.run(
        ["sh", str(SCRIPT)],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            "PATH": os.environ["PATH"],
            "ROOST_SETTINGS": str(directory / "settings"),
            "ROOST_GENERATOR": str(generator),
            "ROOST_CONSOLES": str(directory / "consoles"),
            **environment,
        },
    )


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    """Return a sandbox with disks of all kinds; no name of it has `iso`."""
    directory = tmp_path / "box"
    directory.mkdir()
    (directory / "root.raw").write_bytes(bytes(512))
    (directory / "empty.raw").write_bytes(b"")
    (directory / "iso.raw").write_bytes(bytes(512))
    (directory / "locked.raw").write_bytes(bytes(512))
    (directory / "locked.raw").chmod(0o444)
    qcow2(directory / "root.qcow2")
    qcow2(directory / "overlay.qcow2", "base.qcow2")
    qcow2(directory / "beside.qcow2", "root.qcow2")
    qcow2(directory / "away.qcow2", "/nowhere/base.qcow2")
    qcow2(directory / "json.qcow2", "json:{}")
    (directory / "broken.qcow2").write_bytes(QCOW2 + b"\x7f" + bytes(7) + b"\xff\xff\xff\xff")
    (directory / "magic.qcow2").write_bytes(QCOW2[:4])
    (directory / "short.qcow2").write_bytes(QCOW2 + b"\0\0")
    (directory / "minus.qcow2").write_bytes(QCOW2 + b"\xff" * 8 + b"\0\0\0\x08")
    return directory


@pytest.mark.parametrize(
    "disks",
    [
        "root.raw:vda:w:raw",
        "root.raw:vda:w",
        "root.qcow2:vda:w:qcow2, root.raw:vdb:r:raw",
        "beside.qcow2:vda:w:qcow2",
        "locked.raw:vda:r:raw",
        "iso.raw:hdc:w:raw",
        "root.raw:sda:w:raw",
    ],
)
def test_a_good_disk_gets_the_generators_domain(sandbox: Path, disks: str) -> None:
    done = run(sandbox, ad(sandbox, disks))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"<source file='{disks}'/>" in done.stdout
    ElementTree.fromstring(done.stdout)


def test_the_console_goes_to_a_file_that_bears_the_jobs_name(sandbox: Path) -> None:
    done = run(sandbox, ad(sandbox, "root.raw:vda:w:raw"))
    file = sandbox / "consoles/alice_example.org_12.0.log"
    assert f"<serial type='file'><source path='{file}' append='on'/></serial>" in done.stdout
    assert "ptmx" not in done.stdout and file.parent.is_dir()
    assert "ptmx" in run(sandbox, ad(sandbox, "root.raw:vda:w:raw"), ROOST_CONSOLES="").stdout


def test_old_consoles_go_and_nothing_else(sandbox: Path) -> None:
    consoles = sandbox / "consoles"
    consoles.mkdir()
    for name in ("old.log", "new.log", "other"):
        (consoles / name).write_text("x")
    for name in ("old.log", "other"):
        os.utime(consoles / name, (0, 0))
    run(sandbox, ad(sandbox, "root.raw:vda:w:raw"))
    assert sorted(path.name for path in consoles.iterdir()) == ["new.log", "other"]


@pytest.mark.parametrize(
    ("disks", "words"),
    [
        ("gone.raw:vda:w:raw", "disk gone.raw is not there"),
        ("empty.raw:vda:w:raw", "disk empty.raw is empty"),
        ("root.raw:vda:w:qcow2", "disk root.raw is declared qcow2 and is none"),
        ("root.qcow2:vda:w:raw", "disk root.qcow2 is a qcow2 and is declared raw"),
        ("root.qcow2:vda:w", "disk root.qcow2 is a qcow2 and is declared raw"),
        ("root.qcow2:vda:w:QCOW2", "disk root.qcow2 has the format QCOW2"),
        ("root.raw:xvda:w:raw", "disk root.raw is on xvda"),
        ("root.raw:sda2:w:raw", "disk root.raw is on sda2"),
        ("root.raw:hda:r:raw", "disk root.raw is read-only on hda"),
        ("root.raw:vda:w:raw,root.qcow2:vda:w:qcow2", "disk root.qcow2 is on vda, where another one is"),
        ("iso.raw:vda:w:raw", "disk iso.raw has iso in its path"),
        ("overlay.qcow2:vda:w:qcow2", "disk overlay.qcow2 has the backing file base.qcow2, which was not transferred"),
        ("away.qcow2:vda:w:qcow2", "has the backing file /nowhere/base.qcow2, which is not here"),
        ("json.qcow2:vda:w:qcow2", "which is not in the sandbox"),
        ("broken.qcow2:vda:w:qcow2", "disk broken.qcow2 has a damaged header"),
        ("magic.qcow2:vda:w:qcow2", "disk magic.qcow2 has a damaged header"),
        ("short.qcow2:vda:w:qcow2", "disk short.qcow2 has a damaged header"),
        ("minus.qcow2:vda:w:qcow2", "disk minus.qcow2 has a damaged header"),
        ("locked.raw:vda:w:raw", "disk locked.raw is to be written to, and its mode forbids that"),
        ("root.raw:vda", "disk root.raw is not file:device:permission:format"),
        ("a&b<c.raw:vda:w:raw", "has a character that the domain cannot carry"),
        ("$(touch pwned).raw:vda:w:raw", "has a character that the domain cannot carry"),
        ("", "there is no disk"),
    ],
)
def test_a_bad_disk_is_refused_by_name_in_words_that_hold_the_job(sandbox: Path, disks: str, words: str) -> None:
    done = run(sandbox, ad(sandbox, disks))
    # A script that fails takes the machine offline; so does any refusal that has not these words.
    assert done.returncode == 0
    root = ElementTree.fromstring(done.stdout)
    driver = root.find("devices/disk/driver")
    assert driver is not None
    told = driver.attrib["type"]
    assert "image is not in qcow2 format" in told and words in told, told
    assert words in done.stderr and "alice_example.org_12.0" in done.stderr
    assert not (sandbox / "pwned").exists() and "generator" not in done.stdout


@pytest.mark.parametrize(
    "mac", ["01:00:00:00:00:01", "52:54:00:12:34", "52:54:00:12:34:56:78", "x", "'/><a b='", "52-54-0-1-2-3"]
)
def test_an_address_that_libvirt_refuses_holds_the_job_and_reaches_no_domain(sandbox: Path, mac: str) -> None:
    given = {"JobVM_MACADDR": f'"{mac}"', "JobVMNetworking": "true"}
    done = run(sandbox, ad(sandbox, "root.raw:vda:w:raw", **given))
    driver = ElementTree.fromstring(done.stdout).find("devices/disk/driver")
    assert done.returncode == 0 and driver is not None
    assert "vm_macaddr" in driver.attrib["type"] and "image is not in qcow2 format" in driver.attrib["type"]


@pytest.mark.parametrize(
    ("mac", "networking"), [("52:54:00:12:34:56", "true"), ("2:0:0:A:b:0", "true"), ("x", "false")]
)
def test_an_address_that_libvirt_takes_or_never_sees_changes_nothing(sandbox: Path, mac: str, networking: str) -> None:
    given = {"JobVM_MACADDR": f'"{mac}"', "JobVMNetworking": networking}
    assert "root.raw" in run(sandbox, ad(sandbox, "root.raw:vda:w:raw", **given)).stdout


def test_a_xen_job_is_left_to_the_generator(sandbox: Path) -> None:
    done = run(sandbox, ad(sandbox, "gone.img:xvda1:w", JobVMType='"xen"'))
    assert "gone.img" in done.stdout and "qcow2 format" not in done.stdout


@pytest.mark.parametrize("name", ['""', '"../../etc/cron.d/x"', '"a\' b"', '"a#b"'])
def test_a_name_that_no_file_has_keeps_no_console(sandbox: Path, name: str) -> None:
    done = run(sandbox, ad(sandbox, "root.raw:vda:w:raw", VMPARAM_VM_NAME=name))
    assert done.returncode == 0 and "ptmx" in done.stdout


def test_without_htcondors_script_it_says_so_and_fails(sandbox: Path) -> None:
    done = run(sandbox, ad(sandbox, "root.raw:vda:w:raw"), ROOST_GENERATOR="/nowhere/x")
    assert done.returncode == 1 and "set ROOST_GENERATOR" in done.stderr


def test_settings_are_read_from_a_file(sandbox: Path) -> None:
    (sandbox / "settings").write_text(
        f"# a comment\nROOST_CONSOLES={sandbox}/kept\nROOST_GENERATOR={sandbox}/generator\n"
    )
    assert f"{sandbox}/kept/alice" in run(sandbox, ad(sandbox, "root.raw:vda:w:raw")).stdout
