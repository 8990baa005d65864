"""The sha256 of files with holes is that of the same bytes written out, whatever the file system tells of holes."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roost.host import checksum, files

MiB = 1 << 20
KiB = 1 << 10


def _sparse(path: Path, *parts: int) -> bytes:
    """Write data (a size above 0) and holes (below 0) in turn; return what a reader of every byte sees."""
    whole = bytearray()
    with path.open("wb") as file:
        for number, size in enumerate(parts):
            data = bytes((number + 1, 0, 255)) * (size // 3 + 1) if size > 0 else b""
            file.write(data[: max(size, 0)])
            file.seek(max(-size, 0), os.SEEK_CUR)
            whole += data[:size] if size > 0 else bytes(-size)
        file.truncate(len(whole))
    return bytes(whole)


@pytest.mark.parametrize(
    "parts",
    [
        (),
        (1,),
        (-1,),
        (-3 * MiB - 5,),
        (-2 * MiB, 5),
        (5, -2 * MiB),
        (100 * KiB, -MiB, 100 * KiB),
        (-64 * KiB, 64 * KiB, -3 * MiB, 64 * KiB, -64 * KiB),
        (3 * MiB + 1, -5 * MiB, 2 * MiB, -1),
    ],
)
def test_holes_count_as_zeros(parts: tuple[int, ...], tmp_path: Path) -> None:
    whole = _sparse(tmp_path / "disk", *parts)
    assert checksum.sha256(tmp_path / "disk") == hashlib.sha256(whole).hexdigest()


@settings(max_examples=25)
@given(parts=st.lists(st.integers(-100 * KiB, 100 * KiB), max_size=6))
def test_any_mixture_of_data_and_holes(parts: list[int], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("holes") / "disk"
    whole = _sparse(path, *parts)
    assert checksum.sha256(path) == hashlib.sha256(whole).hexdigest()


def test_a_hole_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "disk"
    whole = _sparse(path, 64 * KiB, -64 * MiB, 64 * KiB)
    taken = []
    preadv = os.preadv

    def counted(descriptor: int, buffers: list[memoryview], at: int) -> int:
        taken.append(preadv(descriptor, buffers, at))
        return taken[-1]

    monkeypatch.setattr(os, "preadv", counted)
    assert checksum.sha256(path) == hashlib.sha256(whole).hexdigest()
    # What the file system has stored of it, which may be all.
    assert 128 * KiB <= sum(taken) <= max(MiB, path.stat().st_blocks * 512)


def _refuses(number: int) -> Callable[..., int]:
    def seek(_descriptor: int, _at: int, _whence: int) -> int:
        raise OSError(number, os.strerror(number))

    return seek


def _all_data(descriptor: int, at: int, whence: int) -> int:
    """Answer as Linux does for a file system that knows no holes: all is data, up to the end."""
    size = os.fstat(descriptor).st_size
    if at >= size:
        raise OSError(errno.ENXIO, "no such data")
    return at if whence == os.SEEK_DATA else size


def _stands_still(_descriptor: int, at: int, _whence: int) -> int:
    """Say of one place that it is data and a hole, as of a file that changes between the two questions."""
    return at


@pytest.mark.parametrize("seek", [_refuses(errno.EINVAL), _refuses(errno.ESPIPE), _all_data, _stands_still])
def test_a_file_system_that_knows_no_holes(
    seek: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _sparse(tmp_path / "disk", 100 * KiB, -3 * MiB, 100 * KiB, -MiB)
    monkeypatch.setattr(os, "lseek", seek)
    assert checksum.sha256(tmp_path / "disk") == hashlib.sha256(whole).hexdigest()


def test_a_file_that_tells_no_size_is_read() -> None:
    # Of /proc: 0 bytes by stat(2), and no seeking to data.
    status = Path("/proc/version")
    assert status.stat().st_size == 0
    assert checksum.sha256(status) == hashlib.sha256(status.read_bytes()).hexdigest()


@pytest.mark.parametrize("parts", [(3 * MiB,), (MiB, -8 * MiB, MiB), (MiB, -8 * MiB)])
def test_a_file_that_shrinks_meanwhile_ends(
    parts: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "disk"
    whole = _sparse(path, *parts)
    preadv = os.preadv

    def cutting(descriptor: int, buffers: list[memoryview], at: int) -> int:
        count = preadv(descriptor, buffers, at)
        os.truncate(path, 4 * KiB)
        return count

    monkeypatch.setattr(os, "preadv", cutting)
    # What had been read before, and nothing of what was there behind it.
    assert checksum.sha256(path) == hashlib.sha256(whole[:MiB]).hexdigest()


def test_a_file_that_grows_meanwhile_is_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "disk"
    _sparse(path, 64 * KiB, -MiB)
    preadv = os.preadv
    grown: list[bool] = []

    def growing(descriptor: int, buffers: list[memoryview], at: int) -> int:
        if not grown:
            grown.append(True)
            with path.open("ab") as file:
                file.write(b"more" * KiB)
        return preadv(descriptor, buffers, at)

    monkeypatch.setattr(os, "preadv", growing)
    assert checksum.sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(files.UnfitFileError):
        checksum.sha256(tmp_path / "fifo")
    with pytest.raises(IsADirectoryError):
        checksum.sha256(tmp_path)
