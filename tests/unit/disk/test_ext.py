"""Measures and geometry of ext file systems, and what is said to their tools; without the tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from roost.disk import ext, geometry, measure
from roost.disk.ext import FileSystemSource, Identity
from roost.disk.ext_space import Space
from roost.disk.layout import Extent, MiB
from roost.disk.measure import Content, Entry
from roost.disk.tree import DeviceNode
from roost.errors import ImageError
from roost.host import process
from roost.host.namespace import Namespace

UUID_1 = UUID("11111111-1111-4111-8111-111111111111")
UUID_2 = UUID("22222222-2222-4222-8222-222222222222")


def entry(path: str, kind: str = "f", *, file: str = "", links: int = 1, size: int = 0) -> Entry:
    return Entry(path.encode(), kind, file or path, links, size, 0o755, 0, 0, 5)


ROOT = entry("", "d", links=2)


def test_content_counts_what_takes_blocks() -> None:
    content = measure.content(
        [
            ROOT,
            entry("empty"),
            entry("one", size=1),
            entry("two", size=4097),
            entry("short", "l", size=59),
            entry("long", "l", size=60),
            entry("a", file="same", links=2, size=4096),
            entry("b", file="same", links=2, size=4096),
            entry("pipe", "p"),
        ],
        extents=True,
    )
    assert content == Content(blocks=1 + 1 + 2 + 1 + 1, inodes=8)


def test_directories_grow_with_their_names() -> None:
    names = [entry(f"{'n' * 250}{number}") for number in range(160)]
    assert measure.content([ROOT, *names], extents=True).blocks == pytest.approx(160 * 264 / 4096, abs=2)


def test_indirect_blocks_count_without_extents() -> None:
    big = [ROOT, entry("big", size=12 * 4096 + 2 * 1024 * 4096)]
    assert measure.content(big, extents=False).blocks - measure.content(big, extents=True).blocks == 3


def test_each_entry_belongs_to_one_file_system() -> None:
    paths = ["", "boot", "boot/vmlinuz", "bootx", "data", "data/a", "data/inner", "data/inner/b"]
    entries = [entry(path, "d") for path in paths]
    mounts = ["/", "/boot", "/data", "/data/inner"]
    found = {mount: [item.path.decode() for item in measure.below(entries, mount, mounts)] for mount in mounts}
    assert found == {
        "/": ["", "boot", "bootx", "data"],
        "/boot": ["", "vmlinuz"],
        "/data": ["", "a", "inner"],
        "/data/inner": ["", "b"],
    }


def test_mount_points_exist_or_not_and_are_not_links() -> None:
    entries = [ROOT, entry("srv", "d"), entry("srv/data", "d"), entry("link", "l"), entry("file")]
    assert measure.mount_point(entries, "/srv/data")
    assert not measure.mount_point(entries, "/srv/other/deep")
    for mount in ("/link/data", "/link", "/file"):
        with pytest.raises(ImageError, match="in the tree is not a directory"):
            measure.mount_point(entries, mount)


def test_listing_reads_any_name(tmp_path: Path) -> None:
    names = {b"new\nline", b"two  blanks", b" ", b"\xff\xfe", b"tab\t"}
    for name in names:
        (tmp_path / name.decode("utf-8", "surrogateescape")).touch()

    class Plain(Namespace):
        def argv(self, argv: process.Argv) -> list[str]:
            return [str(arg) for arg in argv]

    found = measure.listing(tmp_path, Plain(user=False), tmp_path.parent / "log")
    assert {item.path for item in found} == {b"", *names}
    assert {item.type for item in found if item.path} == {"f"}


@example(filesystem="ext2", blocks=18241, inodes=323702, free=1)
@given(
    filesystem=st.sampled_from(["ext2", "ext3", "ext4"]),
    blocks=st.integers(0, 1 << 24),
    inodes=st.integers(0, 1 << 20),
    free=st.integers(0, 1 << 36),
)
def test_geometry_has_room_for_content_metadata_and_promise(
    filesystem: Any, blocks: int, inodes: int, free: int
) -> None:
    shape = geometry.for_free(filesystem, Content(blocks, inodes), free)
    left = shape.blocks - geometry.overhead(shape) - blocks - geometry.kernel_reserve(filesystem, shape.blocks)
    assert left * measure.BLOCK >= free
    assert shape.blocks % geometry.BLOCKS_PER_MIB == 0
    assert shape.inodes > inodes + geometry.LEAST_INODES
    assert (shape.journal == 0) == (filesystem == "ext2" or shape.blocks < geometry.LEAST_JOURNALLED)
    # More is asked for by `extra`, less by a negative one; the metadata of a group may hold all of 16 MiB by itself.
    more = geometry.for_free(filesystem, Content(blocks, inodes), free, 4096)
    room = more.blocks - geometry.overhead(more) - blocks - geometry.kernel_reserve(filesystem, more.blocks)
    assert (room - 4096) * measure.BLOCK >= free
    assert more.blocks >= shape.blocks
    assert geometry.for_free(filesystem, Content(blocks, inodes), free, -4096).blocks <= shape.blocks


def test_a_given_size_is_kept() -> None:
    shape = geometry.for_size("ext4", Content(10, 10), 64 * MiB)
    assert shape.blocks * measure.BLOCK == 64 * MiB


def test_mke2fs_command_line() -> None:
    shape = geometry.Geometry("ext4", 25600, 4096, 4)
    argv = ext.mke2fs_argv("d.raw", Extent(MiB, 100 * MiB), shape, Identity(UUID_1, UUID_2, "top", 7), Path("/tree"))
    assert argv[-4:] == ["-d", "/tree", "d.raw", "25600"]
    text = " ".join(argv)
    for part in (
        "-t ext4",
        "-m 0",
        f"-U {UUID_1}",
        f"hash_seed={UUID_2}",
        "offset=1048576",
        "-N 4096",
        "-L top",
        "-J size=4",
    ):
        assert part in text
    bare = ext.mke2fs_argv(
        "d.raw", Extent(0, MiB), geometry.Geometry("ext4", 256, 300, 0), Identity(UUID_1, UUID_2, None, 7), None
    )
    assert "^has_journal" in bare and "-L" not in bare and "-d" not in bare and "offset" not in " ".join(bare)


SPACE = Space(1000, 290, 64, 40, ((14, 16), (20, 20), (30, 32), (33, 64)))


def test_the_script_sets_times_of_used_inodes_and_makes_devices() -> None:
    devices = (DeviceNode("/dev/null", "c", 1, 3, 0o666), DeviceNode("/pipe", "p", mode=0o640, uid=70000))
    source = FileSystemSource(Path("/tree"), ROOT._replace(mode=0o751, uid=3, mtime=99), devices)
    script = ext.settle_script(SPACE, 7, source).splitlines()
    assert script[:5] == ["cd /dev", "mknod null c 1 3", "sif null mode 020666", "sif null uid 0", "sif null gid 0"]
    assert script[5:8] == ["cd /", "mknod pipe p", "sif pipe mode 010640"]
    assert "sif <2> mode 040751" in script and "sif <2> uid 3" in script
    # The root directory's own time is later than the epoch.
    assert "sif <2> mtime @7" in script
    used = [int(line.split("<")[1].split(">")[0]) for line in script if line.endswith(" ctime @7")]
    assert used == [2, 11, 12, 13, 17, 18, 19, *range(21, 30)]


@pytest.mark.parametrize(
    "path", ["/dev/a b", '/dev/"', "/dev/a\nrm x", "dev/null", "/dev/../etc/x", "/dev//x", "/dev/"]
)
def test_odd_device_paths_never_reach_the_script(path: str) -> None:
    source = FileSystemSource(Path("/tree"), ROOT, (DeviceNode(path, "c", 1, 3),))
    with pytest.raises(ImageError, match="not a plain path"):
        ext.settle_script(SPACE, 7, source)


def test_available_is_what_df_says() -> None:
    shape = geometry.Geometry("ext4", 1000, 64, 0)
    assert ext.available(shape, SPACE) == (290 - 20) * 4096
