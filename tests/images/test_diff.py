"""`inv diff` reads the files of two images: a build, and the same with what somebody did to its disk."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from roost.host import checksum
from roost.store import manifest
from tests.images.broken import debugfs
from tests.images.calls import roost

pytestmark = [pytest.mark.images, pytest.mark.timeout(900)]


def test_files_that_differ_are_found(smoke: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(smoke, other)
    disk = other / "io.raw"
    (tmp_path / "new").write_text("x")
    debugfs(disk, "mkdir extra", f"write {tmp_path / 'new'} extra/new", "sif extra/new mode 0100600", write=True)
    record = json.loads((other / manifest.NAME).read_text())
    for one in record["files"]:
        status = (other / one["name"]).stat()
        one.update(mtime_ns=status.st_mtime_ns, sha256=checksum.sha256(other / one["name"]))
    (other / manifest.NAME).write_text(json.dumps(record))
    ran = roost("diff", str(smoke), str(other), "--json")
    assert ran.code == 1, ran.err
    assert [(one["place"], one["path"], one["what"]) for one in ran.answer["files"]] == [
        ("io", "/extra", ["added"]),
        ("io", "/extra/new", ["added"]),
    ]
    assert ran.answer["files"][1]["new"]["mode"] == "0600"
    assert roost("diff", str(smoke), str(smoke)).code == 0
