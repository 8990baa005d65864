"""Layouts: aligned, apart, inside the disk, the same every time; and what is wrong with a recipe's disks."""

from __future__ import annotations

import itertools
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.disk import table
from roost.disk.check import Mistake, check
from roost.disk.layout import ALIGNMENT, MBR_LIMIT, SECTOR, Layout, MiB, boot_filesystem, boot_uuid, plan
from roost.errors import ImageError, Location
from roost.recipe.identity import filesystem_id, filesystem_uuid
from roost.recipe.model import Recipe


def recipe_of(*disks: dict[str, Any], **more: Any) -> Recipe:
    return Recipe.model_validate({"name": "disks", "os": {"tree": {"path": "tree"}}, "disks": disks, **more})


def layout_of(recipe: Recipe, *sizes: int) -> Layout:
    return plan(recipe, recipe.disks[0], sizes)


ROOT = {"mount": "/", "filesystem": "ext4", "free": "8MiB"}
SWAP = {"filesystem": "swap", "size": "64MiB"}


@given(
    kind=st.sampled_from(["mbr", "gpt"]),
    placement=st.sampled_from(["included", "external"]),
    sizes=st.lists(st.integers(0, 1 << 38), min_size=1, max_size=4),
)
def test_partitions_are_aligned_and_apart(kind: str, placement: str, sizes: list[int]) -> None:
    partitions = [ROOT, *[SWAP] * (len(sizes) - 1)]
    recipe = recipe_of({"name": "root", "table": kind, "partitions": partitions}, kernel={"placement": placement})
    layout = layout_of(recipe, *sizes)
    assert layout == layout_of(recipe, *sizes)
    assert layout.size % MiB == 0
    entries = sorted(layout.partitions, key=lambda entry: entry.start)
    assert entries[0].start >= ALIGNMENT
    for entry, after in itertools.pairwise(entries):
        assert entry.end <= after.start
    # GPT's copy takes 33 sectors at the end.
    assert entries[-1].end <= layout.size // SECTOR - (33 if kind == "gpt" else 0)
    assert len({entry.number for entry in entries}) == len({entry.uuid for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.start % ALIGNMENT == 0
        if entry.area is not None:
            assert layout.areas[entry.area].offset == entry.start * SECTOR
            assert sizes[entry.area] <= layout.areas[entry.area].size < sizes[entry.area] + MiB
    assert (layout.core is not None) == (placement == "included")
    if layout.core:
        first = SECTOR * (1 if kind == "mbr" else ALIGNMENT)
        assert layout.core.offset == first
        assert all(layout.core.offset + layout.core.size <= at.offset for at in layout.areas)


def test_mbr_and_gpt_of_a_bootable_disk() -> None:
    disk = {"name": "root", "partitions": [{**ROOT, "label": "system"}, SWAP]}
    mbr = layout_of(recipe_of(disk), 100 * MiB, 64 * MiB)
    identifier = mbr.identifier
    assert identifier is not None
    assert table.script(mbr) == (
        f"label: dos\nlabel-id: {identifier}\nunit: sectors\n\n"
        "1 : start=2048, size=204800, type=83, bootable\n"
        "2 : start=206848, size=131072, type=82\n"
    )
    assert mbr.size == 165 * MiB
    assert [entry.uuid for entry in mbr.partitions] == [f"{identifier[2:]}-01", f"{identifier[2:]}-02"]
    gpt = layout_of(recipe_of({**disk, "table": "gpt"}), 100 * MiB, 64 * MiB)
    lines = table.script(gpt).splitlines()
    assert lines[4].startswith("14 : start=2048, size=2048, type=21686148-6449-6E6F-744E-656564454649, uuid=")
    assert lines[5].startswith("1 : start=4096, size=204800, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, uuid=")
    assert lines[5].endswith(', name="system"')
    assert gpt.size == 167 * MiB


def test_a_mount_with_odd_characters_stays_out_of_the_script() -> None:
    odd = {"mount": '/a", type=x "', "filesystem": "ext4", "size": "8MiB"}
    layout = layout_of(recipe_of({"name": "root", "table": "gpt", "partitions": [ROOT, odd]}), MiB, MiB)
    assert 'name="/a___type_x__"' in table.script(layout)


def test_a_bare_disk_has_neither_table_nor_core() -> None:
    recipe = recipe_of(
        {"name": "root", "filesystem": "ext4", "mount": "/", "free": "1MiB"}, kernel={"placement": "external"}
    )
    layout = layout_of(recipe, 5 * MiB + 1)
    assert (layout.table, layout.identifier, layout.partitions, layout.core) == (None, None, (), None)
    assert layout.size == layout.areas[0].size == 6 * MiB


def test_the_limit_of_mbr() -> None:
    recipe = recipe_of({"name": "root", "partitions": [ROOT]})
    assert layout_of(recipe, (MBR_LIMIT - ALIGNMENT) * SECTOR).size == MBR_LIMIT * SECTOR
    with pytest.raises(ImageError, match="2 TiB"):
        layout_of(recipe, (MBR_LIMIT - ALIGNMENT) * SECTOR + 1)
    gpt = recipe_of({"name": "root", "table": "gpt", "partitions": [ROOT]})
    assert layout_of(gpt, 1 << 42).size > 1 << 42


def test_two_images_differ_in_all_identifiers() -> None:
    one, other = (
        recipe_of({"name": "root", "table": "gpt", "partitions": [ROOT, SWAP]}).model_copy(update={"name": name})
        for name in ("one", "other")
    )
    first, second = layout_of(one, MiB, MiB), layout_of(other, MiB, MiB)
    assert first.identifier != second.identifier
    assert not {entry.uuid for entry in first.partitions} & {entry.uuid for entry in second.partitions}
    assert filesystem_uuid(one, one.disks[0], 0) != filesystem_uuid(other, other.disks[0], 0)


def test_identifiers_of_file_systems() -> None:
    own = "12345678-9abc-def0-1234-56789abcdef0"
    recipe = recipe_of(
        {"name": "root", "partitions": [{**ROOT, "uuid": own}, {"filesystem": "vfat", "size": "8MiB", "uuid": own}]}
    )
    assert filesystem_id(recipe, recipe.disks[0], 0) == own
    assert filesystem_id(recipe, recipe.disks[0], 1) == "1234-5678"
    assert str(boot_uuid(recipe)) == own


def test_where_boot_lies() -> None:
    boot = {"mount": "/boot", "filesystem": "ext2", "size": "64MiB"}
    recipe = recipe_of({"name": "root", "partitions": [ROOT, boot]})
    assert boot_filesystem(recipe) == (recipe.disks[0], 1, "/boot")
    layout = layout_of(recipe, MiB, MiB)
    assert [entry.active for entry in layout.partitions] == [False, True]
    plain = recipe_of({"name": "root", "partitions": [ROOT]})
    assert boot_filesystem(plain) == (plain.disks[0], 0, "/")


def test_a_right_recipe_has_no_mistakes() -> None:
    io = {"name": "io", "filesystem": "ext4", "size": "256MiB", "role": "io"}
    assert check(recipe_of({"name": "root", "partitions": [ROOT, SWAP]}, io)) == ()
    bare = {"name": "root", "filesystem": "ext4", "mount": "/", "free": "1MiB"}
    assert check(recipe_of(bare, hypervisors=["xen"])) == ()
    assert check(recipe_of(bare, kernel={"placement": "external"})) == ()


BARE_IO = {"filesystem": "ext4", "size": "8MiB", "role": "io"}
PLAIN = {"name": "root", "partitions": [ROOT]}
OWN = UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("disks", "key", "what"),
    [
        (
            [{"name": "root", "filesystem": "ext4", "mount": "/", "free": "1MiB"}],
            ("disks", 0),
            "no room for a boot loader",
        ),
        (
            [PLAIN, {"name": "root", "filesystem": "swap", "size": "1MiB"}],
            ("disks", 1, "name"),
            "two disks are named 'root'",
        ),
        ([PLAIN, {"name": "a", **BARE_IO}, {"name": "b", **BARE_IO}], ("disks",), "only one disk can have role io"),
        ([{"name": "root", "partitions": [ROOT, SWAP, SWAP, SWAP, SWAP]}], ("disks", 0, "partitions", 4), "at most 4"),
        (
            [{"name": "root", "partitions": [ROOT, {"filesystem": "ext4", "size": "64KiB"}]}],
            ("disks", 0, "partitions", 1, "size"),
            "64 KiB is too small for ext4",
        ),
        (
            [{"name": "root", "partitions": [ROOT, {"filesystem": "ext4", "size": "2TiB"}]}],
            ("disks", 0, "partitions"),
            "no more than 2 TiB",
        ),
        (
            [{"name": "root", "partitions": [{"mount": "/", "filesystem": "xfs", "size": "299MiB"}]}],
            ("disks", 0, "partitions", 0, "size"),
            "too small for xfs",
        ),
        (
            [{"name": "root", "partitions": [{**ROOT, "filesystem": "xfs", "label": "thirteen-char"}]}],
            ("disks", 0, "partitions", 0, "label"),
            "at most 12 characters",
        ),
        (
            [{"name": "root", "partitions": [{"mount": "/", "filesystem": "squashfs"}]}],
            ("disks", 0, "partitions", 0, "filesystem"),
            "could not be written",
        ),
        (
            [PLAIN, {"name": "data", "filesystem": "squashfs", "mount": "/data", "label": "data"}],
            ("disks", 1, "label"),
            "neither label nor UUID",
        ),
        (
            [PLAIN, {"name": "data", "filesystem": "erofs", "mount": "/data", "free": "1MiB"}],
            ("disks", 1, "free"),
            "erofs is read-only: free space in it",
        ),
        (
            [PLAIN, {"name": "data", "filesystem": "ext4", "free": "1MiB", "readonly": True}],
            ("disks", 1, "free"),
            "the disk is read-only: free space on it",
        ),
        (
            [PLAIN, {"name": "more", "filesystem": "swap", "size": "1MiB", "readonly": True}],
            ("disks", 1, "filesystem"),
            "swap on a read-only disk",
        ),
        (
            [PLAIN, {"name": "io", **BARE_IO, "readonly": True}],
            ("disks", 1, "readonly"),
            "the job writes to its io disk",
        ),
        (
            [PLAIN, {"name": "conf", "filesystem": "ext4", "size": "9MiB", "mount": "/etc/site"}],
            ("disks", 1, "mount"),
            "mounted too late",
        ),
        (
            [{"name": "root", "partitions": [{**part, "uuid": str(OWN)} for part in (ROOT, SWAP)]}],
            ("disks", 0, "partitions", 1, "uuid"),
            "two file systems have the uuid",
        ),
        (
            [{"name": "root", "partitions": [{**ROOT, "filesystem": "vfat", "free": None, "size": "9MiB"}]}],
            ("disks", 0, "partitions", 0, "filesystem"),
            "vfat lacks",
        ),
        (
            [PLAIN, {"name": "data", "filesystem": "vfat", "free": "9MiB"}],
            ("disks", 1),
            "vfat needs a size",
        ),
        (
            [PLAIN, {"name": "data", "filesystem": "vfat", "size": "9MiB", "label": "twelve-chars"}],
            ("disks", 1, "label"),
            "at most 11 characters",
        ),
        (
            [PLAIN, {"name": "data", "filesystem": "ext4", "size": "9MiB", "mount": "/run/data"}],
            ("disks", 1, "mount"),
            "belongs to the guest's kernel",
        ),
        (
            [PLAIN, *({"name": name, "filesystem": "ext4", "size": "9MiB", "mount": "/data"} for name in "ab")],
            ("disks", 2, "mount"),
            "two file systems have the mount /data",
        ),
        (
            [PLAIN, *({"name": name, "filesystem": "ext4", "size": "9MiB", "label": "same"} for name in "ab")],
            ("disks", 2, "label"),
            "two file systems have the label same",
        ),
    ],
)
def test_mistakes_name_their_place(disks: list[dict[str, Any]], key: tuple[str | int, ...], what: str) -> None:
    (mistake,) = check(recipe_of(*disks))
    assert mistake.key == key
    assert what in mistake.what
    problem = mistake.located(lambda place: Location("recipe.yaml", 3, len(place)))
    assert str(problem).startswith(f"recipe.yaml:3:{len(key)}: ")


@pytest.mark.parametrize("mount", ["/a/../b", "/a/", "//a", "/a//b", "/./a"])
def test_mount_points_are_plain_paths(mount: str) -> None:
    data = {"name": "data", "filesystem": "ext4", "size": "9MiB", "mount": mount}
    assert [mistake.key for mistake in check(recipe_of(PLAIN, data))] == [("disks", 1, "mount")]


def test_all_mistakes_come_at_once() -> None:
    found = check(
        recipe_of(
            {
                "name": "root",
                "partitions": [{**ROOT, "label": "x" * 16, "filesystem": "xfs"}, {**SWAP, "size": "64KiB"}],
            },
            {"name": "data", "filesystem": "ext4", "size": "9MiB", "mount": "/proc"},
        )
    )
    assert len(found) == 3
    assert all(isinstance(mistake, Mistake) for mistake in found)
