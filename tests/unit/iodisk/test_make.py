"""Io disks from files and directories: what goes in, what is refused, the same bytes again, many in one call."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from roost.condor.jobs_file import parse_jobs
from roost.disk import measure
from roost.errors import ImageError, RecipeError, UsageError
from roost.events import Silent
from roost.host import namespace
from roost.iodisk import batch, fill, inputs, make
from roost.iodisk.collect import collect
from roost.iodisk.inputs import Input
from roost.pipeline import jobs
from roost.recipe.model import Recipe
from roost.store import manifest
from roost.store.manifest import Manifest

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
    """Return a directory with inputs."""
    directory = tmp_path / "given"
    (directory / "deep" / "er").mkdir(parents=True)
    (directory / "deep" / "er" / "x.txt").write_text("42\n")
    (directory / "deep" / "link").symlink_to("er/x.txt")
    (directory / "run").write_text("#!/bin/sh\n")
    (directory / "run").chmod(0o4755)
    (directory / "odd \n'name\"").write_text("odd\n")
    return directory


def made(output: Path, wanted: Recipe, given: Path, *names: str, texts: dict[str, bytes] | None = None) -> make.IoDisk:
    """Make a disk of the inputs `names` in the directory `given`."""
    items, problems = inputs.items(names, given)
    assert not problems
    return make.make(wanted, items, output, texts=texts)


def debugfs(image: Path, request: str) -> str:
    """Ask ext's own debugger."""
    done = subprocess.run(["debugfs", "-R", request, image], capture_output=True, check=True)
    return done.stdout.decode("utf-8", "replace")


def test_what_was_made_here_is_listed_as_the_tool_lists_it(tmp_path: Path, given: Path) -> None:
    (given / "again").hardlink_to(given / "run")
    os.mkfifo(given / "pipe")
    as_found = measure.listing(given, namespace.current(), tmp_path / "log")
    assert sorted(measure.own_listing(given)) == sorted(as_found)


def test_files_and_directories_keep_their_names(tmp_path: Path, given: Path) -> None:
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


def test_a_slash_stands_for_what_is_in_a_directory(tmp_path: Path, given: Path) -> None:
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


def test_every_input_that_cannot_travel_is_reported_at_once(tmp_path: Path, given: Path) -> None:
    (given / "deep" / "up").symlink_to("../../../etc/passwd")
    (given / "deep" / "root").symlink_to("/etc/passwd")
    os.mkfifo(given / "pipe")
    _, problems = inputs.items(["deep", "pipe", "none", "", "run", "deep/../run"], given)
    text = "\n".join(problem.what for problem in problems)
    for word in (
        "up leads out",
        "root leads out",
        "pipe is a FIFO, neither",
        "no such file or directory: 'none'",
        "both give run",
    ):
        assert word in text, text
    assert len(problems) == 6


def test_a_row_of_a_file_of_jobs_is_a_disk(tmp_path: Path, given: Path) -> None:
    text = 'IO,Inputs,scale\nio-1.raw,run "odd name",3\nio-2.raw,,4\n'
    (given / "odd name").write_text("x")
    requests = batch.requests(parse_jobs(text, "jobs.csv", given), "io", [Input(given / "deep", "deep")])
    assert [one.output.name for one in requests] == ["io-1.raw", "io-2.raw"]
    assert [[item.target for item in one.items] for one in requests] == [["deep", "run", "odd name"], ["deep"]]
    assert [json.loads(one.texts["job.json"]) for one in requests] == [{"scale": "3"}, {"scale": "4"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\nx\n", "jobs.csv:1: there is no column io"),
        ("io\nio.raw\nio.raw\n", "jobs.csv:3: io.raw is the disk of line 2 already"),
        ('io,inputs\nio.raw,"none gone"\n', "jobs.csv:2: no such file or directory: 'gone'"),
        ("io,inputs\nio.raw,'run\n", "jobs.csv:2: ''run' has a quote that is not closed"),
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


def test_a_directory_that_is_not_there_is_said(tmp_path: Path, given: Path) -> None:
    with pytest.raises(UsageError, match="no such directory"):
        made(tmp_path / "none" / "io.raw", recipe(), given, "run")


def test_collect_names_its_directories_by_the_disks(tmp_path: Path, given: Path) -> None:
    for directory in ("a", "b"):
        (tmp_path / directory).mkdir()
        made(tmp_path / directory / "io.raw", recipe(), given, "run")
    disks = [str(tmp_path / directory / "io.raw") for directory in ("a", "b")]
    with pytest.raises(UsageError, match=r"two disks are named io\.raw"):
        jobs.collect_all([*disks, str(tmp_path / "out")], events=Silent())
    answer = jobs.collect_all([disks[0], str(tmp_path / "out")], events=Silent())
    assert answer["ok"] is False
    assert answer["counts"] == {"never started": 1}
    assert (tmp_path / "out" / "io").is_dir()
    with pytest.raises(UsageError, match=r"no such file: '.*gone"):
        jobs.collect_all([str(tmp_path / "gone"), str(tmp_path / "out")], events=Silent())
    with pytest.raises(UsageError, match="no disks and no directory"):
        jobs.collect_all([disks[0]], events=Silent())
    os.mkfifo(tmp_path / "fifo")
    for name, kind in ((str(tmp_path / "fifo"), "a FIFO"), ("/dev/null", "a device"), (str(given), "a directory")):
        with pytest.raises(UsageError, match=f"{name} is {kind}, not a file"):
            jobs.collect_all([disks[0], name, str(tmp_path / "out")], events=Silent())


def problems_of(given: Path, *names: str) -> str:
    """Return what is wrong with inputs, a line each."""
    return "\n".join(str(problem) for problem in inputs.items(names, given)[1])


def test_links_travel_or_are_reported_with_and_without_a_slash(tmp_path: Path, given: Path) -> None:
    for name in ("data", "loop", "out"):
        (given / name).mkdir()
    (given / "data" / "latest").symlink_to("run-17/none")
    (given / "loop" / "one").symlink_to("two")
    (given / "loop" / "two").symlink_to("one")
    (given / "secret.txt").write_text("private")
    (given / "out" / "secret").symlink_to("../secret.txt")
    for name in ("data", "data/", "loop", "loop/", "loop/."):
        result = tmp_path / "io.raw"
        made(result, recipe(), given, name)
        place = "/input/" if "/" in name else f"/input/{name}/"
        link, target = ("latest", "run-17/none") if name.startswith("data") else ("one", "two")
        assert f'Fast link dest: "{target}"' in debugfs(result, f"stat {place}{link}")
    for name in ("out", "out/", "out/."):
        assert "the link" in problems_of(given, name)
        assert "leads out" in problems_of(given, name)
    assert "latest points to a file that does not exist" in problems_of(given, "data/latest")
    assert "one is part of a loop" in problems_of(given, "loop/one")
    assert "one/ is part of a loop" in problems_of(given, "loop/one/")
    # A link that is named itself is followed.
    made(tmp_path / "io.raw", recipe(), given, "out/secret")
    assert debugfs(tmp_path / "io.raw", "cat /input/secret") == "private"


def test_what_is_not_a_plain_file_is_never_opened(tmp_path: Path, given: Path) -> None:
    place = given / "special"
    place.mkdir()
    os.mkfifo(place / "fifo")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(place / "socket"))
    (given / "to-fifo").symlink_to("special/fifo")
    (given / "zero").symlink_to("/dev/zero")
    for names in (["special"], ["special/"], ["special/fifo", "special/socket"]):
        text = problems_of(given, *names)
        assert "fifo is a FIFO, neither a file nor a directory" in text
        assert "socket is a socket" in text
    assert "is a FIFO" in problems_of(given, "to-fifo")
    assert "is a device" in problems_of(given, "zero")
    assert "is a device" in problems_of(given, "/dev/zero")
    assert "File name too long" in problems_of(given, "x" * 300)
    assert "no such file or directory" in problems_of(given, "run/x")


def test_a_file_that_changes_or_has_no_end_is_an_error(
    tmp_path: Path, given: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ImageError, match="changed while it was read, or has no end"):
        made(tmp_path / "io.raw", recipe(), given, "/proc/self/status")
    log = given / "log"
    log.write_bytes(b"x" * 3 * MiB)
    read = fill.read_block
    changes: list[Callable[[Path], object]] = [
        lambda path: os.truncate(path, 4000),
        lambda path: path.write_bytes(b"x" * 4 * MiB),
        lambda path: os.utime(path, (1, 1)),
    ]
    for change in changes:

        def meanwhile(source: Path, file: BinaryIO, size: int, change: Callable[[Path], object] = change) -> bytes:
            change(log)
            return read(source, file, size)

        log.write_bytes(b"x" * 3 * MiB)
        monkeypatch.setattr(fill, "read_block", meanwhile)
        with pytest.raises(ImageError, match="changed while"):
            made(tmp_path / "io.raw", recipe(), given, "log")
    monkeypatch.setattr(fill, "read_block", read)
    items, _ = inputs.items(["log", "run"], given)
    (given / "run").unlink()
    os.mkfifo(given / "run")
    with pytest.raises(ImageError, match="run cannot be read: a FIFO"):
        fill.fill(tmp_path, items, 1)
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".raw") == []


def test_holes_and_odd_names_arrive(tmp_path: Path, given: Path) -> None:
    with (given / "sparse").open("wb") as file:
        file.seek(2 * MiB)
        file.write(b"end")
        file.truncate(3 * MiB)
    odd = os.fsdecode(b"\xff\n" + b"n" * 253)
    (given / odd).write_text("odd")
    (given / "deep-tree" / "/".join("d" * 500)).mkdir(parents=True)
    made(tmp_path / "io.raw", recipe(size=16 * MiB), given, "sparse", odd, "deep-tree")
    subprocess.run(["debugfs", "-R", "dump /input/sparse sparse", "io.raw"], cwd=tmp_path, check=True)
    assert (tmp_path / "sparse").read_bytes() == (given / "sparse").read_bytes()
    subprocess.run(["e2fsck", "-fn", tmp_path / "io.raw"], check=True, capture_output=True)
    assert debugfs(tmp_path / "io.raw", "ls -p /input").count("odd") == 0
    (given / "huge").touch()
    os.truncate(given / "huge", 5 << 30)
    with pytest.raises(ImageError, match="the inputs need 5"):
        made(tmp_path / "io.raw", recipe(), given, "huge")


def test_more_names_than_fit_are_said(tmp_path: Path, given: Path) -> None:
    many = given / "many"
    many.mkdir()
    for number in range(4000):
        (many / f"{number}").touch()
    with pytest.raises(ImageError, match="the inputs need"):
        made(tmp_path / "io.raw", recipe(size=MiB), given, "many")
    made(tmp_path / "io.raw", recipe(size=None, free=MiB), given, "many")
    subprocess.run(["e2fsck", "-fn", tmp_path / "io.raw"], check=True, capture_output=True)


def test_a_disk_is_not_written_among_its_inputs(tmp_path: Path, given: Path) -> None:
    for output, names in (
        (given / "deep" / "io.raw", ["deep"]), (given / "deep" / "io.raw", ["deep/"]), (given / "run", ["run"]),
        (given / "io.raw", ["."]), (given / "deep" / "er" / "io.raw", ["deep"]),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=r"is inside the input|is one of the inputs"):
            made(output, recipe(), given, *names)
    (tmp_path / "to-run").symlink_to(given / "run")
    with pytest.raises(UsageError, match="is one of the inputs"):
        made(tmp_path / "to-run", recipe(), given, "run")
    assert (given / "run").read_text() == "#!/bin/sh\n"
    with pytest.raises(UsageError, match="longer than 255 bytes"):
        made(given / ("x" * 260), recipe(), given, "run")


def test_a_disk_of_a_build_is_not_written_over(tmp_path: Path, given: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = tmp_path / "build"
    build.mkdir()
    (build / "io.raw").write_bytes(b"built")
    disk = manifest.describe(build / "io.raw", "raw", 5, "0" * 64)
    manifest.write(build, Manifest("made", "k", {}, {}, (disk,), {}, {}))
    (tmp_path / "link").symlink_to(build / "io.raw")
    monkeypatch.chdir(build)
    for output in (build / "io.raw", Path("io.raw"), tmp_path / "link"):
        with pytest.raises(UsageError, match="is a file of the build in") as caught:
            made(output, recipe(), given, "run")
        assert f"{output.stem}-1{output.suffix}" in str(caught.value.problem.hint)
    with pytest.raises(RecipeError, match="is a file of the build in"):
        batch.requests(parse_jobs("io\n../build/io.raw\n", "jobs.csv", build), "io", [])
    assert (build / "io.raw").read_bytes() == b"built"
    batch.requests(parse_jobs("io\nio-1.raw\n", "jobs.csv", build), "io", [])
    made(build / "io-1.raw", recipe(), given, "run")
    # Another tool's manifest.json says nothing about disks.
    (given / "manifest.json").write_text('{"files": ["io.raw"]}')
    made(given / "io.raw", recipe(), given, "run")


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("\ufeffio,inputs,x\r\nio-1.raw,run,3\r\n", [["run"]]),
        ("inputs,io,scale\ndeep/ run,io-1.raw,0.5\n", [["er", "link", "run"]]),
        ("io,inputs\n\nio-1.raw,\"'my file' run\"\n,\nio-2.raw,my\\ file\n", [["my file", "run"], ["my file"]]),
        ('io,inputs\nio-1.raw,"""it\'s"""\n', [["it's"]]),
        ("io,inputs\nio-1.raw,\n", [[]]),
    ],
)
def test_a_file_of_jobs_as_other_programs_write_it(given: Path, text: str, rows: list[list[str]]) -> None:
    for name in ("my file", "it's"):
        (given / name).write_text("x")
    data = text.encode().decode("utf-8-sig")
    requests = batch.requests(parse_jobs(data, "jobs.csv", given), "io", [])
    assert [[item.target for item in one.items] for one in requests] == rows


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("io;inputs;scale\nio-1.raw;run;0,5\n", ["separated by semicolons, not by commas"]),
        ("io\tinputs\nio-1.raw\trun\n", ["separated by tabs"]),
        ("io,inputs,x\nio-1.raw,my file.txt,3\n", ["'my file.txt' is the name of one file", "'my file.txt'"]),
        ("io,inputs,x\nrun 1.raw,gone,3\n", ["the disk 'run 1.raw' may only", "no such file or directory: 'gone'"]),
        ("io,inputs,IO\nio-1.raw,run,x\n", ["two columns are named IO"]),
        ("io,inputs\nio-1.raw\n", ["1 value for 2 variables"]),
        (
            "io,inputs\none.txt,\n",
            ["jobs.csv:2: ", "one.txt already exists and is not a disk", "column io names"],
        ),
        ("io,inputs\nlinked.raw,\n", ["linked.raw already exists and is not a disk"]),
        ("io,inputs\njobs.csv,\n", ["jobs.csv already exists and is not a disk"]),
        ("io,inputs\n/etc/passwd,\n", ["/etc/passwd already exists and is not a disk"]),
        ("io,inputs\n/dev/null,\n", ["/dev/null cannot be replaced: a device, not a file"]),
        ("io,inputs\nqueue,\n", ["queue cannot be replaced: a FIFO, not a file"]),
        ("io,x\na.qcow2,1\n", ["jobs.csv:2: the disk 'a.qcow2' is raw: name it a.raw"]),
        ("io,inputs\n,run\n", ["the column io names no file"]),
        ("io,inputs\none.txt,one.txt\n", ["would overwrite another file"]),
        ("io,inputs\nx.raw,./run\nrun,\n", ["would overwrite another file"]),
        ("io,inputs\nx.raw,deep/er/../../run\nrun,\n", ["would overwrite another file"]),
        ("io,inputs\nx.raw,run deep\ndeep/y.raw,\n", ["is inside the input"]),
        (f"io,inputs\nio.raw,{'gone ' * 2000}\n", ["no such file or directory: 'gone'"]),
    ],
)
def test_all_that_is_wrong_with_jobs_is_reported_before_disks_are_made(
    given: Path, text: str, messages: list[str]
) -> None:
    (given / "made.yaml").write_text(
        "name: made\nos: {tree: {path: .}}\njob: {command: 'true'}\ndisks:\n"
        "  - {name: root, partitions: [{mount: /, free: 1MiB}]}\n"
        "  - {name: io, filesystem: ext4, size: 4MiB, role: io}\n"
    )
    for name in ("my file.txt", "one.txt"):
        (given / name).write_text("1")
    (given / "jobs.csv").write_text(text)
    (given / "linked.raw").symlink_to("one.txt")
    os.mkfifo(given / "queue")
    with pytest.raises(UsageError) as raised:
        jobs.io(str(given / "made.yaml"), [], jobs=given / "jobs.csv", events=Silent())
    for message in messages:
        assert message in str(raised.value)
    assert [path.name for path in given.glob("*.raw")] == ["linked.raw"]
    assert str(raised.value).count("names no file") <= 1
    assert (given / "one.txt").read_text() == "1"


@pytest.mark.parametrize("filesystem", ["ext4", "vfat"])
@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
def test_the_disks_of_jobs_are_made_again_over_themselves(tmp_path: Path, filesystem: str, disk_format: str) -> None:
    """A second call with the same file of jobs replaces disks, and a file that is empty."""
    (tmp_path / "made.yaml").write_text(
        "name: made\nos: {tree: {path: .}}\njob: {command: 'true'}\nhypervisors: [kvm]\ndisks:\n"
        "  - {name: root, partitions: [{mount: /, free: 1MiB}]}\n"
        f"  - {{name: io, filesystem: {filesystem}, size: 4MiB, role: io, format: {disk_format}}}\n"
    )
    (tmp_path / "jobs.csv").write_text(f"io,x\na.{disk_format},1\nb.{disk_format},2\n")
    (tmp_path / f"b.{disk_format}").touch()
    for _ in range(2):
        made = jobs.io(str(tmp_path / "made.yaml"), [], jobs=tmp_path / "jobs.csv", events=Silent())
        assert len(made.disks) == 2 and all(disk.path.stat().st_size for disk in made.disks)


@pytest.mark.parametrize("table", [False, True])
def test_inputs_that_cannot_fit_are_not_walked_to_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, table: bool
) -> None:
    """`inv io NAME /` walked the whole machine without a word, and then named thousands of files."""
    (tmp_path / "made.yaml").write_text(
        "name: made\nos: {tree: {path: .}}\njob: {command: 'true'}\ndisks:\n"
        "  - {name: root, partitions: [{mount: /, free: 1MiB}]}\n"
        "  - {name: io, filesystem: ext4, size: 4MiB, role: io}\n"
    )
    (tmp_path / "jobs.csv").write_text(f"io,inputs\nio-1.raw,{tmp_path / 'many'}\n")
    seen: list[Path] = []

    def endless(top: Path, **_: object) -> Iterator[tuple[Path, os.stat_result]]:
        for number in range(1_000_000):
            seen.append(top / str(number))
            yield top / str(number), (tmp_path / "made.yaml").stat()

    (tmp_path / "many").mkdir()
    monkeypatch.setattr(inputs, "walk", endless)
    monkeypatch.setattr(os, "access", lambda *_args: True)
    with pytest.raises(ImageError, match=r"the inputs need more than 4 MiB.*; the io disk of made has 4 MiB"):
        jobs.io(
            str(tmp_path / "made.yaml"),
            [] if table else [str(tmp_path / "many")],
            jobs=tmp_path / "jobs.csv" if table else None,
            output=None if table else tmp_path / "io.raw",
            events=Silent(),
        )
    assert len(seen) < 200_000


def test_mistakes_in_inputs_are_counted(given: Path) -> None:
    for number in range(150):
        os.mkfifo(given / "deep" / f"pipe-{number}")
    assert len(inputs.items(["deep"], given)[1]) == inputs.PROBLEMS


def test_a_file_that_is_no_disk_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "made.yaml").write_text(
        "name: made\nos: {tree: {path: .}}\njob: {command: 'true'}\nhypervisors: [kvm]\ndisks:\n"
        "  - {name: root, partitions: [{mount: /, free: 1MiB}]}\n"
        "  - {name: io, filesystem: ext4, size: 4MiB, role: io}\n"
    )
    text, disk = tmp_path / "p.raw", tmp_path / "io.raw"
    text.write_text("notes of a year\n")
    with pytest.raises(UsageError, match=r"p.raw already exists and is not a disk \(remove it, or name another file"):
        jobs.io(str(tmp_path / "made.yaml"), [], output=text, events=Silent())
    assert text.read_text() == "notes of a year\n"
    with text.open("ab") as file:
        for name in (f"/dev/fd/{file.fileno()}", f"/proc/self/fd/{file.fileno()}"):
            with pytest.raises(UsageError, match=r"already exists and is not a disk \(name another file\)"):
                jobs.io(str(tmp_path / "made.yaml"), [], output=Path(name), events=Silent())
    for _ in range(2):
        jobs.io(str(tmp_path / "made.yaml"), [], output=disk, events=Silent())
