"""What is read off a screen and out of memory: only what is really there, and never more than text and pixels."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from roost.boot.drive import Screen
from roost.boot.evidence import Evidence
from roost.boot.postmortem import TEXT_SIZE, last_words, png, screen_text
from roost.boot.run import readable


def test_the_kernels_last_words_are_in_its_memory(tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    memory.write_bytes(
        b"\0\1Kernel panic - not syncing: %s\n\0" + b"\xff" * 5000
        + b"\x07\0\0\0Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\0\0\x01\xff"
        + b"---[ end Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100 ]---\0"
        + b'VFS: Cannot open root device "UUID=1" or unknown-block(0,0): error -6\0'
    )  # fmt: skip
    assert last_words(memory) == (
        "Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100",
        'VFS: Cannot open root device "UUID=1" or unknown-block(0,0): error -6',
    )


def test_a_kernel_that_is_well_has_none(tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    assert last_words(memory) == ()
    memory.write_bytes(b"")
    assert last_words(memory) == ()
    memory.write_bytes(b'Kernel panic - not syncing: %s\0VFS: Cannot open root device "%s" or %s: error %d\0')
    assert last_words(memory) == ()


def test_a_text_screen() -> None:
    lines = ["SeaBIOS (version 1.16)", "", "No bootable device."]
    text = "".join(line.ljust(80) for line in lines).ljust(2000)
    memory = b"".join(bytes([byte, 7]) for byte in text.encode())
    assert screen_text(memory) == "SeaBIOS (version 1.16)\n\nNo bootable device."
    assert screen_text(memory[:-2]) == ""
    assert screen_text(b"\x01" * TEXT_SIZE) == ""
    assert screen_text(b"\0" * TEXT_SIZE) == ""


def test_a_picture() -> None:
    pixels = bytes(range(18))
    found = png(b"P6\n3 2\n255\n" + pixels)
    assert found is not None
    data, size = found
    assert size == (3, 2)
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    begin = data.index(b"IDAT")
    (length,) = struct.unpack(">I", data[begin - 4 : begin])
    assert zlib.decompress(data[begin + 4 :][:length]) == b"\0" + pixels[:9] + b"\0" + pixels[9:]


@pytest.mark.parametrize(
    "content", [b"", b"P5\n1 1\n255\nx", b"P6\n3 2\n255\n1", b"P6\n99999 99999\n255\n", b"P6\n0 9\n255\n"]
)
def test_what_is_not_a_picture(content: bytes) -> None:
    assert png(content) is None


def test_the_text_of_a_screen_that_linux_has_scrolled_is_not_shown() -> None:
    """A failed job's verdict once quoted a line of the kernel's start as the screen's last."""
    screen = Screen(b"png", "No bootable device.")
    early = Evidence(goal="job", stop="timeout", phases=(("firmware", 0.0), ("boot-loader", 0.5)))
    late = Evidence(goal="job", stop="timeout", phases=(("firmware", 0.0), ("kernel", 1.0)))
    assert readable(screen, early) == screen
    assert readable(screen, late) == Screen(b"png", "")
