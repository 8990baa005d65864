"""Long lines on a narrow terminal: broken between words, below the column that they are of."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import termios

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.cli import fold


def test_a_line_that_fits_is_as_it_was() -> None:
    text = "a  b\n\n    c\n"
    assert fold.folded(text, 40) == text
    assert fold.folded("x " * 100, None) == "x " * 100


def test_a_sentence_goes_on_a_little_in() -> None:
    assert fold.folded("old.sub:4:11: error: 'disk.img' is not in transfer_input_files [tif-missing]", 60) == (
        "old.sub:4:11: error: 'disk.img' is not in\n  transfer_input_files [tif-missing]"
    )


def test_the_last_column_goes_on_under_itself() -> None:
    assert fold.folded("smoke  built  busybox that runs one job and powers off", 40) == (
        "smoke  built  busybox that runs one job\n              and powers off"
    )


def test_a_column_without_room_goes_below() -> None:
    assert fold.folded("  cd build/smoke && condor_submit kvm.sub  run it in your pool", 45) == (
        "  cd build/smoke && condor_submit kvm.sub\n      run it in your pool"
    )


def test_a_row_of_many_columns_is_broken_between_cells() -> None:
    row = "debian-cloud  bookworm  6.1.192-2  lz4  13.5 MiB  module  built in  no  yes"
    assert fold.folded(row, 50) == ("debian-cloud  bookworm  6.1.192-2  lz4  13.5 MiB\n    module  built in  no  yes")


@pytest.mark.parametrize(
    "line",
    [
        "    vm_disk              = root.qcow2:vda:w:qcow2, io.raw:vdb:w:raw, more.raw:vdc:w:raw",
        "- vm_disk = root.qcow2:vda:w:qcow2, io.raw:vdb:w:raw, more.raw:vdc:w:raw",
        "  | [    0.000000] Command line: root=/dev/vda1 console=ttyS0 and much more",
        "/a/path/that/is/much/longer/than/any/terminal/is/wide/and/has/no/blank/in/it",
    ],
)
def test_what_is_copied_stays_whole(line: str) -> None:
    assert fold.folded(line, 40) == line


def test_a_command_in_back_quotes_is_one_word() -> None:
    assert "\n  `apt-get install mmdebstrap`" in fold.folded(
        "mmdebstrap is not installed: `apt-get install mmdebstrap` installs it", 45
    )


@given(st.text(st.sampled_from("ab/ `\n|=-"), max_size=200), st.integers(fold.NARROWEST, 60))
def test_no_word_is_lost_and_no_line_is_too_long_that_could_be_broken(text: str, columns: int) -> None:
    shown = fold.folded(text, columns)
    assert shown.split() == text.split()
    for line in shown.split("\n"):
        if len(line) > columns and line not in text.split("\n"):
            # One word, in back quotes perhaps, with what stands before it.
            assert len(re.findall(r"`[^`\n]+`\S*|\S+", line)) == 1


def test_only_a_terminal_has_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    assert fold.columns(io.StringIO()) is None
    near, far = pty.openpty()
    with os.fdopen(far, "w") as stream, os.fdopen(near, "rb"):
        fcntl.ioctl(stream.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", 24, 61, 0, 0))
        assert fold.columns(stream) == 61
        monkeypatch.setenv("CI", "true")
        assert fold.columns(stream) is None
