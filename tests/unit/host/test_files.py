"""What stands where a file is expected: FIFOs, devices, endless files are told, never opened and waited for."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from roost.host import files, jsontext


def test_a_regular_file_is_read_through_a_link(tmp_path: Path) -> None:
    """What people name by a link is a file all the same."""
    (tmp_path / "real").write_bytes(b"text")
    (tmp_path / "link").symlink_to("real")
    assert files.read_bytes(tmp_path / "link") == b"text"
    assert files.unfit(tmp_path / "link") is None


def test_a_fifo_is_told_and_not_waited_for(tmp_path: Path) -> None:
    """Opening it would wait for a writer, for ever."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(files.UnfitFileError, match="a FIFO, not a file"):
        files.read_bytes(fifo)
    assert files.unfit(fifo) == "a FIFO, not a file"


def test_a_link_to_a_device_is_told() -> None:
    """/dev/zero never ends; /dev/null would be an empty file."""
    for device in ("/dev/zero", "/dev/null"):
        with pytest.raises(files.UnfitFileError, match="a device, not a file"):
            files.read_bytes(Path(device))


def test_a_socket_and_a_folder_are_told(tmp_path: Path) -> None:
    """Neither has content."""
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        with pytest.raises(files.UnfitFileError, match="a socket"):
            files.read_bytes(tmp_path / "s")
    with pytest.raises(IsADirectoryError, match="a directory, not a file"):
        files.read_bytes(tmp_path)


def test_what_is_exchanged_before_it_is_opened_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kind is looked at again once the file is open."""
    fifo, plain = tmp_path / "fifo", tmp_path / "plain"
    os.mkfifo(fifo)
    plain.touch()
    as_plain = plain.stat()
    monkeypatch.setattr(Path, "stat", lambda _path, **_options: as_plain)
    with pytest.raises(files.UnfitFileError, match="a FIFO"):
        files.open_regular(fifo)


def test_no_more_than_the_bound_is_read(tmp_path: Path) -> None:
    """The file may be sparse and have any size."""
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(files.UnfitFileError, match="larger than 16 MiB") as told:
        files.read_bytes(large)
    assert told.value.errno == errno.EFBIG
    (tmp_path / "fits").write_bytes(b"1234")
    assert files.read_bytes(tmp_path / "fits", 4) == b"1234"
    with pytest.raises(files.UnfitFileError, match="larger than 3 bytes"):
        files.read_bytes(tmp_path / "fits", 3)


@pytest.mark.parametrize("name", ["-", "/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"])
def test_standard_input_may_be_a_pipe_but_is_bounded(name: str) -> None:
    """`cmd | inv lint /dev/stdin` works, `yes |` ends."""
    code = f"from roost.host import files; print(len(files.read_argument({name!r}, 1000)))"
    fits = subprocess.run([sys.executable, "-c", code], input=b"x" * 1000, capture_output=True, check=False)
    assert fits.stdout == b"1000\n", fits.stderr
    over = subprocess.run([sys.executable, "-c", code], input=b"x" * 100_000, capture_output=True, check=False)
    assert b"standard input" in over.stderr and b"larger than 1000 bytes" in over.stderr


def test_a_pipe_that_the_shell_opened_is_read() -> None:
    """Process substitution: `inv lint <(generate)`."""
    reader, writer = os.pipe()
    os.write(writer, b"content")
    os.close(writer)
    assert files.read_argument(f"/dev/fd/{reader}") == b"content"
    os.close(reader)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"a":' * 100_000,
        "[" * 100_000 + "]" * 100_000,
        "[" * 200 + "]" * 200,
        "NaN",
        "[-Infinity]",
        "1e999",
        "9" * 10_000,
        "",
        "{",
        b"\xff\xfe\x00",
    ],
)
def test_hostile_json_is_a_value_error(text: str | bytes) -> None:
    """One kind of error for whatever is not plain JSON."""
    with pytest.raises(ValueError, match=r"."):
        jsontext.loads(text)


def test_ordinary_json_is_read(tmp_path: Path) -> None:
    """Nesting as tools write it, numbers, and an object where one is asked for."""
    (tmp_path / "a").write_text('{"a": [1, 2.5, {"b": null}]}')
    assert jsontext.read(tmp_path / "a") == {"a": [1, 2.5, {"b": None}]}
    assert jsontext.loads("[" * 60 + "]" * 60)
    with pytest.raises(ValueError, match="not a JSON object"):
        jsontext.load_object("[1]")


@pytest.mark.parametrize("name", ["a\0b", "dir/\0", "\ud800"])
def test_a_name_that_no_file_can_have_is_told(name: str, tmp_path: Path) -> None:
    """A NUL byte in a name out of a recipe, a file of jobs or a manifest: an `OSError` as for any other name."""
    path = tmp_path / name
    for read in (files.read_bytes, files.open_regular, files.unfit, files.require_replaceable):
        with pytest.raises(files.UnfitFileError, match="not a valid file name"):
            read(path)
    with pytest.raises(files.UnfitFileError, match="not a valid file name"):
        files.read_argument(name)
