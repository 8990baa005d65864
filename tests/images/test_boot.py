"""Real guests in real QEMUs: each way to fail has its cause, and the image stays as it was."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from roost.boot import probe
from roost.boot.context import Context, How
from roost.boot.run import BootResult, boot
from roost.condor.machine import VirtualMachine, VmDisk
from roost.disk import grub, write
from roost.disk.layout import boot_filesystem
from roost.disk.tools import Tools
from roost.disk.tree import TreeInfo
from roost.errors import HostError, ImageError
from roost.host import namespace, paths
from roost.iodisk import inputs
from roost.recipe import loader
from roost.recipe.identity import filesystem_id
from roost.recipe.model import Recipe
from tests.images import guests
from tests.images.calls import PROJECT

pytestmark = [pytest.mark.images, pytest.mark.timeout(600)]

DONE = 'echo "roost: job started"\n{}\necho "roost: job finished: exit 0"\n'
ON_IO = "mount /dev/vda /mnt\necho 42 >/mnt/result.txt\n{}\nsync\numount /mnt\n"


def _recipe(**boot_test: Any) -> Recipe:
    """Return a recipe with one bare disk, io, and a job."""
    return Recipe.model_validate(
        {
            "name": "guest",
            "os": {"tree": {"path": "."}},
            "job": {"command": "true"},
            "disks": [{"name": "io", "filesystem": "ext4", "size": "16MiB", "mount": "/"}],
            "boot_test": {"evict": False, **boot_test},
        }
    )


def _boot(directory: Path, vm: VirtualMachine, recipe: Recipe | None = None, **options: Any) -> BootResult:
    scratch = paths.cache_root() / "boot"
    scratch.mkdir(parents=True, exist_ok=True)
    result = boot(Context(vm, directory, recipe, how=How("tcg", **options)), directory / "boot")
    assert not list(scratch.glob(f"*-{os.getpid()}-*")), "layers stay behind"
    return result


def _failed(result: BootResult) -> tuple[str, str | None, str]:
    assert not result.passed
    return result.verdict.phase, result.verdict.cause, result.verdict.detail


def test_a_guest_that_does_its_job(tmp_path: Path) -> None:
    status = '{"state": "finished", "exit_code": 0, "start": "%s"}'
    script = ON_IO.format(
        f"mkdir -p /mnt/var/lib/roost/io; printf '{status}' $(date -u +%Y-%m-%dT%H:%M:%SZ)"
        " >/mnt/var/lib/roost/io/status.json; ln -s ../result.txt /mnt/var/link"
    )
    vm = guests.machine(tmp_path, DONE.format(script) + "poweroff -f")
    recipe = _recipe(
        expect=[
            {"serial": "job finished: exit 0"},
            {"file": "/result.txt", "on": "io", "matches": "^42$"},
            {"file": "/var/link", "matches": "^42$"},
        ]
    )
    image = tmp_path / "io.raw"
    before, stat = hashlib.sha256(image.read_bytes()).hexdigest(), image.stat()
    result = _boot(tmp_path, vm, recipe)
    assert result.passed, result.verdict
    assert result.verdict.notes == ()
    assert [one.met for one in result.evidence.expectations] == [True, True, True]
    assert [(one.type, one.clean) for one in result.evidence.filesystems] == [("ext", True)]
    assert (image.stat().st_mtime_ns, hashlib.sha256(image.read_bytes()).hexdigest()) == (stat.st_mtime_ns, before)
    answer = json.loads((tmp_path / "boot/kvm.json").read_text())
    assert answer["passed"] is True
    assert answer["cause"] is None
    assert answer["disks"] == [{"name": "io.raw", "sha256": before}]
    assert {"firmware", "kernel", "job", "power-off"} <= answer["seconds"].keys()
    assert "roost: job started" in (tmp_path / "boot/kvm/serial.log").read_text()
    page = (tmp_path / "boot/report.html").read_text()
    assert "Passed" in page
    assert "http://" not in page
    assert "https://" not in page


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        (DONE.format("") + "halt -f", "halted"),
        ("reboot -f", "rebooted"),
        pytest.param("exit 3", "panic", marks=pytest.mark.slow),
        ("echo 1 >/proc/sys/kernel/panic; echo c >/proc/sysrq-trigger", "panic"),
        ('echo "roost: job started"; echo "roost: job finished: exit 7"; poweroff -f', "job-failed"),
        ("poweroff -f", "job-failed"),
        ('echo "roost: job started"; sleep 1000', "job-timeout"),
        (DONE.format("mount /dev/vda /mnt; echo x >/mnt/x; sync") + "poweroff -f", "dirty-filesystem"),
        (DONE.format(ON_IO.format("")) + "poweroff -f", "expectation"),
    ],
    ids=["halt", "reboot", "init-exits", "panic-1", "job-fails", "no-job", "job-hangs", "dirty", "expectation"],
)
def test_each_failure_has_its_cause(script: str, cause: str, tmp_path: Path) -> None:
    vm = guests.machine(tmp_path, script)
    recipe = _recipe(
        timeout="2s" if cause == "job-timeout" else "1min", expect=[{"file": "/result.txt", "matches": "^41$"}]
    )
    result = _boot(tmp_path, vm, recipe)
    assert _failed(result)[1] == cause, result.verdict
    assert json.loads((tmp_path / "boot/kvm.json").read_text())["cause"] == cause
    assert "Linux version" in (tmp_path / "boot/kvm/serial.log").read_text()
    assert result.console.strip()


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        ("poweroff -f", "job-failed"),
        (
            # Not while it is mounted: some noise makes a kernel wait for ever.
            DONE.format(ON_IO.format("") + "dd if=/dev/urandom of=/dev/vda bs=1M count=16; sync") + "poweroff -f",
            "dirty-filesystem",
        ),
        pytest.param(DONE.format(ON_IO.format("")) + "poweroff -f", "job-failed", marks=pytest.mark.slow),
    ],
    ids=["off-at-once", "noise", "no-result"],
)
def test_an_unknown_image_passes_by_what_it_leaves(script: str, cause: str, tmp_path: Path) -> None:
    assert _failed(_boot(tmp_path, guests.machine(tmp_path, script)))[1] == cause


def test_a_kernel_without_the_disks_driver(tmp_path: Path) -> None:
    script = "echo 'ALERT!  UUID=1 does not exist.  Dropping to a shell!'; poweroff -f"
    missing = _boot(tmp_path, guests.machine(tmp_path, script, drivers=()), _recipe())
    assert _failed(missing)[1] == "no-root-driver"


def test_a_root_that_is_on_no_disk(tmp_path: Path) -> None:
    script = "echo 'ALERT!  UUID=1 does not exist.  Dropping to a shell!'; PS1='(initramfs) ' exec sh"
    # `quiet`: the kernel does not tell of the disk, the shell is asked for it.
    result = _boot(tmp_path, guests.machine(tmp_path, script, parameters="quiet"), _recipe())
    assert _failed(result)[1] == "no-root"
    assert "cat /proc/partitions" in result.console


@pytest.mark.slow
def test_no_initrd_and_no_driver_is_a_panic_of_the_kernel(tmp_path: Path) -> None:
    vm = guests.machine(tmp_path, "", parameters="root=/dev/vda")
    assert vm.kernel is not None
    kernel = type(vm.kernel)(vm.kernel.kernel, None, vm.kernel.root, vm.kernel.parameters)
    result = _boot(tmp_path, type(vm)(vm.name, "kvm", 256, 1, vm.disks, kernel=kernel), _recipe())
    assert _failed(result)[1] == "no-root-driver"


@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_a_disk_without_a_boot_loader(format: str, tmp_path: Path) -> None:
    subprocess.run(["qemu-img", "create", "-q", "-f", format, str(tmp_path / "root.img"), "8M"], check=True)
    vm = VirtualMachine("empty", "kvm", 64, 1, (VmDisk("root.img", "vda", "w", format),))
    start = time.monotonic()
    phase, cause, _ = _failed(_boot(tmp_path, vm))
    assert (phase, cause) == ("firmware", "no-boot-loader")
    assert time.monotonic() - start < 15


@pytest.mark.slow
def test_a_boot_sector_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "root.raw").write_bytes(b"\xeb\xfe" + b"\0" * 508 + b"\x55\xaa" + b"\0" * (1 << 20))
    vm = VirtualMachine("loops", "kvm", 64, 1, (VmDisk("root.raw", "vda", "w", "raw"),))
    phase, cause, _ = _failed(_boot(tmp_path, vm))
    assert (phase, cause) == ("boot-loader", "no-boot-loader")


def test_what_libvirt_or_qemu_refuses_is_the_hypervisors(tmp_path: Path) -> None:
    (tmp_path / "root.raw").write_bytes(b"\0" * (1 << 20))
    for disk in (
        VmDisk("root.raw", "vda", "w", "qcow2"),
        VmDisk("root.raw", "sda2", "w", "raw"),
        VmDisk("root.raw", "vda", "w", "QCOW2"),
    ):
        phase, cause, detail = _failed(_boot(tmp_path, VirtualMachine("x", "kvm", 64, 1, (disk,))))
        assert (phase, cause) == ("start", "hypervisor")
        assert "root.raw" in detail or "driver format" in detail


def test_a_file_that_is_missing_is_said_at_once(tmp_path: Path) -> None:
    vm = VirtualMachine("x", "kvm", 64, 1, (VmDisk("absent.raw", "vda", "w", "raw"),))
    with pytest.raises(ImageError, match=r"absent\.raw"):
        boot(Context(vm, tmp_path, how=How("tcg")), tmp_path / "boot")
    assert not (tmp_path / "boot").exists()


LOGIN = "echo; printf 'host login: '\n"


def test_a_login_prompt_and_the_power_button(tmp_path: Path) -> None:
    """A guest that stays on is evicted at its end: all that HTCondor does is to press the button."""
    # The keyboard is one of them, too. They listen before the prompt is there, which is when the button is pressed.
    reader = "for one in /dev/input/event*; do (head -c 1 $one >/dev/null; poweroff -f) & done; sleep 0.5\n"
    recipe = Recipe.model_validate({**_recipe().model_dump(by_alias=True), "job": None})
    vm = guests.machine(tmp_path, reader + LOGIN + "wait", drivers=(*guests.DRIVERS, "button", "evdev"))
    result = _boot(tmp_path, vm, recipe)
    assert result.passed, result.verdict
    assert result.verdict.notes == ()
    eviction = result.to_json()["eviction"]
    assert (eviction["tried"], eviction["obeyed"]) == (True, True)
    assert eviction["seconds"] < 60


@pytest.mark.slow
def test_a_login_prompt_without_a_power_button(tmp_path: Path) -> None:
    recipe = Recipe.model_validate({**_recipe().model_dump(by_alias=True), "job": None})
    result = _boot(tmp_path, guests.machine(tmp_path, LOGIN + "exec sleep 1000"), recipe)
    assert result.passed, result.verdict
    assert any("power button" in note for note in result.verdict.notes)
    assert result.to_json()["eviction"]["obeyed"] is False


def test_a_hostile_console(tmp_path: Path) -> None:
    noise = "yes \"$(printf '\\033[31m<script>alert(1)</script>\\377\\033]0;x\\007')\" | head -c 600000"
    vm = guests.machine(tmp_path, DONE.format(noise) + "poweroff -f")
    result = _boot(tmp_path, vm, _recipe(timeout="2min"))
    assert result.passed, result.verdict
    assert (tmp_path / "boot/kvm/serial.log").stat().st_size < 2 << 20
    page = (tmp_path / "boot/report.html").read_text()
    assert len(page) < 4 << 20
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


@pytest.fixture
def grub_image(tmp_path: Path) -> Any:
    """Return a function that writes a qcow2 image with GRUB, a kernel and an initrd that runs a script."""

    def make(script: str, *, kernel_name: str = "vmlinuz-test") -> tuple[VirtualMachine, Recipe]:
        recipe = Recipe.model_validate(
            {
                "name": "guest",
                "os": {"tree": {"path": "tree"}},
                "job": {"command": "true"},
                "disks": [{"name": "root", "partitions": [{"mount": "/", "filesystem": "ext4", "free": "4MiB"}]}],
                "boot_test": {"timeout": "60s", "evict": False, "expect": [{"file": "/result.txt", "matches": "^42$"}]},
            }
        )
        tree = tmp_path / "tree"
        (tree / "boot/grub").mkdir(parents=True)
        (tree / "boot/vmlinuz-test").write_bytes(guests.kernel().read_bytes())
        (tree / "boot/initrd-test").write_bytes(guests.initrd(tmp_path / "initrd", script).read_bytes())
        disk, index, _mount = boot_filesystem(recipe)
        identity = filesystem_id(recipe, disk, index)
        (tree / "boot/grub/grub.cfg").write_text(
            grub.grub_cfg(recipe, f"/boot/{kernel_name}", "/boot/initrd-test", "console=ttyS0,115200", identity)
        )
        (written,) = write.write_disks(
            recipe, TreeInfo(tree), tmp_path, Tools(namespace.current(), 1_700_000_000, tmp_path / "l")
        )
        image = tmp_path / "root.qcow2"
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", str(written.path), str(image)], check=True)
        return VirtualMachine("guest", "kvm", 512, 1, (VmDisk("root.qcow2", "vda", "w", "qcow2"),)), recipe

    return make


@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_an_image_that_boots_by_itself(machine: str, grub_image: Any, tmp_path: Path) -> None:
    script = DONE.format("mount /dev/vda1 /mnt; echo 42 >/mnt/result.txt; umount /mnt") + "poweroff -f"
    vm, recipe = grub_image(script)
    result = _boot(tmp_path, vm, recipe, machine=machine)
    assert result.passed, (result.verdict, result.console)
    assert [(one.partition, one.clean) for one in result.evidence.filesystems] == [(1, True)]
    assert "boot-loader" in result.seconds


@pytest.mark.slow
def test_a_boot_loader_without_a_kernel(grub_image: Any, tmp_path: Path) -> None:
    vm, recipe = grub_image("", kernel_name="vmlinuz-gone")
    phase, cause, detail = _failed(_boot(tmp_path, vm, recipe))
    assert (phase, cause) == ("boot-loader", "no-boot-loader")
    assert "vmlinuz-gone" in detail


def _smoke(directory: Path, *disks: VmDisk) -> tuple[VirtualMachine, Recipe]:
    recipe = loader.load("smoke", PROJECT).recipe
    return VirtualMachine("smoke", "kvm", recipe.machine.memory >> 20, 1, disks), recipe


def test_smoke_with_a_root_that_is_on_no_disk(smoke: Path, tmp_path: Path) -> None:
    raw = tmp_path / "root.raw"
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(smoke / "root.qcow2"), str(raw)], check=True)
    content = raw.read_bytes()
    assert content.count(b"root=UUID=") == 1
    at = content.index(b"root=UUID=") + len(b"root=UUID=")
    raw.write_bytes(content[:at] + bytes(b"10"[byte == ord("1")] for byte in content[at : at + 8]) + content[at + 8 :])
    vm, recipe = _smoke(tmp_path, VmDisk("root.raw", "vda", "w", "raw"))
    phase, cause, detail = _failed(_boot(tmp_path, vm, recipe))
    assert (phase, cause) == ("initrd", "no-root"), detail


def test_a_job_with_inputs(smoke: Path, tmp_path: Path) -> None:
    (tmp_path / "numbers.txt").write_text("40\n3\n")
    vm, recipe = _smoke(smoke, VmDisk("root.qcow2", "vda", "w", "qcow2"), VmDisk("io.raw", "vdb", "w", "raw"))
    expect = [{"file": "/output/result.txt", "on": "io", "matches": "^43$"}, {"exit": 0}]
    test = {"boot_test": {"expect": expect, "inputs": ["numbers.txt"], "evict": False}}
    recipe = Recipe.model_validate({**recipe.model_dump(by_alias=True), **test})
    items, problems = inputs.items(recipe.boot_test.inputs, tmp_path)
    assert not problems
    before = (smoke / "io.raw").read_bytes()
    result = boot(Context(vm, smoke, recipe, inputs=items, test="key", how=How("tcg")), tmp_path / "boot")
    assert result.passed, (result.verdict, result.evidence.expectations)
    assert (smoke / "io.raw").read_bytes() == before
    answer = json.loads((tmp_path / "boot/kvm.json").read_text())
    assert (answer["inputs"], answer["test"]) == (["numbers.txt"], "key")
    assert answer["disks"][1]["sha256"] == hashlib.sha256(before).hexdigest()


def test_smoke_on_a_bus_that_its_kernel_cannot_drive(smoke: Path, tmp_path: Path) -> None:
    """The cloud kernel has no driver for libvirt's SCSI controller (docs/condor-pool.md: the job completes!)."""
    vm, recipe = _smoke(smoke, VmDisk("root.qcow2", "sda", "w", "qcow2"), VmDisk("io.raw", "vda", "w", "raw"))
    result = boot(Context(vm, smoke, recipe, how=How("tcg")), tmp_path / "boot")
    phase, cause, detail = _failed(result)
    assert (phase, cause) == ("initrd", "no-root-driver"), detail


def test_kvm_that_is_required_and_does_not_work_is_the_hosts_fault(tmp_path: Path) -> None:
    if probe.probe().usable:
        assert _boot(tmp_path, guests.machine(tmp_path, "reboot -f"), require_kvm=False).verdict.cause == "rebooted"
        return
    vm = guests.machine(tmp_path, "")
    with pytest.raises(HostError, match="KVM"):
        boot(Context(vm, tmp_path, how=How(require_kvm=True)), tmp_path / "boot")
