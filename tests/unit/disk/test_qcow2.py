"""The header of a stranger's qcow2: read before any tool is, and what it must not say."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.errors import ImageError
from roost.existing import image_file
from roost.host import qcow2
from roost.host.qcow2 import NotQcow2Error
from roost.iodisk import returned


def _create(path: Path, *options: str, size: str | None = "8M") -> Path:
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), *([size] if size else [])]
    subprocess.run(argv, check=True, cwd=path.parent)
    return path


def _patched(path: Path, offset: int, data: bytes) -> Path:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
    return path


@pytest.mark.parametrize("compat", ["0.10", "1.1"])
def test_what_qemu_img_writes(tmp_path: Path, compat: str) -> None:
    image = _create(tmp_path / "a.qcow2", "-o", f"compat={compat}")
    header = qcow2.read(image.read_bytes()[: qcow2.HEAD])
    assert header == qcow2.Header(2 if compat == "0.10" else 3, 8 << 20, None, None, encrypted=False)
    assert image_file.look(image) == image_file.Original(image, "qcow2", 8 << 20)
    image_file.check(image_file.look(image), tmp_path / "log")


def test_every_cluster_size(tmp_path: Path) -> None:
    for size in ("512", "64k", "2M"):
        image = _create(tmp_path / f"{size}.qcow2", "-o", f"cluster_size={size}", size="1G")
        assert image_file.look(image).size == 1 << 30


def test_a_raw_disk_is_raw_whatever_is_in_it(tmp_path: Path) -> None:
    raw = tmp_path / "disk.raw"
    raw.write_bytes(bytes(1 << 20))
    assert image_file.look(raw) == image_file.Original(raw, "raw", 1 << 20)
    raw.write_bytes(_create(tmp_path / "a.qcow2").read_bytes())
    assert image_file.look(raw).format == "qcow2"
    assert image_file.look(raw, "raw") == image_file.Original(raw, "raw", -(-raw.stat().st_size // 512) * 512)


def _refused(image: Path, words: str) -> None:
    with pytest.raises(ImageError, match=words):
        image_file.look(image)


@pytest.mark.parametrize(
    "backing",
    [
        "/etc/passwd",
        'json:{"driver":"raw","file":{"driver":"file","filename":"/etc/shadow"}}',
        "nbd://127.0.0.1/x",
        "../base-0123456789ab.qcow2",
        "base-0123456789ab.qcow2",
        "base-0123456789AB.qcow2",
    ],
)
def test_an_unknown_backing_file_is_refused(tmp_path: Path, backing: str) -> None:
    image = _create(tmp_path / "a.qcow2", "-u", "-b", backing, "-F", "raw")
    _refused(image, "has the backing file")
    image = _create(tmp_path / "b.qcow2", "-u", "-b", backing, "-F", "qcow2")
    _refused(image, "has the backing file")


def test_our_own_base_is_known_by_its_sum(tmp_path: Path) -> None:
    base = _create(tmp_path / "b")
    digest = subprocess.run(["sha256sum", base], check=True, capture_output=True, text=True).stdout[:12]
    named = base.rename(tmp_path / f"base-{digest}.qcow2")
    image = _create(tmp_path / "a.qcow2", "-b", named.name, "-F", "qcow2", size=None)
    assert image_file.look(image).base == named
    _patched(named, 200_000, b"changed")
    _refused(image, "does not have the sha256 in its name")
    named.unlink()
    _refused(image, "which is not beside it")
    named.symlink_to("/etc/passwd")
    _refused(image, "which is not beside it")


def test_a_base_with_a_backing_file_is_refused(tmp_path: Path) -> None:
    base = _create(tmp_path / "b", "-u", "-b", "/etc/passwd", "-F", "raw")
    digest = subprocess.run(["sha256sum", base], check=True, capture_output=True, text=True).stdout[:12]
    base.rename(tmp_path / f"base-{digest}.qcow2")
    _refused(_create(tmp_path / "a.qcow2", "-u", "-b", f"base-{digest}.qcow2", "-F", "qcow2"), "has the backing file")


def test_a_data_file_and_a_secret_are_refused(tmp_path: Path) -> None:
    image = _create(tmp_path / "a.qcow2", "-o", f"data_file={tmp_path / 'data.raw'},data_file_raw=on")
    _refused(image, "keeps its data in another file")
    _refused(_patched(_create(tmp_path / "b.qcow2"), 32, struct.pack(">I", 1)), "is encrypted")
    _refused(_patched(_create(tmp_path / "c.qcow2"), 72, struct.pack(">Q", 2)), "marked as corrupt")


@pytest.mark.parametrize(
    ("offset", "data", "words"),
    [
        (4, struct.pack(">I", 4), "version 4 does not exist"),
        (20, struct.pack(">I", 63), "clusters of 2\\^63"),
        (24, struct.pack(">Q", 1 << 62), "bytes is not possible"),
        (24, struct.pack(">Q", 0), "bytes is not possible"),
        (36, struct.pack(">I", 0xFFFFFFFF), "does not fit"),
        (36, struct.pack(">I", 0), "does not fit"),
        (8, struct.pack(">QI", 1 << 40, 100), "outside its header"),
        (8, struct.pack(">QI", 512, 100_000), "outside its header"),
        (100, struct.pack(">I", 104) + struct.pack(">II", 1, 0xFFFFFFFF), "cut off"),
    ],
)
def test_headers_that_make_no_sense(tmp_path: Path, offset: int, data: bytes, words: str) -> None:
    _refused(_patched(_create(tmp_path / "a.qcow2"), offset, data), words)


def test_what_is_cut_off(tmp_path: Path) -> None:
    image = _create(tmp_path / "a.qcow2")
    subprocess.run(["qemu-io", "-c", "write 0 4M", str(image)], check=True, capture_output=True)
    whole = image.read_bytes()
    image.write_bytes(whole[:50])
    _refused(image, "not a qcow2 image")
    image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ImageError, match=r"not consistent|leaked clusters|cannot be read"):
        image_file.check(image_file.look(image), tmp_path / "log")
    image.write_bytes(b"")
    _refused(image, "is empty")
    _refused(tmp_path / "absent", "no such file: '")
    _refused(tmp_path, "not a regular file")


@given(st.binary(max_size=300))
def test_any_bytes_are_a_header_or_none(data: bytes) -> None:
    for head in (data, qcow2.MAGIC + data, qcow2.MAGIC + struct.pack(">I", 3) + data):
        try:
            header = qcow2.read(head)
        except NotQcow2Error:
            continue
        assert 0 < header.size <= qcow2.LARGEST


def test_a_disk_that_came_back_is_held_to_the_same_bounds(tmp_path: Path) -> None:
    image = _create(tmp_path / "io.qcow2")
    assert returned.disk_format(image) == ("qcow2", 8 << 20)
    _patched(image, 36, struct.pack(">I", (64 << 20) // 8))
    with pytest.raises(ImageError, match=r"io\.qcow2 cannot be read as qcow2: its table of"):
        returned.disk_format(image)
