"""What is read off a console, however it comes: in pieces, with escape sequences, without end."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.boot.console import FIRMWARE, LINE, Console
from roost.host.safetext import clean


def _fed(data: bytes, piece: int = 0, **options: object) -> Console:
    console = Console(**options)  # type: ignore[arg-type]
    for start in range(0, len(data), piece or max(1, len(data))):
        console.feed(data[start : start + (piece or len(data))], 1.0)
    console.close(1.0)
    return console


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("[    0.000000] Linux version 6.1.0-56-amd64 (gcc)", "kernel"),
        ("[    2.348185] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)", "panic"),
        ("[    4.4] Run /init as init process", "initrd"),
        ("Begin: Loading essential drivers ... done.", "initrd"),
        ("systemd[1]: systemd 252.39-1~deb12u1 running in system mode (+PAM)", "init"),
        ("Welcome to \x1b[1mDebian GNU/Linux 12 (bookworm)\x1b[0m!", "init"),
        ("ALERT!  UUID=6a2f does not exist.  Dropping to a shell!", "no-root"),
        ("roost: no root file system: root=UUID=1 is on no disk", "no-root"),
        ("Gave up waiting for root file system device.  Common problems:", "no-root"),
        ("[   10.1] reboot: System halted", "halted"),
        ("[   10.1] reboot: Power down", "power-down"),
        ("error: file `/boot/vmlinuz-6.1' not found.", "loader-error"),
        ("roost: job started", "job-started"),
        ("virtio_blk virtio0: [vda] 32768 512-byte logical blocks (16.8 MB/16.0 MiB)", "disk-seen"),
        ("[  OK  ] Stopped target getty.target - Login Prompts.", "shutting-down"),
        ("[\x1b[0;32m  OK  \x1b[0m] Stopped target \x1b[0;1;39mmulti-user.target", "shutting-down"),
        ("[  OK  ] Reached target poweroff.target - System Power Off.", "shutting-down"),
        ("roost: power button", "shutting-down"),
        ("[FAILED] Failed to start ssh.service - OpenBSD Secure Shell server.", "unit-failed"),
    ],
)
def test_signs(line: str, kind: str) -> None:
    assert _fed(f"{line}\r\n".encode()).has(kind)


@pytest.mark.parametrize(
    "line",
    ["Last login: Mon Nov 23 on ttyS0", "Stopped target initrd.target", "the login: of a job", "panic", "job started"],
)
def test_what_is_not_a_sign(line: str) -> None:
    assert _fed(f"{line}\n".encode()).signs == {}


def test_a_prompt_counts_when_the_console_falls_silent() -> None:
    console = Console()
    console.feed(b"\r\nDebian GNU/Linux 12 host ttyS0\r\n\r\nhost login: ", 3.0)
    assert not console.has("login")
    console.settle(3.5)
    assert console.has("login")


def test_a_line_counts_when_it_is_whole() -> None:
    console = Console()
    console.feed(b"roost: job finished: exit 1", 1.0)
    console.settle(2.0)
    assert console.exits == []
    console.feed(b"27\r\n", 2.0)
    assert console.exits == [127]


def test_the_disks_a_kernel_found() -> None:
    lines = b"[vda] 32768 512-byte logical blocks\n vda: vda1 vda2\nsd 0:0:0:0: [sda] 2,048 512-byte logical blocks\n"
    assert _fed(lines).disks == {"vda", "sda"}


def test_firmware_says_what_it_boots() -> None:
    console = _fed(b"Booting from Hard Disk...\nBooting from 0000:7c00\n", signs=FIRMWARE)
    assert {"boot-disk", "boot-sector"} <= console.signs.keys()
    assert _fed(b"No bootable device.\n", signs=FIRMWARE).has("not-bootable")


def test_patterns_are_looked_for_line_by_line() -> None:
    console = _fed(b"one\ntwo\n", patterns=["^two$", "one.two"])
    assert console.matched == {"^two$": "two"}
    assert console.missing


@given(
    st.lists(
        st.sampled_from([b"a\x1b[31mred\x1b[0m", b"\r\n", b"\x1b]0;title\x07", b"Kernel panic - not syncing: x\n"])
    )
)
def test_pieces_make_no_difference(parts: list[bytes]) -> None:
    data = b"".join(parts)
    whole, pieces = _fed(data), _fed(data, piece=3)
    assert whole.tail(400) == pieces.tail(400)
    assert whole.signs.keys() == pieces.signs.keys()


@given(st.binary(max_size=300))
def test_clean_text_can_be_shown(data: bytes) -> None:
    assert all(char.isprintable() for char in clean(data))


@given(st.binary(max_size=2000), st.integers(1, 50))
def test_nothing_breaks_it(data: bytes, piece: int) -> None:
    console = _fed(data, piece=piece)
    assert console.size == len(data)
    assert all(char.isprintable() or char == "\n" for char in console.tail())


def test_a_hostile_console_costs_little_memory_and_time() -> None:
    console = Console(patterns=["never"])
    block = b"\x1b[31m<script>alert(1)</script>\xff\xfe" * 1000
    start = time.process_time()
    for _ in range(200):
        console.feed(block, 1.0)
    assert len(console.open_line) <= LINE
    assert len(console.tail(1000)) < 400 * LINE
    # 7 MB here; 50 MB must stay far below the minutes that a guest takes to write them.
    assert time.process_time() - start < 5
