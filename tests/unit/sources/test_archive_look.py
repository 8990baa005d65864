"""`check` refuses an archive that is empty, something else or cut off, and takes every one that a build takes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from roost.errors import ImageError
from roost.pipeline import check
from roost.sources import archive_look, canonical
from tests.unit.preflight.test_preflight import refusals

Compress = Callable[[bytes], bytes]
COMPRESSIONS: dict[str, Compress] = {
    "plain": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zstd": zstandard.ZstdCompressor().compress,
    "two streams of gzip": lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:]),
}


def tar(format: int = tarfile.PAX_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=format) as archive:
        for name in ("etc/x", "bin/y"):
            info = tarfile.TarInfo(name)
            info.size = 100_000
            archive.addfile(info, io.BytesIO(os.urandom(info.size)))
    return made.getvalue()


def refused(path: Path, data: bytes) -> str | None:
    path.write_bytes(data)
    error = archive_look.refused(path)
    assert error is None or error.problem.hint
    return error.problem.what if error is not None else None


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_whole_archives_pass(kind: str, format: int, tmp_path: Path) -> None:
    assert refused(tmp_path / "a", COMPRESSIONS[kind](tar(format))) is None
    assert refused(tmp_path / "a", COMPRESSIONS[kind](bytes(10240))) is None, "an archive without members"


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_what_is_cut_off(kind: str, tmp_path: Path) -> None:
    data = COMPRESSIONS[kind](tar())
    for size in (len(data) - 20_000, len(data) // 2, 300):
        said = refused(tmp_path / "a", data[:size])
        assert said is not None and said.startswith("a is not a complete ") and "it is cut off" in said, said


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "a is empty"),
        (gzip.compress(b""), "a is empty"),
        (b"x" * 5000, "a is not a complete tar archive: it is in another format"),
        (b"\x1f\x8b" + b"x" * 5000, "a is not a complete gzip file"),
        (b"\xfd7zXZ\0" + b"x" * 5000, "a is not a complete xz file"),
        (b"BZh9" + b"x" * 5000, "a is not a complete bzip2 file"),
        (zstandard.ZstdCompressor().compress(b"text" * 5000), "a is not a complete tar archive"),
        (b"PK\3\4" + b"x" * 5000, "a is a zip archive"),
        (gzip.compress(b"QFI\xfb" + bytes(5000)), "a is a qcow2 disk image"),
    ],
)
def test_what_is_no_archive(data: bytes, what: str, tmp_path: Path) -> None:
    assert (refused(tmp_path / "a", data) or "").startswith(what)


def test_a_window_that_the_look_does_not_afford(tmp_path: Path) -> None:
    packer = zstandard.ZstdCompressor(
        compression_params=zstandard.ZstdCompressionParameters(window_log=29, enable_ldm=True)
    )
    frame = packer.compressobj()
    assert refused(tmp_path / "a", frame.compress(tar()) + frame.flush()) is None


def test_check_gives_the_place_and_the_hint(tmp_path: Path) -> None:
    (tmp_path / "t.tar.gz").write_bytes(gzip.compress(tar())[:-1000])
    assert refusals(tmp_path, "", os_="{tarball: {path: t.tar.gz}}") == [], "a build reads all of it"
    (said,) = check.check([str(tmp_path / "r.yaml")])["recipes"][0]["problems"]
    what = "t.tar.gz is not a complete gzip file: it is cut off (fetch or pack it again)"
    assert said == f"{tmp_path}/r.yaml:2:22: {what}"


def test_a_layer_that_is_cut_off_has_a_hint(tmp_path: Path) -> None:
    (tmp_path / "layer.tar").write_bytes(tar()[:-20_000])
    with pytest.raises(ImageError) as caught:
        canonical.write([tmp_path / "layer.tar"], tmp_path / "out.tar", whiteouts=False, epoch=None)
    assert caught.value.problem.hint == "fetch or pack it again"
