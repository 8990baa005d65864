"""Disks written by the real tools: the same bytes, the content as it was, the promised free space, no mess."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from roost.disk import ext, ext_space, fill, geometry, measure, qemu_img, write
from roost.disk.layout import Extent, MiB
from roost.disk.tools import Tools
from roost.disk.tree import DeviceNode, TreeInfo
from roost.disk.write import WrittenDisk
from roost.errors import ImageError
from roost.host import namespace, process
from roost.host.namespace import Namespace
from roost.recipe.identity import filesystem_id
from roost.recipe.model import Recipe

pytestmark = pytest.mark.images

EPOCH = 1_700_000_000
DEVICES = (DeviceNode("/dev/console", "c", 5, 1), DeviceNode("/dev/loop0", "b", 7, 300, 0o660, 0, 6))
ODD_NAMES = ("new\nline", "two  blanks", 'quote"quote', "back\\slash", "<12>", "-rf", "#hash", "ümläut", "\x01\x7f")


def recipe_of(*disks: dict[str, Any], **more: Any) -> Recipe:
    return Recipe.model_validate({"name": "disks", "os": {"tree": {"path": "tree"}}, "disks": disks, **more})


ROOT = {"name": "root", "partitions": [{"mount": "/", "filesystem": "ext4", "free": "8MiB"}]}


def written(
    recipe: Recipe, tree: Path | None, directory: Path, chosen: Namespace | None = None
) -> tuple[WrittenDisk, ...]:
    directory.mkdir(exist_ok=True)
    info = None if tree is None else TreeInfo(tree, DEVICES)
    disks = write.write_disks(
        recipe, info, directory, Tools(chosen or namespace.current(), EPOCH, directory.parent / "log")
    )
    assert sorted(path.name for path in directory.iterdir()) == sorted(f"{disk.name}.raw" for disk in disks)
    return disks


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inside(chosen: Namespace, *argv: str | Path) -> None:
    process.run(chosen.argv(argv), deadline=120)


def debugfs(disk: Path, at: Extent, request: str) -> str:
    argv = ["debugfs", "-R", request, ext_space.target(disk, at)]
    return subprocess.run(argv, cwd=disk.parent, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A tar archive with all that a tree can hold, owned by several users."""
    tree = tmp_path / "made"
    for directory in ("dev", "etc", "big", "odd", "data/inner", "boot"):
        (tree / directory).mkdir(parents=True)
    (tree / "etc/hosts").write_text("127.0.0.1 localhost\n")
    os.link(tree / "etc/hosts", tree / "etc/hosts.link")
    (tree / "etc/long").symlink_to("x" * 200)
    (tree / "etc/short").symlink_to("hosts")
    (tree / "etc/empty").touch()
    (tree / "etc/setuid").write_bytes(b"\x7fELF" * 5000)
    (tree / "data/inner/file").write_bytes(os.urandom(300_000))
    (tree / "boot/vmlinuz").write_bytes(b"kernel" * 10_000)
    for name in ODD_NAMES:
        (tree / "odd" / name).write_text(name)
    for number in range(3000):
        (tree / "big" / f"a-file-with-a-longer-name-{number:05}").write_text(str(number))
    with (tree / "data/sparse").open("wb") as file:
        file.seek(100 * MiB)
        file.write(b"end")
    chosen = namespace.current()
    inside(chosen, "chown", "33:44", tree / "data")
    inside(chosen, "chown", "65534:7", tree / "data/inner/file")
    inside(chosen, "chmod", "4755", tree / "etc/setuid")
    inside(chosen, "chmod", "0700", tree / "data/inner")
    inside(chosen, "setcap", "cap_net_raw+ep", tree / "etc/hosts")
    inside(chosen, "setfattr", "-n", "user.note", "-v", "n" * 300, tree / "etc/empty")
    packed = tmp_path / "tree.tar"
    tar = ["tar", "--create", "--sparse", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--file", str(packed)]
    inside(chosen, *tar, "--directory", tree, ".")
    return packed


def unpacked(archive: Path, directory: Path, chosen: Namespace) -> Path:
    directory.mkdir()
    tar = ["tar", "--extract", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--file", str(archive)]
    inside(chosen, *tar, "--directory", directory)
    return directory


def has_subordinate_ids() -> bool:
    done = process.run(Namespace(user=True).argv(["chown", "--version"]), deadline=20, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("filesystem", ["ext4", "ext3", "ext2"])
def test_two_unpackings_give_the_same_bytes(archive: Path, tmp_path: Path, filesystem: str) -> None:
    partitions = [{"mount": "/", "filesystem": filesystem, "free": "8MiB"}, {"filesystem": "swap", "size": "2MiB"}]
    recipe = recipe_of({"name": "root", "table": "gpt", "partitions": partitions})
    # As root, the second unpacking lies in a user namespace where the host gives root subordinate ids.
    namespaces = [namespace.current(), Namespace(user=True) if has_subordinate_ids() else namespace.current()]
    digests = []
    for number, chosen in enumerate(namespaces):
        tree = unpacked(archive, tmp_path / f"tree{number}", chosen)
        if number:
            # Other inode numbers, other order, other times of access, and changes later than the epoch.
            inside(
                chosen, "sh", "-c", 'cp -a "$1/big" "$1/big2" && rm -r "$1/big" && mv "$1/big2" "$1/big"', "sh", tree
            )
            inside(chosen, "touch", "-a", tree / "etc/hosts")
        inside(chosen, "touch", tree, tree / "big", tree / "etc/short")
        (disk,) = written(recipe, tree, tmp_path / f"disks{number}", chosen)
        digests.append(digest(disk.path))
        qcow2 = write.to_qcow2(disk.path, compress="zstd")
        qemu_img.check(qcow2)
        assert qemu_img.same_content(disk.path, "raw", qcow2, "qcow2")
        digests.append(digest(qcow2))
    assert digests[:2] == digests[2:]


def test_the_content_arrives(archive: Path, tmp_path: Path) -> None:
    chosen = namespace.current()
    tree = unpacked(archive, tmp_path / "tree", chosen)
    inside(chosen, "chmod", "0751", tree)
    (disk,) = written(recipe_of(ROOT), tree, tmp_path / "disks")
    at = disk.layout.areas[0]
    out = tmp_path / "out"
    out.mkdir()
    inside(
        chosen,
        "sh",
        "-c",
        'cd "$1" && debugfs -R "rdump / $2" "$3"',
        "sh",
        tmp_path / "disks",
        out,
        ext_space.target(disk.path, at),
    )
    inside(chosen, "rm", "-r", out / "lost+found", out / "dev")
    inside(chosen, "rm", "-r", tree / "dev")
    inside(chosen, "diff", "-r", "--no-dereference", tree, out)
    # rdump sets owners last, which clears setuid.
    but = "-path ./data/sparse -prune -o -path ./etc/setuid -prune -o"
    facts = f"cd \"$1\" && find . {but} -printf '%p %y %m %U %G %T@ %l\\n' | sort"
    seen = [
        process.run(chosen.argv(["sh", "-c", facts, "sh", directory]), deadline=60, capture=True).text.splitlines()
        for directory in (tree, out)
    ]
    # rdump makes links again, with new times; and the mode of its own top directory.
    plain = [[line for line in lines if " l " not in line and not line.startswith(". ")] for lines in seen]
    assert plain[0] == plain[1]
    assert len(plain[0]) > 3000
    assert "cap_net_raw" not in debugfs(disk.path, at, "ea_list /etc/hosts")
    assert "security.capability (20)" in debugfs(disk.path, at, "ea_list /etc/hosts")
    assert "user.note (300)" in debugfs(disk.path, at, "ea_list /etc/empty")
    stat = {
        path: debugfs(disk.path, at, f"stat {path}") for path in ("/", "/dev/console", "/dev/loop0", "/data/sparse")
    }
    assert re.search(r"Mode:  0751 ", stat["/"])
    assert "character special" in stat["/dev/console"] and "Mode:  0600" in stat["/dev/console"]
    assert "05:01" in stat["/dev/console"]
    assert "block special" in stat["/dev/loop0"] and "07:300" in stat["/dev/loop0"]
    assert re.search(r"Group:     6 ", stat["/dev/loop0"]) and "Mode:  0660" in stat["/dev/loop0"]
    assert "Mode:  04755" in debugfs(disk.path, at, "stat /etc/setuid")
    assert debugfs(disk.path, at, "stat /etc/hosts").count("Links: 2") == 1
    # A hole of 100 MiB takes a block or two, and the disk is made to fit what was used.
    assert int(re.findall(r"Blockcount: (\d+)", stat["/data/sparse"])[0]) <= 16
    assert disk.layout.size < 80 * MiB
    for text in stat.values():
        times = {int(value, 16) for value in re.findall(r"[ac]time: 0x([0-9a-f]+)", text)}
        assert times == {EPOCH}


def test_mount_points_go_to_their_own_file_systems(archive: Path, tmp_path: Path) -> None:
    chosen = namespace.current()
    tree = unpacked(archive, tmp_path / "tree", chosen)
    partitions = [
        {"mount": "/", "filesystem": "ext4", "free": "4MiB"},
        {"mount": "/data", "filesystem": "ext4", "free": "4MiB"},
        {"mount": "/boot", "filesystem": "ext2", "free": "1MiB"},
    ]
    deeper = {"name": "deeper", "filesystem": "ext4", "mount": "/data/inner", "size": "8MiB", "label": "deeper"}
    made = {"name": "made", "filesystem": "vfat", "mount": "/made/here", "size": "8MiB"}
    recipe = recipe_of({"name": "root", "partitions": partitions}, deeper, made)
    root, other, fresh = written(recipe, tree, tmp_path / "disks")
    at, data, boot = root.layout.areas

    def names(disk: WrittenDisk, area: Extent, path: str) -> set[str]:
        found = {line.split("/")[5] for line in debugfs(disk.path, area, f"ls -p {path}").splitlines() if "/" in line}
        return found - {".", "..", "lost+found"}

    assert names(root, at, "/") == {"dev", "etc", "big", "odd", "data", "boot", "made"}
    assert names(root, at, "/data") == names(root, at, "/boot") == names(root, at, "/made/here") == set()
    assert names(root, data, "/") == {"inner", "sparse"}
    assert names(root, data, "/inner") == set()
    assert names(root, boot, "/") == {"vmlinuz"}
    assert names(other, other.layout.areas[0], "/") == {"file"}
    assert re.search(r"User:    33   Group:    44", debugfs(root.path, data, "stat /"))
    blkid = subprocess.run(
        ["blkid", "-p", "-o", "export", fresh.path], capture_output=True, text=True, check=True
    ).stdout
    assert f"UUID={filesystem_id(recipe, recipe.disks[2], 0)}" in blkid
    # The tree itself is as it was.
    assert process.run(chosen.argv(["cat", tree / "boot/vmlinuz"]), deadline=20, capture=True).stdout.startswith(
        b"kernel"
    )


def test_a_mount_point_behind_a_link_is_refused(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "srv").symlink_to("/etc")
    data = {"name": "data", "filesystem": "ext4", "mount": "/srv/data", "size": "8MiB"}
    with pytest.raises(ImageError, match="/srv in the tree is not a directory"):
        written(recipe_of(ROOT, data), tree, tmp_path / "disks")
    assert list((tmp_path / "disks").iterdir()) == []
    assert not Path("/etc/data").exists()


@pytest.mark.parametrize("filesystem", ["ext4", "ext3", "ext2"])
@pytest.mark.parametrize("free", [0, 1, 3 * MiB, 100 * MiB, 129 * MiB, 1000 * MiB, 5000 * MiB, 40_000 * MiB])
def test_the_geometry_has_room_for_the_promise_at_once(filesystem: Any, free: int, tmp_path: Path) -> None:
    content = measure.Content(0, 0)
    shape = geometry.for_free(filesystem, content, free)
    disk = tmp_path / "disk.raw"
    with disk.open("xb") as file:
        file.truncate(shape.blocks * measure.BLOCK)
    recipe = recipe_of(ROOT)
    identity = ext.Identity(recipe.uuid_of("a"), recipe.uuid_of("b"), "label", EPOCH)
    at = Extent(0, shape.blocks * measure.BLOCK)
    tools = Tools(namespace.current(), EPOCH, tmp_path)
    space = ext.write(disk, at, shape, identity, None, tools)
    ext.check(disk, [at], tools)
    available = ext.available(shape, space)
    assert available >= free
    # No waste either: the rounding to MiB, what a small last group may cost, and half a per cent of metadata;
    # ext3 has at least 16 MiB, because of its journal.
    assert available - free < (16 if filesystem == "ext3" else 8) * MiB + free // 100
    assert space.free_inodes >= max(geometry.LEAST_INODES, free // geometry.BYTES_PER_INODE)
    # mke2fs writes the zeros of an ext3's journal.
    journal = shape.journal * MiB if filesystem == "ext3" else 0
    assert disk.stat().st_blocks * 512 < 2 * MiB + journal + shape.blocks * measure.BLOCK // 500


def test_an_ordinary_tree_is_measured_right_the_first_time(archive: Path, tmp_path: Path) -> None:
    tree = unpacked(archive, tmp_path / "tree", namespace.current())
    inside(namespace.current(), "rm", tree / "data/sparse")
    (disk,) = written(recipe_of(ROOT), tree, tmp_path / "disks")
    assert (tmp_path / "log/mke2fs.log").read_text().count("$ ") == 1
    assert disk.free[0] is not None
    assert 8 * MiB <= disk.free[0] < 12 * MiB


def test_a_measure_that_is_too_small_is_made_up_for(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = unpacked(archive, tmp_path / "tree", namespace.current())
    measured = measure.content

    def too_small(entries: Any, *, extents: bool) -> measure.Content:
        content = measured(entries, extents=extents)
        return measure.Content(content.blocks // 8 - 3000, content.inodes)

    monkeypatch.setattr(measure, "content", too_small)
    (disk,) = written(recipe_of(ROOT), tree, tmp_path / "disks")
    assert (tmp_path / "log/mke2fs.log").read_text().count("$ ") > 1
    assert disk.free[0] is not None and disk.free[0] >= 8 * MiB


def test_a_size_that_is_too_small_says_by_how_much(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "dev").mkdir(parents=True)
    (tree / "file").write_bytes(os.urandom(20 * MiB))
    small = {"name": "root", "partitions": [{"mount": "/", "filesystem": "ext4", "size": "16MiB"}]}
    with pytest.raises(ImageError) as caught:
        written(recipe_of(small), tree, tmp_path / "disks")
    needed = re.search(r"the content of / needs (\d+) MiB; its size is 16 MiB, (\d+) MiB too small", str(caught.value))
    assert needed and int(needed[1]) - 16 == int(needed[2])
    assert list((tmp_path / "disks").iterdir()) == []
    # What the message asks for is enough.
    right = {"name": "root", "partitions": [{"mount": "/", "filesystem": "ext4", "size": f"{needed[1]}MiB"}]}
    written(recipe_of(right), tree, tmp_path / "disks")


def test_a_full_host_disk_is_one_clear_error(tmp_path: Path) -> None:
    tree, small = tmp_path / "tree", tmp_path / "small"
    (tree / "dev").mkdir(parents=True)
    small.mkdir()
    (tree / "file").write_bytes(os.urandom(20 * MiB))
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import test_disks as t\n"
        "from roost.errors import HostError\n"
        "small = Path(sys.argv[3])\n"
        "try: t.written(t.recipe_of(t.ROOT), Path(sys.argv[2]), small / 'disks')\n"
        "except HostError as error: print('refused:', error)\n"
        "print('left:', list((small / 'disks').iterdir()))\n"
    )
    script = 'mount -t tmpfs -o size=8M tmpfs "$5" && exec "$1" -c "$2" "$3" "$4" "$5"'
    here = Path(__file__).parent
    argv: list[str | Path] = ["sh", "-c", script, "sh", sys.executable, program, here, tree, small]
    done = process.run(namespace.current().argv(argv), deadline=60, capture=True)
    assert "refused: cannot make the ext4 file system of disk root.raw: no space left on the disk" in done.text
    assert "left: []" in done.text


def test_an_io_disk(tmp_path: Path) -> None:
    io = {"name": "io", "filesystem": "ext4", "size": "64MiB", "role": "io"}
    _, disk = written(recipe_of(ROOT, io), _tree(tmp_path), tmp_path / "disks")
    at = disk.layout.areas[0]
    assert disk.layout.size == 64 * MiB and at == Extent(0, 64 * MiB)
    for directory in fill.IO_DIRECTORIES:
        assert "Type: directory    Mode:  0755" in debugfs(disk.path, at, f"stat /{directory}")
    blkid = subprocess.run(
        ["blkid", "-p", "-o", "export", disk.path], capture_output=True, text=True, check=True
    ).stdout
    assert "LABEL=io\n" in blkid and "TYPE=ext4\n" in blkid
    assert disk.allocated < MiB


@pytest.mark.parametrize("table", ["mbr", "gpt"])
def test_the_table_is_what_the_layout_says(table: str, tmp_path: Path) -> None:
    partitions = [
        {"mount": "/", "filesystem": "ext4", "free": "1MiB", "label": "system"},
        {"filesystem": "swap", "size": "3MiB", "label": "swapping"},
        {"filesystem": "vfat", "size": "8MiB", "label": "SHARED"},
    ]
    recipe = recipe_of({"name": "root", "table": table, "partitions": partitions})
    (disk,) = written(recipe, _tree(tmp_path), tmp_path / "disks")
    dump = subprocess.run(["sfdisk", "--dump", disk.path], capture_output=True, text=True, check=True).stdout
    verified = subprocess.run(["sfdisk", "--verify", disk.path], capture_output=True, text=True, check=True)
    assert "No errors detected" in verified.stdout and not verified.stderr
    assert f"label-id: {disk.layout.identifier}".lower() in dump.lower()
    for entry in disk.layout.partitions:
        found = re.search(rf"raw{entry.number} : start= *{entry.start}, size= *{entry.size}, type={entry.type}", dump)
        assert found, dump
    for index, kind in enumerate(("ext4", "swap", "vfat")):
        at = disk.layout.areas[index]
        argv = ["blkid", "-p", "-o", "export", "-O", str(at.offset), "-S", str(at.size), str(disk.path)]
        probed = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
        assert f"TYPE={kind}\n" in probed
        assert f"UUID={filesystem_id(recipe, recipe.disks[0], index)}\n" in probed
        assert f"LABEL={partitions[index]['label']}\n" in probed


def test_vfat_holds_its_part_of_the_tree_and_is_the_same_twice(tmp_path: Path) -> None:
    efi = {"name": "efi", "filesystem": "vfat", "mount": "/efi", "size": "8MiB", "label": "efi"}
    digests = set()
    for number in range(2):
        tree = tmp_path / f"tree{number}"
        (tree / "dev").mkdir(parents=True)
        names = ["EFI/Debian/a file.txt", "EFI/BOOT/BOOTX64.EFI", "loader.conf"]
        for name in names if number else reversed(names):
            (tree / "efi" / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / "efi" / name).write_text(name)
        _, disk = written(recipe_of(ROOT, efi), tree, tmp_path / f"disks{number}")
        digests.add(digest(disk.path))
        for name in names:
            argv = ["mtype", "-i", str(disk.path), f"::/{name}"]
            assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == name
        subprocess.run(["fsck.vfat", "-n", disk.path], check=True)
    assert len(digests) == 1


def _tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    (tree / "dev").mkdir(parents=True)
    return tree


def test_a_device_in_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    with pytest.raises(ImageError, match="has no directory /dev in the tree"):
        written(recipe_of(ROOT), tmp_path / "tree", tmp_path / "disks")


def test_a_device_that_is_in_the_tree_already_is_an_error(tmp_path: Path) -> None:
    tree = _tree(tmp_path)
    (tree / "dev/console").touch()
    with pytest.raises(ImageError, match="/dev/console exists in the tree"):
        written(recipe_of(ROOT), tree, tmp_path / "disks")


def test_qemu_img_reads_as_told_and_never_probes(tmp_path: Path) -> None:
    raw, qcow2 = tmp_path / "a.raw", tmp_path / "a.qcow2"
    raw.write_bytes(b"\1" * MiB)
    for compress in ("none", "zlib", "zstd"):
        qemu_img.convert(raw, qcow2, compress=compress)
        info = qemu_img.info(qcow2, "qcow2")
        assert (info.format, info.virtual, info.backing_file, info.dirty) == ("qcow2", MiB, None, False)
        assert info.compression == ("zstd" if compress == "zstd" else "zlib")
    # A guest can write a qcow2 header into its raw disk: as raw it stays what it is.
    assert qemu_img.info(qcow2, "raw").virtual == qcow2.stat().st_size
    with pytest.raises(ImageError, match="cannot be read as qcow2"):
        qemu_img.info(raw, "qcow2")
    other = tmp_path / "b.raw"
    other.write_bytes(b"\1" * (MiB - 1) + b"\2")
    assert qemu_img.same_content(raw, "raw", qcow2, "qcow2")
    assert not qemu_img.same_content(other, "raw", qcow2, "qcow2")
    other.write_bytes(b"\1" * MiB + b"\0" * 512)
    assert not qemu_img.same_content(other, "raw", qcow2, "qcow2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.qcow2", "a.raw", "b.raw"]
