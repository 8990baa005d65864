"""The read-back's own readers: partition tables, grub.cfg, fstab, kernels, dpkg's status. No input makes them raise."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.verify import booting, tables
from roost.verify.booting import Entry, Mount


def mbr(*entries: tuple[int, int, int], code: bytes = b"") -> bytes:
    """Return a first sector with (type, first sector, sectors) entries."""
    sector = bytearray(code.ljust(446, b"\0"))
    for kind, start, count in entries:
        sector += struct.pack("<B3xB3xII", 0, kind, start, count)
    return bytes(sector.ljust(510, b"\0") + b"\x55\xaa")


def test_mbr() -> None:
    table = tables.read(mbr((0x83, 2048, 4096), (0x82, 6144, 10), code=b"\xeb\x63GRUB"))
    assert (table.kind, table.loader, table.mistake) == ("mbr", True, None)
    assert [(seen.number, seen.type, seen.offset, seen.size) for seen in table.partitions] == [
        (1, "83", 1 << 20, 2 << 20),
        (2, "82", 3 << 20, 5120),
    ]
    assert tables.read(mbr((0x83, 8, 8), (0x83, 15, 8))).mistake == "partitions 1 and 2 overlap"


def test_no_table() -> None:
    assert tables.read(bytes(1024)).kind is None
    assert tables.read(b"").kind is None
    assert tables.read(mbr((0x83, 1, 1), code=bytes(82) + b"FAT32   ")).kind is None


def test_gpt_is_trusted_only_with_right_sums() -> None:
    head = mbr((0xEE, 1, 100))
    assert tables.read(head).mistake == "the protective MBR is not followed by a GPT header"
    header = b"EFI PART" + struct.pack("<III", 0x10000, 92, 1) + bytes(72)
    assert tables.read(head + header.ljust(512, b"\0")).mistake == "the GPT header's checksum is wrong"


@given(st.binary(max_size=2048))
def test_any_bytes_as_table(data: bytes) -> None:
    tables.read(data)
    tables.read(mbr((0xEE, 1, 1)) + b"EFI PART" + data)


def test_grub_cfg_is_read_as_grub_does() -> None:
    text = """
# a comment
set timeout=0
submenu 'more' {
menuentry 'one # not a comment' --class x {
    search --set=root --fs-uuid 1-2   # why
    linux ($root)/boot/vm\\ linuz root=UUID=1-2 "a b"'c' ro
    initrd /boot/ucode /boot/initrd
}
}
menuentry "two \\"2\\"" {
    chainloader +1
}
"""
    assert booting.menu(text) == [
        Entry(
            "one # not a comment",
            "($root)/boot/vm linuz",
            ("root=UUID=1-2", "a bc", "ro"),
            ("/boot/ucode", "/boot/initrd"),
        ),
        Entry('two "2"', None, (), ()),
    ]


def test_fstab() -> None:
    assert booting.mounts("# x\nUUID=a / ext4 ro,noatime 0 1\nLABEL=b /a\\040b vfat\nbad\n") == [
        Mount("UUID=a", "/", "ext4", ("ro", "noatime")),
        Mount("LABEL=b", "/a b", "vfat", ()),
    ]


def test_kernel_version() -> None:
    head = bytearray(2048)
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x20E, 0x100)
    head[0x300:0x310] = b"6.1.0-1-x (me)\0\0"
    assert booting.kernel_version(bytes(head)) == "6.1.0-1-x"
    assert booting.kernel_version(bytes(2048)) is None


@given(st.text(), st.binary(max_size=700))
def test_any_text_is_read_without_raising(text: str, data: bytes) -> None:
    booting.menu("menuentry x {\n" + text)
    booting.mounts(text)
    booting.kernel_version(data)


LONG = {
    "initrds": "menuentry x {\n" + "initrd y\n" * 110_000,
    "initrds of a line": "menuentry x {\ninitrd" + " y" * 500_000,
    "quotes": "'" * 1_000_001,
    "an open quote": '"' + '\\"' * 500_000,
    "open quotes": "\"'" * 500_000 + '"',
    "backslashes": "\\" * 1_000_001,
    "hashes": "x" + "#" * 1_000_000,
    "a word": "x" * 1_000_000 + "'",
    "a word of octals": "/x\\04" * 200_000 + " / ext4",
}


@pytest.mark.parametrize("name", LONG)
def test_time_is_in_proportion_to_the_text(name: str) -> None:
    begin = time.process_time()
    booting.menu(LONG[name])
    booting.mounts(LONG[name])
    assert time.process_time() - begin < 10


def test_a_menu_entry_without_a_kernel_and_one_that_is_not_closed() -> None:
    text = "menuentry a {\ninitrd /i\n}\nlinux /stray\nmenuentry b {\nlinux /k q\n"
    assert booting.menu(text) == [Entry("a", None, (), ("/i",))]
