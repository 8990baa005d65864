"""Writing where a user says: devices, FIFOs and links stay what they are. Nothing here touches the real /dev."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from roost.errors import HostError, UsageError
from roost.host import output

Writer = Callable[[Path, bytes], None]


def placed(path: Path, data: bytes) -> None:
    """Write by moving a finished file there, as large results are."""
    made = path.parent / "made"
    made.write_bytes(data)
    output.place(made, path)
    made.unlink(missing_ok=True)


@pytest.fixture(params=[output.write, placed], ids=["write", "place"])
def writer(request: pytest.FixtureRequest) -> Writer:
    """Both ways of writing keep the same rules."""
    chosen: Writer = request.param
    return chosen


@pytest.mark.skipif(os.geteuid() != 0, reason="mknod needs root")
def test_a_device_gets_the_bytes_and_stays(tmp_path: Path, writer: Writer) -> None:
    """A copy of /dev/null: `-o /dev/null` as root broke the whole machine."""
    null = tmp_path / "null"
    try:
        os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        null.open("wb").close()
    except PermissionError:
        pytest.skip("no devices here")
    writer(null, b"x" * 100_000)
    assert stat.S_ISCHR(null.stat().st_mode)
    assert [one.name for one in tmp_path.iterdir()] == ["null"]
    (tmp_path / "link").symlink_to("null")
    writer(tmp_path / "link", b"x")
    assert stat.S_ISCHR(null.stat().st_mode) and (tmp_path / "link").is_symlink()


def test_a_full_device_is_told(tmp_path: Path, writer: Writer) -> None:
    """/dev/full refuses each write; the link to it stays."""
    (tmp_path / "full").symlink_to("/dev/full")
    with pytest.raises(HostError, match="No space left"):
        writer(tmp_path / "full", b"x")
    assert (tmp_path / "full").is_symlink() and len(list(tmp_path.glob("[!m]*"))) == 1


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path, writer: Writer) -> None:
    """Also over two links, into another directory, and where the target is not there yet."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other/real").write_text("old")
    (tmp_path / "second").symlink_to("other/real")
    (tmp_path / "first").symlink_to(tmp_path / "second")
    writer(tmp_path / "first", b"new")
    assert (tmp_path / "first").is_symlink() and (tmp_path / "second").is_symlink()
    assert (tmp_path / "other/real").read_bytes() == b"new"
    assert [one.name for one in (tmp_path / "other").iterdir()] == ["real"]
    (tmp_path / "dangling").symlink_to("other/later")
    writer(tmp_path / "dangling", b"made")
    assert (tmp_path / "dangling").is_symlink() and (tmp_path / "other/later").read_bytes() == b"made"


def test_links_in_a_circle_are_told(tmp_path: Path, writer: Writer) -> None:
    """As open(2) does."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(UsageError, match="symbolic links"):
        writer(tmp_path / "a", b"x")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="Not a directory"):
        output.write(tmp_path / "file/x", b"x")


def test_a_fifo_with_a_reader_gets_all(tmp_path: Path, writer: Writer) -> None:
    """More than a pipe holds, to a reader that comes late."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    data, seen = os.urandom(1_000_000), []
    reader = threading.Timer(0.3, lambda: seen.append(fifo.read_bytes()))
    reader.start()
    writer(fifo, data)
    reader.join(10)
    assert seen == [data] and fifo.is_fifo()


def test_a_fifo_without_a_reader_is_not_waited_for_without_end(
    tmp_path: Path, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """open(2) would wait for ever; so would write(2) for a reader that has stopped."""
    monkeypatch.setattr(output, "READER", 0.2)
    monkeypatch.setattr(output, "STALLED", 0.2)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with pytest.raises(UsageError, match="nobody reads"):
        writer(fifo, b"x")
    held = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(HostError, match="nothing read the data"):
        writer(fifo, b"x" * 1_000_000)
    os.close(held)
    assert fifo.is_fifo()


def test_what_cannot_hold_a_file_is_refused(tmp_path: Path, writer: Writer) -> None:
    """A directory, a socket, a directory that is not there."""
    with pytest.raises(UsageError, match="a directory, not a file"):
        output.write(tmp_path, b"x")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s"))
        with pytest.raises(UsageError, match="a socket"):
            writer(tmp_path / "s", b"x")
    with pytest.raises(UsageError, match="no such directory"):
        output.write(tmp_path / "none/x", b"x")


@pytest.mark.skipif(os.geteuid() != 0, reason="mknod needs root")
def test_a_block_device_is_refused(tmp_path: Path, writer: Writer) -> None:
    """It may be somebody's disk."""
    try:
        os.mknod(tmp_path / "disk", 0o666 | stat.S_IFBLK, os.makedev(7, 250))
    except PermissionError:
        pytest.skip("no devices here")
    with pytest.raises(UsageError, match="a block device"):
        writer(tmp_path / "disk", b"x")


def test_mode_stays_and_nothing_else_is_left(tmp_path: Path, writer: Writer) -> None:
    """A file that only its owner reads is not opened to all by being written again; the longest name works."""
    target = tmp_path / ("n" * 255)
    target.write_text("old")
    target.chmod(0o600)
    writer(target, b"new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o600 and target.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == [target.name]


@pytest.mark.skipif(os.geteuid() != 0, reason="chown needs root")
def test_a_strangers_link_in_a_directory_for_all_is_not_followed(tmp_path: Path, writer: Writer) -> None:
    """Else whoever plants /tmp/x.sub decides which of our files is written over."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    (shared / "x").symlink_to(tmp_path / "mine")
    os.chown(shared / "x", 1234, 1234, follow_symlinks=False)
    with pytest.raises(HostError, match="symbolic link of another user"):
        writer(shared / "x", b"x")
    assert not (tmp_path / "mine").exists()


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_standard_output_keeps_its_place(name: str, tmp_path: Path) -> None:
    """What was written before stays before, what comes later later: the file is not replaced under the shell."""
    code = f"""
import sys
from pathlib import Path
from roost.host import output
print("before")
output.write(Path({name!r}), b"middle\\n")
print("after")
"""
    with (tmp_path / "out").open("wb") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert (tmp_path / "out").read_text() == "before\nmiddle\nafter\n"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.count(b"\n") == 3


def test_holes_stay_holes(tmp_path: Path) -> None:
    """An io disk is mostly empty; a copy to another file system must not fill it."""
    made, copy = tmp_path / "made", tmp_path / "copy"
    with made.open("wb") as file:
        file.write(b"head")
        file.truncate(64 << 20)
    with output._temporary(copy) as (temporary, descriptor):
        output._copy(made, descriptor)
        temporary.rename(copy)
    assert copy.stat().st_size == 64 << 20 and copy.stat().st_blocks * 512 < 4 << 20
    assert copy.open("rb").read(4) == b"head"


def test_where_a_large_result_is_made(tmp_path: Path) -> None:
    """On the target's file system; nowhere near a device."""
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to("other/real")
    (tmp_path / "null").symlink_to("/dev/null")
    assert output.directory(tmp_path / "link") == tmp_path / "other"
    assert output.directory(tmp_path / "null") is None
    assert output.directory(Path("/dev/stdout")) is None
    with pytest.raises(UsageError, match="a directory"):
        output.directory(tmp_path)


def test_a_full_device_is_not_a_full_disk() -> None:
    with pytest.raises(HostError) as raised:
        output.write(Path("/dev/full"), b"x" * 10)
    assert "device" in str(raised.value) and "build elsewhere" not in str(raised.value)


def test_a_name_with_a_zero_byte_is_told_in_plain_words(tmp_path: Path, writer: Writer) -> None:
    with pytest.raises(UsageError, match=r"is not a valid file name \(leave out the zero byte\)"):
        writer(tmp_path / "a\0b", b"x")
