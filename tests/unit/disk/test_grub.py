"""grub.cfg for GRUB and pygrub, and where the core image is told to be."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.disk import grub
from roost.disk.qemu_img import convert_argv, parse_info
from roost.errors import ImageError, UsageError
from roost.recipe import cmdline
from roost.recipe.model import Recipe


def recipe_of(**more: Any) -> Recipe:
    disk = {"name": "root", "partitions": [{"mount": "/", "filesystem": "ext4", "free": "8MiB"}]}
    return Recipe.model_validate({"name": "image", "os": {"tree": {"path": "tree"}}, "disks": [disk], **more})


def test_grub_cfg_is_minimal() -> None:
    text = grub.grub_cfg(
        recipe_of(), "/boot/vmlinuz", "/boot/initrd.img", "root=UUID=1-2 ro console=ttyS0,115200", "1-2"
    )
    assert text.splitlines()[1:-1] == [
        "set timeout=0",
        "set default=0",
        "menuentry 'image' {",
        "\tsearch --no-floppy --fs-uuid --set=root 1-2",
        "\tlinux16 /boot/vmlinuz root=UUID=1-2 ro console=ttyS0,115200",
        "\tinitrd16 /boot/initrd.img",
        "}",
    ]
    assert text.endswith(" \n") and text.splitlines()[-1].rstrip() == grub.FILLER
    assert "initrd" not in grub.grub_cfg(recipe_of(), "/boot/vmlinuz", None, "ro", "1-2").split("\n", 1)[1]


WORDS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


def shell_words(line: str) -> list[str]:
    """Read a line as GRUB's lexer does: blanks part words, single quotes hold anything, the rest must be plain."""
    words, rest = [], line.strip()
    while rest:
        if rest[0] == "'":
            word, _, rest = rest[1:].partition("'")
        else:
            word, _, rest = rest.partition(" ")
            assert cmdline.PLAIN.fullmatch(word), word
        words.append(word)
        rest = rest.lstrip()
    return words


@given(words=st.lists(WORDS, min_size=1), xen=st.booleans())
def test_parameters_arrive_as_written_or_are_refused(words: list[str], xen: bool) -> None:
    recipe = recipe_of(hypervisors=["kvm", "xen"] if xen else ["kvm"])
    impossible = any(char in "'\"\\" for word in words for char in word)
    if xen:
        impossible = impossible or not all(cmdline.PLAIN.fullmatch(word) for word in words)
    if impossible:
        with pytest.raises(UsageError):
            grub.grub_cfg(recipe, "/vmlinuz", None, " ".join(words), "1-2")
        return
    text = grub.grub_cfg(recipe, "/vmlinuz", None, " ".join(words), "1-2")
    assert len(text.encode()) % grub.BLOCK == 0
    (line,) = (line for line in text.splitlines() if line.startswith("\tlinux16 "))
    assert shell_words(line) == ["linux16", "/vmlinuz", *words]


def test_odd_kernel_paths_are_refused() -> None:
    with pytest.raises(UsageError):
        grub.grub_cfg(recipe_of(), "/vm linuz\n}", None, "ro", "1-2")


@pytest.mark.parametrize(("hypervisors", "room"), [(["kvm"], 2047 - len("BOOT_IMAGE=/vmlinuz ")), (["xen"], 1023)])
def test_more_parameters_than_the_kernel_takes_are_refused(hypervisors: list[str], room: int) -> None:
    recipe = recipe_of(hypervisors=hypervisors)
    assert "a" * room in grub.grub_cfg(recipe, "/vmlinuz", None, "a" * room, "1-2")
    with pytest.raises(UsageError, match=f"has {2048 if hypervisors == ['kvm'] else 1024} bytes"):
        grub.grub_cfg(recipe, "/vmlinuz", None, "a" * (room + 1), "1-2")


def images() -> tuple[bytes, bytes]:
    boot = bytearray(512)
    boot[510:] = b"\x55\xaa"
    boot[0x66] = 0xEB
    struct.pack_into("<Q", boot, 0x5C, 1)
    core = bytearray(512 * 5 - 100)
    struct.pack_into("<QHH", core, 500, 2, 4, 0x820)
    return bytes(boot), bytes(core)


def test_sectors_are_patched_into_both_images() -> None:
    boot, core = images()
    code, patched = grub.embedded(boot, core, 2048)
    assert len(code) == 440
    assert struct.unpack_from("<Q", code, 0x5C) == (2048,)
    assert code[0x66:0x68] == b"\x90\x90"
    assert struct.unpack_from("<QHH", patched, 500) == (2049, 4, 0x820)
    assert grub.embedded(boot, core, 1)[1] == core


def test_images_that_grub_did_not_make_are_refused() -> None:
    boot, core = images()
    for wrong_boot, wrong_core in (
        (boot[:-1], core),
        (boot, core[:400]),
        (bytes(512), core),
        (boot, core + bytes(600)),
    ):
        with pytest.raises(ImageError):
            grub.embedded(wrong_boot, wrong_core, 1)


def test_convert_never_writes_out_of_order(tmp_path: Any) -> None:
    for compress in ("none", "zlib", "zstd"):
        argv = convert_argv(tmp_path / "a.raw", tmp_path / "a.qcow2", compress)
        assert "-W" not in argv
        assert ("-c" in argv) == (compress != "none")
        assert argv[argv.index("-f") + 1] == "raw"


def test_info_of_an_overlay(tmp_path: Any) -> None:
    data = {
        "format": "qcow2",
        "virtual-size": 1024,
        "backing-filename": "base.qcow2",
        "backing-filename-format": "qcow2",
        "encrypted": True,
        "dirty-flag": True,
        "format-specific": {"data": {"corrupt": True, "compression-type": "zstd"}},
    }
    (tmp_path / "x").write_bytes(b"x" * 10)
    info = parse_info(data, (tmp_path / "x").stat())
    assert (info.backing_file, info.encrypted, info.dirty, info.corrupt) == ("base.qcow2", True, True, True)
    assert (info.virtual, info.file_size, info.compression) == (1024, 10, "zstd")
