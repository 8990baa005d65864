"""The busybox initrd is the same whatever packs it."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

from roost.kernel import cpio, initrd


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
