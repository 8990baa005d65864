"""Io disks from files and folders: what goes in, what is refused, the same bytes again, many in one call."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from roost import jobs
from roost.condor.jobs_file import parse_jobs
from roost.errors import ImageError, RecipeError, UsageError
from roost.events import Silent
from roost.host import namespace
from roost.iodisk import batch, inputs, make
from roost.iodisk.collect import collect
from roost.iodisk.inputs import Item
from roost.recipe.model import Recipe

MiB = 1 << 20


def recipe(**io: Any) -> Recipe:
    """Return a recipe with an io disk."""
    return Recipe.model_validate(
        {
            "name": "made",
            "os": {"tree": {"path": "."}},
            "job": {"command": "true"},
            "disks": [
                {"name": "root", "partitions": [{"mount": "/", "free": MiB}]},
                {"name": "io", "filesystem": "ext4", "size": 4 * MiB, "role": "io", **io},
            ],
        }
    )


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Return a folder with inputs."""
    folder = tmp_path / "given"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "deep" / "er" / "x.txt").write_text("42\n")
    (folder / "deep" / "link").symlink_to("er/x.txt")
    (folder / "run").write_text("#!/bin/sh\n")
    (folder / "run").chmod(0o4755)
    (folder / "odd \n'name\"").write_text("odd\n")
    return folder


def made(output: Path, wanted: Recipe, given: Path, *names: str, texts: dict[str, bytes] | None = None) -> make.Made:
    """Make a disk of the inputs `names` in the folder `given`."""
    items, problems = inputs.items(names, given)
    assert not problems
    return make.make(wanted, items, output, namespace=namespace.current(), texts=texts)


def debugfs(image: Path, request: str) -> str:
    """Ask ext's own debugger."""
    done = subprocess.run(["debugfs", "-R", request, image], capture_output=True, check=True)
    return done.stdout.decode("utf-8", "replace")


def test_files_and_folders_keep_their_names(tmp_path: Path, given: Path) -> None:
    image = tmp_path / "io.raw"
    result = made(image, recipe(), given, "deep", "run", "odd \n'name\"", texts={"job.json": b"{}\n"})
    assert (result.path, result.virtual) == (image, 4 * MiB)
    assert debugfs(image, "cat /input/deep/er/x.txt") == "42\n"
    assert "er/x.txt" in debugfs(image, "stat /input/deep/link")
    assert debugfs(image, "cat /input/job.json") == "{}\n"
    # No set-user-ID bit comes from the host, and all of it is root's.
    status = debugfs(image, "stat /input/run")
    assert "Mode:  0755" in status
    assert "User:     0   Group:     0" in status
    assert "odd" in debugfs(image, "ls /input")
    assert "output" in debugfs(image, "ls /")
    label = subprocess.run(["blkid", "-p", "-o", "value", "-s", "LABEL", image], capture_output=True, check=True)
    assert label.stdout == b"io\n"
    subprocess.run(["e2fsck", "-fn", image], check=True, capture_output=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given", "io.raw"]


def test_a_slash_stands_for_what_is_in_a_folder(tmp_path: Path, given: Path) -> None:
    made(tmp_path / "io.raw", recipe(), given, "deep/")
    assert debugfs(tmp_path / "io.raw", "cat /input/er/x.txt") == "42\n"


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path, given: Path) -> None:
    made(tmp_path / "one.raw", recipe(), given, "deep", "run")
    made(tmp_path / "two.raw", recipe(), given, "deep", "run")
    assert (tmp_path / "one.raw").read_bytes() == (tmp_path / "two.raw").read_bytes()
    (given / "run").write_text("#!/bin/false\n")
    made(tmp_path / "two.raw", recipe(), given, "deep", "run")
    assert (tmp_path / "one.raw").read_bytes() != (tmp_path / "two.raw").read_bytes()


@pytest.mark.parametrize(("filesystem", "size"), [("ext4", 8 * MiB), ("vfat", 64 * MiB)])
def test_every_file_system_of_an_io_disk_is_collected_again(
    tmp_path: Path, given: Path, filesystem: str, size: int
) -> None:
    image = tmp_path / "io.raw"
    made(image, recipe(filesystem=filesystem, size=size), given, "run")
    found = collect(image, tmp_path / "out", files=10)
    assert found.verdict == "never started", found.why


def test_a_compressed_qcow2_is_collected_again(tmp_path: Path, given: Path) -> None:
    image = tmp_path / "io.qcow2"
    made(image, recipe(format="qcow2", compress="zstd"), given, "deep")
    assert image.read_bytes()[:4] == b"QFI\xfb"
    assert collect(image, tmp_path / "out", files=10).verdict == "never started"


def test_free_space_grows_with_the_inputs(tmp_path: Path, given: Path) -> None:
    wanted = recipe(size=None, free=2 * MiB)
    small = made(tmp_path / "small.raw", wanted, given, "run")
    (given / "large").write_bytes(os.urandom(3 * MiB))
    large = made(tmp_path / "large.raw", wanted, given, "run", "large")
    for one in (small, large):
        assert one.free is not None
        assert one.free >= 2 * MiB
    assert large.virtual - small.virtual >= 3 * MiB - 64 * 1024


def test_what_does_not_fit_is_said_and_nothing_is_left(tmp_path: Path, given: Path) -> None:
    (given / "large").write_bytes(os.urandom(5 * MiB))
    image = tmp_path / "io.raw"
    image.write_bytes(b"the disk from before")
    with pytest.raises(ImageError, match="the inputs need") as raised:
        made(image, recipe(), given, "large")
    assert "larger size" in (raised.value.problem.hint or "")
    assert image.read_bytes() == b"the disk from before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given", "io.raw"]


def test_every_input_that_cannot_travel_is_told_at_once(tmp_path: Path, given: Path) -> None:
    (given / "deep" / "up").symlink_to("../../../etc/passwd")
    (given / "deep" / "root").symlink_to("/etc/passwd")
    os.mkfifo(given / "pipe")
    _, problems = inputs.items(["deep", "pipe", "none", "", "run", "deep/../run"], given)
    text = "\n".join(problem.what for problem in problems)
    for word in ("up leads out", "root leads out", "pipe is neither", "no file or folder 'none'", "both give run"):
        assert word in text, text
    assert len(problems) == 6


def test_a_row_of_a_file_of_jobs_is_a_disk(tmp_path: Path, given: Path) -> None:
    text = 'IO,Inputs,scale\nio-1.raw,run "odd name",3\nio-2.raw,,4\n'
    (given / "odd name").write_text("x")
    requests = batch.requests(parse_jobs(text, "jobs.csv", given), "io", [Item(given / "deep", "deep")])
    assert [one.output.name for one in requests] == ["io-1.raw", "io-2.raw"]
    assert [[item.target for item in one.items] for one in requests] == [["deep", "run", "odd name"], ["deep"]]
    assert [json.loads(one.texts["job.json"]) for one in requests] == [{"scale": "3"}, {"scale": "4"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\nx\n", "jobs.csv:1: there is no column io"),
        ("io\nio.raw\nio.raw\n", "jobs.csv:3: io.raw is the disk of line 2 already"),
        ('io,inputs\nio.raw,"none gone"\n', "jobs.csv:2: there is no file or folder 'gone'"),
        ("io,inputs\nio.raw,'run\n", "jobs.csv:2: the inputs cannot be read"),
        ('io,inputs\nio.raw,"deep/my file"\n', "'deep/my file' is the name of one file, and blanks separate inputs"),
        ("io,inputs\nio.raw,run deep/../run\n", "both give run"),
        ("io,x\n.,1\n", "jobs.csv:2: the column io names no file"),
    ],
)
def test_mistakes_in_a_file_of_jobs_have_their_line(given: Path, text: str, message: str) -> None:
    (given / "deep" / "my file").write_text("x")
    with pytest.raises(RecipeError) as raised:
        batch.requests(parse_jobs(text, "jobs.csv", given), "io", [])
    assert message in str(raised.value)


def test_no_disk_is_made_for_jobs_that_cannot_be_submitted(tmp_path: Path) -> None:
    (tmp_path / "made.yaml").write_text(
        "name: made\nos: {tree: {path: .}}\njob: {command: 'true'}\ndisks:\n"
        "  - {name: root, partitions: [{mount: /, free: 1MiB}]}\n"
        "  - {name: io, filesystem: ext4, size: 4MiB, role: io}\n"
    )
    (tmp_path / "jobs.csv").write_text("io,x\nio-1.raw,2\nrun 1.raw,3\n")
    with pytest.raises(RecipeError, match=r"jobs\.csv:3: the disk 'run 1\.raw' may only have"):
        jobs.io(str(tmp_path / "made.yaml"), [], jobs=tmp_path / "jobs.csv", events=Silent())
    assert not list(tmp_path.glob("*.raw"))


def test_a_recipe_without_an_io_disk_says_what_to_add() -> None:
    plain = recipe().model_copy(update={"disks": recipe().disks[:1]})
    with pytest.raises(UsageError, match="made has no io disk"):
        make.disk_of(plain)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path, given: Path) -> None:
    with pytest.raises(UsageError, match="there is no directory"):
        made(tmp_path / "none" / "io.raw", recipe(), given, "run")


def test_collect_names_its_folders_by_the_disks(tmp_path: Path, given: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        made(tmp_path / folder / "io.raw", recipe(), given, "run")
    disks = [str(tmp_path / folder / "io.raw") for folder in ("a", "b")]
    with pytest.raises(UsageError, match=r"two disks are named io\.raw"):
        jobs.collect_all([*disks, str(tmp_path / "out")], events=Silent())
    answer = jobs.collect_all([disks[0], str(tmp_path / "out")], events=Silent())
    assert answer["ok"] is False
    assert answer["counts"] == {"never started": 1}
    assert (tmp_path / "out" / "io").is_dir()
    with pytest.raises(UsageError, match=r"there is no .*gone"):
        jobs.collect_all([str(tmp_path / "gone"), str(tmp_path / "out")], events=Silent())
    with pytest.raises(UsageError, match="which disks"):
        jobs.collect_all([disks[0]], events=Silent())
