"""The busybox initrd is the same whatever packs it."""

from __future__ import annotations

import gzip
import io
import lzma
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from roost.errors import ImageError
from roost.kernel import cpio, initrd

#: What begins as a module does.
MODULE = b"\x7fELF" + bytes(range(256)) * 4000


def test_directories_have_the_same_links_on_all_hosts(tmp_path: Path) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"070701" * 31)
    names = b".\0deep\0deep/er\0file\0"
    argv = ["cpio", "--quiet", "-0", "-o", "-H", "newc", "--reproducible"]
    packed = subprocess.run(argv, cwd=tmp_path, input=names, capture_output=True, check=True).stdout
    found = initrd.without_links(packed)
    changed = [at for at, (one, other) in enumerate(zip(packed, found, strict=True)) if one != other]
    first = found.index(b"070701")
    assert found[first + 38 : first + 46] == b"00000002"
    # Whatever cpio wrote, only numbers of links are others, and none of the file's content.
    assert len(changed) <= 3
    assert initrd.without_links(found) == found
    assert [one.name for one in cpio.entries(io.BytesIO(found))] == [
        one.name for one in cpio.entries(io.BytesIO(packed))
    ]


@pytest.mark.parametrize("name", ["one.ko", "one.ko.xz", "one.ko.gz", "one.ko.zst"])
def test_a_module_is_unpacked_whatever_packed_it(tmp_path: Path, name: str) -> None:
    packers: dict[str, Callable[[bytes], bytes]] = {
        ".ko": bytes,
        ".xz": lzma.compress,
        ".gz": gzip.compress,
        ".zst": zstandard.compress,
    }
    module = tmp_path / name
    module.write_bytes(packers[module.suffix](MODULE))
    assert initrd._unpacked(module) == MODULE


def test_a_module_that_is_cut_off_is_reported(tmp_path: Path) -> None:
    module = tmp_path / "one.ko.xz"
    module.write_bytes(lzma.compress(MODULE)[:-20])
    with pytest.raises(ImageError, match=r"the module one\.ko\.xz cannot be unpacked"):
        initrd._unpacked(module)


def test_a_busybox_that_needs_libraries_is_refused(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    shutil.copyfile(sys.executable, tmp_path / "usr/bin/busybox")
    with pytest.raises(ImageError, match="busybox needs shared libraries"):
        initrd.make(tmp_path, "6.1", initrd.Payload((), 0), tmp_path / "out", tmp_path / "log")
    (tmp_path / "usr/bin/busybox").write_bytes(b"\x7fELF" + b"static" * 2000)
    # It is looked at next whether there are modules.
    with pytest.raises(ImageError, match="no modules of its kernel"):
        initrd.make(tmp_path, "6.1", initrd.Payload((), 0), tmp_path / "out", tmp_path / "log")
