"""What a guest does not write to its serial port: its screen, and the kernel's last messages in its memory.

A screen exists only with `machine.vnc`. A kernel without a console on the serial port (`console=tty0` alone) still
writes its messages to its log buffer in memory, which is searched for the text of a panic. What is found is untrusted,
and only ever shown as text.
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from pathlib import Path

#: The memory of a text screen: 25 lines of 80 characters, each with a colour byte (IBM VGA, mode 3).
TEXT_SCREEN, TEXT_SIZE = 0xB8000, 80 * 25 * 2
#: Sizes in pixels of a screen in text mode, with characters 9 or 8 wide and 16 high.
TEXT_MODES = ((720, 400), (640, 400))
#: A guest's screen has no more pixels than this.
PIXELS = 4096 * 4096
#: Messages of the kernel with a value filled in; the same text with %s is a format string, not a log message.
_LAST_WORDS = re.compile(
    rb"Kernel panic - not syncing: (?!%)[ -~]{3,200}|VFS: (?:Cannot open root device \"|Unable to mount root fs on"
    rb" unknown-block\()(?!%)[ -~]{1,200}"
)
_MESSAGES = 4


def last_words(memory: Path) -> tuple[str, ...]:
    """Return a kernel's last messages from a file of its memory; empty when there are none."""
    if not memory.exists() or not memory.stat().st_size:
        return ()
    with memory.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found: dict[str, None] = {}
        for match in _LAST_WORDS.finditer(content):
            # `---[ end Kernel panic ... ]---` repeats the message.
            if content[max(0, match.start() - 9) : match.start()] != b"---[ end ":
                found[match[0].decode("ascii")] = None
            if len(found) == _MESSAGES:
                break
    return tuple(found)


def screen_text(memory: bytes) -> str:
    """Return the lines of a text screen from its 4000 bytes; empty when it is not one."""
    characters = memory[:TEXT_SIZE:2]
    if len(characters) < TEXT_SIZE // 2 or any(byte < 0x20 and byte for byte in characters):
        return ""
    text = characters.replace(b"\0", b" ").decode("cp437")
    lines = [text[start : start + 80].rstrip() for start in range(0, len(text), 80)]
    return "\n".join(lines).strip("\n")


def png(ppm: bytes) -> tuple[bytes, tuple[int, int]] | None:
    """Return a PPM picture (P6, 8 bits) as PNG, and its width and height; None for anything else."""
    head = re.match(rb"P6\s+(?:#[^\n]*\s+)*(\d{1,5})\s+(\d{1,5})\s+255\s", ppm)
    if head is None:
        return None
    width, height = int(head[1]), int(head[2])
    pixels = ppm[head.end() :]
    if not 0 < width * height <= PIXELS or len(pixels) < 3 * width * height:
        return None
    # Each row of a PNG begins with its filter type: 0, none.
    rows = b"".join(b"\0" + pixels[3 * width * row : 3 * width * (row + 1)] for row in range(height))
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    ]
    written = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + written, (width, height)
