"""Where a job left its status: on its io disk, or on the root of a guest that did not use it."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

from roost.boot import outcome
from roost.recipe.model import Recipe
from roost.verify.evidence import StoppedDisk

RECIPE = Recipe.model_validate(
    {
        "name": "two",
        "os": {"debian": {"suite": "bookworm"}},
        "job": {"command": "true"},
        "disks": [
            {"name": "root", "filesystem": "ext4", "mount": "/", "size": "8MiB"},
            {"name": "io", "filesystem": "ext4", "size": "8MiB", "role": "io"},
        ],
    }
)


def _disk(directory: Path, name: str, path: str | None, start: float) -> StoppedDisk:
    tree = directory / f"{name}.tree"
    tree.mkdir()
    if path is not None:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        begin = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(start))
        (tree / path).write_text(json.dumps({"state": "finished", "exit_code": 0, "start": begin, "on": name}))
    disk = directory / f"{name}.raw"
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-d", str(tree), str(disk), "8M"], check=True)
    node = {"driver": "raw", "file": {"driver": "file", "filename": str(disk)}}
    return StoppedDisk(disk.name, node, directory, name)


def test_a_status_on_the_root_says_that_the_io_disk_was_not_used(tmp_path: Path) -> None:
    began = time.time()
    own = "var/lib/roost/io/status.json"
    for number, (io, root, found) in enumerate(
        [
            (began, None, ("io", False)),
            (began, began, ("io", False)),
            (None, began, ("root", True)),
            # Of an earlier run.
            (began - 1000, began, ("root", True)),
            (began - 1000, began - 1000, (None, False)),
        ]
    ):
        directory = tmp_path / str(number)
        directory.mkdir()
        stopped = {
            "root.raw": _disk(directory, "root", own if root else None, root or 0),
            "io.raw": _disk(directory, "io", "status.json" if io else None, io or 0),
        }
        status, elsewhere = outcome.job_status(RECIPE, stopped, began)
        assert ((status or {}).get("on"), elsewhere) == found
