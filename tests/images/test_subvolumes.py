"""A system in a subvolume of a btrfs, as Fedora and Debian's installer lay it out: found by the edit and by the
read-back alike. One appliance makes the disk and looks at it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from roost.boot import probe
from roost.errors import ImageError
from roost.existing import extract, inspection
from roost.existing.inspection import Part
from roost.host import guestfs
from roost.host.guestfs import Guest
from roost.sources import image_tree
from roost.verify import booting, existing, texts

pytestmark = [pytest.mark.images, pytest.mark.timeout(600)]

SIZE = 256 << 20


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Guest, str]]:
    """Yield a disk with a btrfs that holds a root, a home and a snapshot of the root; and its UUID."""
    directory = tmp_path_factory.mktemp("btrfs")
    disk = directory / "disk.raw"
    disk.touch()
    with disk.open("r+b") as file:
        file.truncate(SIZE)
    kvm = probe.probe().usable
    log = directory / "guestfs.log"
    with guestfs.open_writable([(disk, "raw")], accelerator="kvm" if kvm else "tcg", log=log) as opened:
        _fill(opened)
        yield opened, opened.blkid("/dev/sda")["UUID"]


def _fill(guest: Guest) -> None:
    guest.call("mkfs", "btrfs", "/dev/sda")
    guest.mount("/dev/sda")
    for name in ("root", "home"):
        guest.call("btrfs_subvolume_create", f"/{name}")
    uuid = guest.blkid("/dev/sda")["UUID"]
    for path in ("/root/etc", "/root/usr", "/root/usr/bin", "/root/home", "/root/boot"):
        guest.call("mkdir", path)
    guest.write("/root/etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    guest.write("/home/somebody", b"here\n")
    lines = [f"UUID={uuid} / btrfs subvol=root 0 0", f"UUID={uuid} /home btrfs compress=zstd:1,subvol=/home 0 0"]
    guest.write("/root/etc/fstab", "".join(f"{line}\n" for line in lines).encode())
    guest.call("btrfs_subvolume_snapshot", "/root", "/snapshot")
    guest.unmount_all()


def test_the_edit_finds_the_root_and_its_other_subvolumes(guest: tuple[Guest, str]) -> None:
    opened, _ = guest
    system = inspection.find(opened)
    assert system.parts == (
        Part("/dev/sda", "btrfs", "/", "subvol=root"),
        Part("/dev/sda", "btrfs", "/home", "subvol=home"),
    )
    try:
        inspection.mount(opened, system, readonly=True)
        assert opened.read("/home/somebody", 10) == b"here\n"
    finally:
        opened.unmount_all()


def test_the_read_back_finds_the_same(guest: tuple[Guest, str]) -> None:
    opened, uuid = guest
    seen = existing.look(opened, opened.filesystems())
    root = existing.root(opened, seen)
    assert root is not None
    assert (root.uuid, root.subvolume) == (uuid, "root")
    opened.mount_readonly(root.device)
    try:
        lines = booting.mounts(texts.text(opened, "/etc/fstab") or "")
        chosen = [existing.chosen(line, seen) for line in lines]
        assert [one.subvolume for one in chosen if one is not None] == ["root", "home"]
        path = "/root/etc/passwd"
        above = opened.subvolumes()
        assert existing._on_boot(opened, path, False, above) == "/etc/passwd"
    finally:
        opened.unmount_all()


def test_the_root_may_be_the_default_subvolume(guest: tuple[Guest, str]) -> None:
    opened, uuid = guest
    opened.mount("/dev/sda")
    numbers = {
        entry["btrfssubvolume_path"]: entry["btrfssubvolume_id"] for entry in opened.call("btrfs_subvolume_list", "/")
    }
    opened.call("btrfs_subvolume_set_default", numbers["root"], "/")
    opened.unmount_all()
    try:
        # The default one is known by its device alone; its fstab still names it.
        system = inspection.find(opened)
        assert [part.mount for part in system.parts] == ["/", "/home"]
        seen = existing.look(opened, opened.filesystems())
        root = existing.root(opened, seen)
        assert root is not None
        assert (root.device, root.uuid) == ("/dev/sda", uuid)
    finally:
        opened.mount("/dev/sda", options="subvolid=5")
        opened.call("btrfs_subvolume_set_default", 5, "/")
        opened.unmount_all()


def test_an_extraction_knows_the_file_system_of_a_subvolume(guest: tuple[Guest, str], tmp_path: Path) -> None:
    opened, uuid = guest
    assert {place.uuid for place in extract._places(opened)} == {uuid}


def test_holes_of_terabytes_are_seen_before_a_tree_is_taken(guest: tuple[Guest, str], tmp_path: Path) -> None:
    opened, _ = guest
    (tmp_path / "disk").write_bytes(b"small")
    inspection.mount(opened, inspection.find(opened))
    try:
        image_tree.measure(opened, tmp_path / "disk")
        opened.call("touch", "/etc/holes")
        opened.call("truncate_size", "/etc/holes", 1 << 42)
        with pytest.raises(ImageError, match=r"its files have 4 TiB, /etc/holes most of it; the limit .* is 4 GiB"):
            image_tree.measure(opened, tmp_path / "disk")
        opened.remove("/etc/holes")
    finally:
        opened.unmount_all()
