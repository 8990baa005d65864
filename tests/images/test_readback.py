"""The read-back against small images made by sfdisk and mke2fs alone: right ones, and every way of being wrong."""

from __future__ import annotations

import os
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roost.errors import HostError, ImageError, ToolError
from roost.host import accelerator, appliance, guestfs, namespace
from roost.recipe.identity import filesystem_id
from roost.recipe.model import Recipe
from roost.verify import prestart
from roost.verify.readback import Appliance, ReadBackError, readback

pytestmark = pytest.mark.images

MiB = 1 << 20
VERSION = "6.1.0-0-test"


def fake_kernel() -> bytes:
    """Return the head of a bzImage: what tells a kernel and its release."""
    head = bytearray(4096)
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x20E, 0x400)
    head[0x600 : 0x600 + len(VERSION) + 8] = f"{VERSION} (x@y)\0"[: len(VERSION) + 8].encode()
    return bytes(head)


def recipe(**changes: Any) -> Recipe:
    """Return a recipe with a root and an io disk."""
    return Recipe.model_validate(
        {
            "name": "seen",
            "os": {"debian": {"suite": "bookworm"}},
            "kernel": {"initrd": "busybox"},
            "files": [{"path": "/etc/motd", "content": "hello\n", "mode": "0644"}],
            "job": {"command": "/opt/run"},
            "disks": [
                {"name": "root", "partitions": [{"mount": "/", "free": MiB}]},
                {"name": "io", "filesystem": "ext4", "size": 2 * MiB, "role": "io"},
            ],
            **changes,
        }
    )


def plant(tree: Path, wanted: Recipe) -> None:
    """Make the tree that the recipe promises, as little of it as is honest."""
    root = filesystem_id(wanted, wanted.root_disk, 0)
    command = f"linux /boot/vmlinuz-{VERSION} root=UUID={root} ro console=ttyS0"
    contents = {
        "etc/fstab": f"# mounts\nUUID={root} / ext4 errors=remount-ro 0 1\nproc /proc proc defaults 0 0\n",
        "etc/motd": "hello\n",
        "etc/machine-id": "",
        "etc/shadow": "root:*:19000:0:99999:7:::\n",
        "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
        "etc/inittab": "::once:/usr/lib/roost/job\n",
        "etc/roost/job/command": "/opt/run\n",
        "usr/lib/roost/job": "#!/bin/sh\n",
        "opt/run": "#!/bin/sh\n",
        "bin/sh": "#! a shell\n",
        "etc/os-release": 'PRETTY_NAME="A test"\nID=test\n',
        "var/lib/dpkg/status": "Package: b\nStatus: install ok installed\nArchitecture: all\nVersion: 2\n\n"
        "Package: a\nStatus: deinstall ok config-files\nVersion: 1\n",
        "boot/grub/grub.cfg": f"set timeout=0\nmenuentry 'seen' {{\n\t{command}\n\tinitrd /boot/initrd.img\n}}\n",
    }
    for name, content in contents.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(content)
        (tree / name).chmod(0o755 if content.startswith("#!") else 0o644)
    (tree / f"boot/vmlinuz-{VERSION}").write_bytes(fake_kernel())
    (tree / "boot/initrd.img").write_bytes(b"070701" + bytes(200))


def make(directory: Path, wanted: Recipe, spoil: Callable[[Path], None] | None = None) -> dict[str, tuple[Path, str]]:
    """Write the disks of `recipe()` by the plainest tools; `spoil` may change the tree before."""
    tree = directory / "tree"
    tree.mkdir()
    plant(tree, wanted)
    if spoil is not None:
        spoil(tree)
    root, io = directory / "root.raw", directory / "io.raw"
    with root.open("wb") as file:
        file.truncate(18 * MiB)
    table = b"label: dos\nstart=2048, size=32768, type=83, bootable\n"
    subprocess.run(["sfdisk", "-q", root], input=table, check=True)
    ids = [filesystem_id(wanted, disk, 0) for disk in wanted.disks]
    options = f"offset={MiB},root_owner=0:0"
    argv = [
        "mke2fs",
        "-q",
        "-F",
        "-t",
        "ext4",
        "-m",
        "0",
        "-U",
        ids[0],
        "-E",
        options,
        "-d",
        str(tree),
        str(root),
        "16M",
    ]
    # There what a user makes is root's.
    subprocess.run(namespace.current().argv(argv), check=True)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-L", "io", "-U", ids[1], io, "2M"], check=True)
    patch(root, 0, b"\xeb\x63\x90")
    patch(root, 0x180, b"GRUB \0")
    patch(root, 512, b"core")
    return {"root": (root, "raw"), "io": (io, "raw")}


def patch(path: Path, offset: int, data: bytes) -> None:
    """Write bytes into a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "readback.log"


def problems(wanted: Recipe, images: dict[str, tuple[Path, str]], log: Path) -> list[str]:
    with pytest.raises(ReadBackError) as caught:
        readback(wanted, images, Appliance(accelerator.known("tcg"), log))
    assert caught.value.exit_code == 1
    return [problem.what.removeprefix("the finished image: ") for problem in caught.value.problems]


def test_right_image_is_confirmed_and_untouched(tmp_path: Path, log: Path) -> None:
    wanted = recipe()
    images = make(tmp_path, wanted)
    before = [path.read_bytes() for path, _ in images.values()]
    seen = readback(wanted, images, Appliance(accelerator.known("tcg"), log))
    assert [path.read_bytes() for path, _ in images.values()] == before
    assert seen.facts["kernels"] == [
        {"path": f"/boot/vmlinuz-{VERSION}", "version": VERSION, "initrds": ["/boot/initrd.img"]}
    ]
    assert [(one["name"], one["version"], one["state"]) for one in seen.facts["packages"]] == [
        ("a", "1", "config-files"),
        ("b", "2", "installed"),
    ]
    assert seen.facts["packages_from"] == "/var/lib/dpkg/status"
    assert seen.facts["os"]["PRETTY_NAME"] == "A test"
    assert [entry["mount"] for entry in seen.facts["filesystems"]] == ["/", None]
    assert any("boot loader present" in finding for finding in seen.findings)


def test_disks_that_are_written_after_the_appliance_has_started(tmp_path: Path, log: Path) -> None:
    """The appliance's kernel has read empty disks: it must see what is on them now, right or wrong."""
    wanted = recipe()
    good = make(tmp_path, wanted)
    chosen = accelerator.known("tcg")
    sizes = {disk.name: good[disk.name][0].stat().st_size for disk in wanted.disks}
    before = _left_behind()
    with prestart.start(sizes, tmp_path, chosen, log) as early:
        opened = early.take(early.files)
        assert opened is not None
        assert not any(opened.read_device("/dev/sda", 4096, 0))
        for name, path in early.files.items():
            with path.open("r+b") as file:
                file.write(good[name][0].read_bytes())
        images = {name: (path, "raw") for name, path in early.files.items()}
        assert early.take(early.files) is opened
        seen = readback(wanted, images, Appliance(accelerator.known("tcg"), log), opened=opened)
        assert "disk root: mbr, 1 partitions" in seen.findings
        opened.unmount_all()
        patch(early.files["root"], 446, bytes(66))
        assert early.take(early.files) is opened
        with pytest.raises(ReadBackError):
            readback(wanted, images, Appliance(accelerator.known("tcg"), log), opened=opened)
        other = {**early.files, "io": good["io"][0]}
        assert early.take(other) is None
    _assert_nothing_new(before)
    assert not list(tmp_path.glob(".*.prestart"))


def test_qcow2_is_read_alike(tmp_path: Path, log: Path) -> None:
    wanted = recipe()
    images = make(tmp_path, wanted)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", tmp_path / "root.raw", tmp_path / "root.qcow2"], check=True)
    assert readback(
        wanted, {**images, "root": (tmp_path / "root.qcow2", "qcow2")}, Appliance(accelerator.known("tcg"), log)
    ).findings


def test_everything_wrong_in_the_tree_is_reported_at_once(tmp_path: Path, log: Path) -> None:
    def spoil(tree: Path) -> None:
        (tree / "etc/fstab").write_text(
            "UUID=00000000-0000-0000-0000-000000000000 / ext4 x 0 1\n/dev/sda1 /x ext4 x 0 0\n"
        )
        (tree / "etc/machine-id").write_text("0123456789abcdef0123456789abcdef\n")
        (tree / "etc/ssh").mkdir()
        (tree / "etc/ssh/ssh_host_rsa_key\x1b[31m").write_text("secret")
        (tree / "etc/shadow").write_text("root::19000:0:99999:7:::\nx:$6$abc:1::::::\n")
        (tree / "etc/motd").write_text("other\n")
        (tree / "etc/inittab").write_text("#::once:/usr/lib/roost/job\n")
        (tree / "usr/lib/roost/job").chmod(0o644)
        (tree / "opt/run").unlink()
        (tree / "boot/initrd.img").write_bytes(b"")
        (tree / f"boot/vmlinuz-{VERSION}").write_bytes(b"no kernel")
        text = (tree / "boot/grub/grub.cfg").read_text()
        (tree / "boot/grub/grub.cfg").write_text(text.replace("root=UUID=", "root=/dev/loop0p1 x="))

    wanted = recipe()
    found = problems(wanted, make(tmp_path, wanted, spoil), log)
    root = filesystem_id(wanted, wanted.root_disk, 0)
    assert all(problem.isprintable() for problem in found)
    expected = [
        "/etc/fstab mounts UUID=00000000-0000-0000-0000-000000000000, which is not on any disk",
        "/etc/fstab names /dev/sda1, not a UUID: devices change their names",
        f"/etc/fstab does not mount disk root, / on / by UUID={root}",
        f"grub.cfg: 'root=/dev/loop0p1' is not root=UUID={root}",
        f"the kernel /boot/vmlinuz-{VERSION} of grub.cfg is missing or not a Linux kernel",
        "the job runner /usr/lib/roost/job is missing, empty or not executable",
        "nothing starts the job: no unit is enabled, and no line of /etc/inittab names it",
        "the job runs /opt/run, which is not in the image",
        "/etc/motd has other content",
        "/etc/machine-id is not empty: every machine would be the same one",
        "/etc/ssh holds host keys: ssh_host_rsa_key\\x1b[31m",
        "the account 'root' has an empty password",
        "the account 'x' has a password",
    ]
    assert found == expected


def test_wrong_disks_are_reported_at_once(tmp_path: Path, log: Path) -> None:
    wanted = recipe()
    images = make(tmp_path, wanted)
    root, io = images["root"][0], images["io"][0]
    patch(root, 0x180, bytes(8))
    subprocess.run(["tune2fs", "-L", "out", "-U", "11111111-2222-3333-4444-555555555555", io], check=True)
    subprocess.run(["debugfs", "-w", "-R", "ssv state 2", f"{root}?offset={MiB}"], check=True, capture_output=True)
    hungry = recipe(
        disks=[
            {"name": "root", "partitions": [{"mount": "/", "free": 100 * MiB}]},
            {"name": "io", "filesystem": "ext4", "size": 3 * MiB, "role": "io"},
        ]
    )
    found = problems(hungry, images, log)
    io_id = filesystem_id(wanted, wanted.disks[1], 0)
    assert found[0] == "disk root has no boot loader in its first sectors"
    assert found[1].startswith("disk root, /: its state is 'not clean")
    assert found[2].startswith("disk root, /: ") and found[2].endswith("are free, not 100 MiB")
    assert found[3:] == [
        f"disk io, io: its UUID is 11111111-2222-3333-4444-555555555555, not {io_id}",
        "disk io, io: its label is 'out', not 'io'",
        "disk io, io: smaller than 3 MiB",
    ]


def test_exchanged_and_empty_disks(tmp_path: Path, log: Path) -> None:
    wanted = recipe()
    images = make(tmp_path, wanted)
    found = problems(wanted, {"root": images["io"], "io": images["root"]}, log)
    assert found == [
        "disk root has no partition table, not mbr",
        "disk io has a partition table (mbr), the recipe has none",
        "disk io, io: nothing is there, not ext4",
        "no root file system to examine",
    ]


def test_a_disk_that_is_not_there_is_named(tmp_path: Path, log: Path) -> None:
    absent = {"root": (tmp_path / "none.raw", "raw"), "io": (tmp_path / "io.raw", "raw")}
    with pytest.raises(ImageError, match=r"no such file: '.*none\.raw'"):
        readback(recipe(), absent, Appliance(accelerator.known("tcg"), log))
    with pytest.raises(ImageError, match="no image of disk io"):
        readback(recipe(), {"root": (tmp_path / "none.raw", "raw")}, Appliance(accelerator.known("tcg"), log))


def _left_behind() -> set[str]:
    """Return what this process has left in /tmp: other tests, and another roost, work there at the same time."""
    sockets = Path("/proc/net/unix").read_text()
    return {path.name for path in Path("/tmp").glob(f"roost-{os.getpid()}-*")} | {
        path.name for path in Path("/tmp").glob("libguestfs*") if str(path) not in sockets
    }


def _assert_nothing_new(before: set[str]) -> None:
    """Assert that nothing is left that was not there; a directory that another process makes or removes is not left."""
    for _ in range(50):
        if not _left_behind() - before:
            return
        time.sleep(0.1)
    assert _left_behind() <= before


def _processes(directory: Path) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(Path("/proc/self").resolve().name):
            try:
                words = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if str(directory) in words:
                found.append(words)
    return found


def test_the_deadline_ends_everything(tmp_path: Path, log: Path) -> None:
    images = make(tmp_path, recipe())
    before = _left_behind()
    start = time.monotonic()
    with pytest.raises(ToolError, match="did not answer in time"):
        readback(recipe(), images, Appliance(accelerator.known("tcg"), log, deadline=0.5))
    assert time.monotonic() - start < 5
    assert not _processes(tmp_path)
    _assert_nothing_new(before)


def test_an_appliance_that_does_not_start_gives_way_to_the_stock_one(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    quick = appliance.path(log)
    assert quick is not None
    (quick / "kernel").write_bytes(b"no kernel")
    images = make(tmp_path, recipe())
    assert readback(recipe(), images, Appliance(accelerator.known("tcg"), log)).findings
    assert appliance.path(log) is None


def test_without_libguestfs_the_host_is_at_fault(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(appliance, "supermin_directory", lambda: None)
    images = make(tmp_path, recipe())
    with pytest.raises(HostError, match="libguestfs is not installed"):
        readback(recipe(), images, Appliance(accelerator.known("tcg"), log))


def test_calls_that_libguestfs_refuses_and_odd_names(tmp_path: Path, log: Path) -> None:
    def spoil(tree: Path) -> None:
        (tree / "odd \udcff\n").write_bytes(bytes(range(256)))

    images = make(tmp_path, recipe(), spoil)
    with guestfs.open_readonly([images["root"]], accelerator="tcg", log=log) as guest:
        assert guest.partitions() == ["/dev/sda1"]
        guest.mount_readonly("/dev/sda1", journal=True)
        assert "odd \N{REPLACEMENT CHARACTER}\n" in guest.names("/")
        assert guest.read("/etc/motd", 100) == b"hello\n"
        assert guest.lstat("/none") is None
        with pytest.raises(guestfs.GuestfsError):
            guest.call("read_file", "/none")
        with pytest.raises(guestfs.GuestfsError):
            guest.call("write", "/new", "text")
        with pytest.raises(guestfs.GuestfsError):
            guest.call("no_such_call")


def test_every_file_system_of_a_recipe_can_be_looked_into(tmp_path: Path, log: Path) -> None:
    content = tmp_path / "content"
    content.mkdir()
    (content / "a").write_text("x")
    for name, size, command in (
        ("btrfs", 120, ["mkfs.btrfs", "-q"]),
        ("vfat", 34, ["mkfs.vfat"]),
        ("ext3", 20, ["mke2fs", "-q", "-t", "ext3"]),
    ):
        image = tmp_path / name
        with image.open("wb") as file:
            file.truncate(size * MiB)
        subprocess.run([*command, image], check=True, capture_output=True)
    subprocess.run(["mksquashfs", content, tmp_path / "squashfs", "-quiet", "-no-progress"], check=True)
    kinds = ["btrfs", "vfat", "ext3", "squashfs"]
    images = [(tmp_path / kind, "raw") for kind in kinds]
    with guestfs.open_readonly(images, accelerator="tcg", log=log) as guest:
        assert [guest.blkid(device).get("TYPE") for device in guest.devices()] == kinds
        for device in guest.devices():
            guest.mount_readonly(device)
            guest.names("/")
            guest.unmount_all()
