"""Kernels in real images: read by Xen's own pygrub, taken out, given from outside, and refused where they fail."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from roost.host import bzimage, paths
from roost.verify import pygrub
from tests.images.calls import roost

pytestmark = pytest.mark.images


def _xen_version() -> str:
    """Return the version of Xen in this machine's archive."""
    known = subprocess.run(["apt-cache", "pkgnames", "xen-utils-4."], check=True, capture_output=True, text=True).stdout
    versions = re.findall(r"(?m)^xen-utils-(4\.\d+)$", known)
    assert versions, "the archive of this machine has no Xen"
    return str(max(versions, key=lambda version: int(version.partition(".")[2])))


@pytest.fixture(scope="session")
def xen() -> Path:
    """Return a directory with Xen's pygrub, unpacked from Debian's packages; nothing is installed."""
    version = _xen_version()
    directory = paths.cache_root() / "test" / f"xen-{version}"
    if not directory.is_dir():
        making = directory.with_name(f"xen-{version}.making")
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        subprocess.run(
            ["apt-get", "download", "-q", f"xen-utils-{version}", f"libxenmisc{version}"],
            cwd=making,
            check=True,
            capture_output=True,
            timeout=300,
        )
        for package in sorted(making.glob("*.deb")):
            subprocess.run(["dpkg", "-x", package, making], check=True)
        making.rename(directory)
    return directory


def variant(project: Path, name: str, text: str) -> None:
    (project / f"recipes/{name}.yaml").write_text(f"extends: [smoke.yaml]\nname: {name}\n{text}")


def built(project: Path, name: str, **env: str) -> tuple[Path, dict[str, object]]:
    ran = roost("build", name, "--json", cwd=project, env=env)
    assert ran.code == 0, ran.err
    directory = Path(ran.answer["folder"])
    return directory, json.loads((directory / "manifest.json").read_text())["facts"]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_pygrub_finds_kernel_and_initrd_of_an_image_for_both(project: Path, xen: Path, tmp_path: Path) -> None:
    variant(project, "both", "hypervisors: !replace [kvm, xen]\nkernel: {placement: both}\n")
    directory, facts = built(project, "both", ROOST_PYGRUB=str(xen))
    seen = facts["pygrub"]
    assert isinstance(seen, dict) and seen["seen"] is True and seen["checked"] == f"pygrub of Xen {_xen_version()}"
    assert seen["kernel"] == digest(directory / "vmlinuz") and seen["initrd"] == digest(directory / "initrd.img")
    arguments = str(seen["arguments"])
    assert "console=hvc0" in arguments
    kernel = facts["kernel"]
    assert isinstance(kernel, dict) and kernel["xen_pv"] is True and kernel["drivers"]["xen"] == "module"

    # A second look at the same image, without roost between: what pygrub writes is the kernel, byte for byte.
    program = pygrub.Pygrub(next(xen.glob("usr/lib/xen-*/bin/pygrub")), _xen_version())
    found = pygrub.run(program, directory / "root.raw", tmp_path, tmp_path / "log")
    assert digest(Path(found["kernel"])) == digest(directory / "vmlinuz")

    # Without one the answer says so.
    (project / "recipes/both.yaml").write_text((project / "recipes/both.yaml").read_text() + "description: again\n")
    (project / "empty").mkdir()
    _, facts = built(project, "both", ROOST_PYGRUB=str(project / "empty"))
    seen = facts["pygrub"]
    assert isinstance(seen, dict) and seen["seen"] is False and "not installed" in str(seen["checked"])

    # The files beside the image boot it, too: QEMU's -kernel and -initrd, with the command line of xen's console.
    disk = directory / "root.qcow2"
    argv = ["qemu-system-x86_64", "-accel", "tcg", "-m", "256", "-nographic", "-no-reboot", "-monitor", "none"]
    argv += ["-kernel", str(directory / "vmlinuz"), "-initrd", str(directory / "initrd.img")]
    argv += ["-append", arguments]
    argv += ["-drive", f"file={disk},if=virtio,format=qcow2,snapshot=on"]
    argv += ["-drive", f"file={directory / 'io.raw'},if=virtio,format=raw,snapshot=on"]
    ran = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=240, check=False)
    assert b"roost: job finished: exit 0" in ran.stdout, ran.stdout[-2000:]


@pytest.mark.slow
def test_a_grub_cfg_that_pygrub_misreads_stops_the_build(project: Path, xen: Path) -> None:
    variant(
        project,
        "misread",
        "hypervisors: !replace [kvm, xen]\n"
        "files:\n  - {path: /boot/grub/grub.cfg, content: \"menuentry 'x' {\\nlinux /boot/vmlinuz ro\\n}\\n\"}\n",
    )
    ran = roost("build", "misread", "--json", cwd=project, env={"ROOST_PYGRUB": str(xen)})
    assert ran.code == 1 and "pygrub" in ran.err, ran.err
    assert not (project / "build/misread").exists()


@pytest.mark.slow
def test_a_kernel_is_taken_out_and_put_into_another_image(project: Path, smoke: Path, tmp_path: Path) -> None:
    before = digest(smoke / "root.qcow2")
    ran = roost("kernels", "--extract", str(smoke / "root.qcow2"), str(tmp_path / "out"), "--json", cwd=project)
    assert ran.code == 0, ran.err
    taken = ran.answer
    assert digest(smoke / "root.qcow2") == before
    assert Path(taken["kernel"]) == tmp_path / "out/vmlinuz" and Path(taken["initrd"]).is_file()
    image = bzimage.read(tmp_path / "out/vmlinuz")
    assert image is not None and image.release == taken["release"] and image.compression == taken["compression"]
    assert taken["root"].startswith("root=UUID=") and taken["root"] in taken["command_line"]
    assert taken["drivers"]["virtio"] == "module" and taken["xen_pv"] is True

    ran = roost(
        "kernels", "--extract", str(smoke / "root.qcow2"), str(tmp_path / "no"), "--version", "9.9", cwd=project
    )
    assert ran.code == 2 and "has no kernel 9.9" in ran.err and not (tmp_path / "no").exists()

    # What came out is a kernel of the catalogue, by URL and by path.
    sums = {name: digest(tmp_path / "out" / name) for name in ("vmlinuz", "initrd.img")}
    shutil.copy(tmp_path / "out/initrd.img", project / "kernels/initrd.img")
    text = "description: taken out\ncan: [virtio]\nfiles:\n"
    text += f"  kernel: {{url: 'file://{tmp_path}/out/vmlinuz', sha256: {sums['vmlinuz']}}}\n"
    (project / "kernels/taken.yaml").write_text(f"{text}  initrd: {{path: initrd.img, sha256: {sums['initrd.img']}}}\n")
    variant(project, "given", "hypervisors: !replace [kvm]\nkernel: {use: taken, placement: both}\n")
    directory, _ = built(project, "given")
    assert digest(directory / "vmlinuz") == sums["vmlinuz"] and digest(directory / "initrd.img") == sums["initrd.img"]
    ran = roost("boot", "given", "--accel", "tcg", "--json", cwd=project)
    assert ran.code == 0 and ran.answer["passed"], ran.err
    ran = roost("kernels", "taken", "--json", cwd=project)
    (one,) = ran.answer["kernels"][0]["suites"]
    assert one["seen"] and one["suite"] is None and one["version"] == taken["version"]

    # A file that changed since is refused where its sum stands, and nothing is built.
    (project / "kernels/initrd.img").write_bytes(b"another")
    ran = roost("build", "given", "--json", cwd=project)
    assert ran.code == 2 and "kernels/taken.yaml:5:3" in ran.err and sums["initrd.img"] in ran.err


def test_a_kernel_that_cannot_drive_a_disk_is_refused_before_anything_is_built(project: Path) -> None:
    disk = "disks:\n  - {name: data, filesystem: ext4, size: 16MiB, device: sda, mount: /data}\n"
    variant(project, "sda", f"{disk}hypervisors: !replace [kvm]\n")
    ran = roost("check", "sda", cwd=project)
    assert ran.code == 2
    assert (
        "recipes/sda.yaml:4:57: kernel debian-cloud has no driver for disk data on sda (sym53c8xx)" in ran.err + ran.out
    )

    # The catalogue may be wrong; the kernel's own files are not.
    path = project / "kernels/debian-cloud.yaml"
    path.write_text(path.read_text().replace("can: [", "can: [scsi, "))
    ran = roost("build", "sda", cwd=project)
    assert ran.code == 1 and "recipes/sda.yaml:4:57: kernel 6." in ran.err and "sym53c8xx" in ran.err, ran.err
    assert not (project / "build/sda").exists()
