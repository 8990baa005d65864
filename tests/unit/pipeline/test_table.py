"""`inv submit --jobs` is as strict as `inv io --jobs`, and both show how far a long file of jobs is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from roost.condor.jobs_file import parse_jobs
from roost.errors import ImageError, RecipeError, RoostError
from roost.events import Silent
from roost.iodisk import batch
from roost.pipeline import jobs, submit, table
from roost.recipe import loader
from roost.store import manifest
from roost.store.manifest import BuiltFile, Manifest

RECIPE = (
    "name: made\nos: {tree: {path: .}}\njob: {command: 'true'}\ndisks:\n"
    "  - {name: root, format: qcow2, partitions: [{mount: /, free: 1MiB}]}\n"
    "  - {name: io, filesystem: ext4, size: 4MiB, role: io}\n"
)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return a recipe whose image is recorded as built."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "made.yaml").write_text(RECIPE)
    (tmp_path / "one.txt").write_text("1")
    (tmp_path / "large").touch()
    with (tmp_path / "large").open("wb") as file:
        file.truncate(5 << 20)
    directory = tmp_path / "build" / "made"
    directory.mkdir(parents=True)
    files = [BuiltFile(name, name.rpartition(".")[2], "0" * 64, 4 << 20, 0, 0, 0) for name in ("root.qcow2", "io.raw")]
    for built in files:
        (directory / built.name).touch()
        os.utime(directory / built.name, (0, 0))
    manifest.write(directory, Manifest("made", "key", {}, {}, tuple(files), {}, {}))
    return str(tmp_path / "made.yaml")


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("io,inputs\nio-1.raw,one.txt\nio-2.raw,gone\n", RecipeError, "jobs.csv:3: no such file or directory"),
        ("io,inputs\nio-1.raw,'one.txt\n", RecipeError, "jobs.csv:2: ''one.txt' has a quote that is not closed"),
        ("io\nio-1.raw\nio-1.raw\n", RecipeError, "jobs.csv:3: io-1.raw is the disk of line 2 already"),
        ("io\none.raw\n", RecipeError, "jobs.csv:2: .*one.raw already exists and is not a disk"),
        ("io\nnone/io-1.raw\n", RecipeError, "jobs.csv:2: no such directory"),
        (f"io\n{'x' * 300}.raw\n", RecipeError, "jobs.csv:2: the name .* is longer than 255 bytes"),
        ("io,inputs\nio-1.raw,\nio-2.raw,large\n", ImageError, "jobs.csv:3: the inputs need more than 4 MiB"),
        ("io,inputs\nb.raw,gone\nrun 1.raw,gone\n", RecipeError, "(?s)jobs.csv:2: no such.*jobs.csv:3: the disk"),
    ],
)
def test_submit_refuses_the_rows_that_io_refuses(
    made: str, tmp_path: Path, text: str, kind: type[RoostError], message: str
) -> None:
    (tmp_path / "one.raw").write_text("no disk")
    table_of_jobs = tmp_path / "jobs.csv"
    table_of_jobs.write_text(text)
    with pytest.raises(kind, match=message) as by_io:
        jobs.io(made, [], jobs=table_of_jobs, events=Silent())
    with pytest.raises(kind) as by_submit:
        submit.submit(made, submit.Options(jobs=table_of_jobs))
    assert str(by_submit.value) == str(by_io.value)


def test_jobs_without_disks_of_their_own_are_submitted(made: str, tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("scale\n1\n2\n")
    text = submit.submit(made, submit.Options(jobs=tmp_path / "jobs.csv"))
    assert "queue scale from (" in text


class _Told(Silent):
    def __init__(self) -> None:
        self.said: list[object] = []

    def begin(self, name: str, detail: str) -> None:
        self.said.append(name)

    def progress(self, name: str, done: float, total: float) -> None:
        self.said.append((name, done, total))


def test_a_long_file_of_jobs_shows_how_far_it_is(made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "LONG", 1000)
    path = tmp_path / "jobs.csv"
    path.write_text("io\n" + "".join(f"io-{number}.raw\n" for number in range(1500)))
    told = _Told()
    submit.submit(made, submit.Options(jobs=path), told)
    assert told.said == ["jobs file", ("jobs file", 0, 1500), ("jobs file", 1000, 1500)]
    short = _Told()
    path.write_text("io\nio-1.raw\n")
    submit.submit(made, submit.Options(jobs=path), short)
    assert short.said == []


def test_more_rows_than_lint_reads_are_submitted(made: str, tmp_path: Path) -> None:
    path = tmp_path / "jobs.csv"
    path.write_text("io,scale\n" + "".join(f"io-{number}.raw,{'9' * 90}\n" for number in range(12000)))
    text = submit.submit(made, submit.Options(jobs=path))
    assert len(text) > 1 << 20 and text.rstrip().endswith(")")
    blanks = "scale,size\n" + "".join(f"{number} of {'9' * 60},{number} x\n" for number in range(12000))
    (tmp_path / "blank.csv").write_text(blanks)
    recipe = Path(made)
    recipe.write_text(recipe.read_text() + "submit: {attributes: {Scale: $(scale), Size: $(size)}}\n")
    assert submit.submit(made, submit.Options(jobs=tmp_path / "blank.csv")).count("9" * 60) == 12000


def test_the_requests_of_a_file_of_jobs_tell_a_bad_place_of_a_disk(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"jobs\.csv:2: no such directory"):
        batch.requests(parse_jobs("io\nnone/io.raw\n", "jobs.csv", tmp_path), "io", [])


@pytest.mark.parametrize(
    ("columns", "meant"),
    [
        ("io,inptus", ["inputs"]),
        ("io,Input_s,prioriy", ["inputs", "priority"]),
        # What the recipe refers to, or is far from any name, is what it says.
        ("io,inputx,note,game,max,inputs", []),
        ("io,inputz", []),
    ],
)
def test_a_column_that_is_nearly_one_of_roosts_own_is_reported(made: str, columns: str, meant: list[str]) -> None:
    recipe = loader.load(made, Path.cwd(), ["submit.attributes={Note: $(note), More: $(inputz)}"]).recipe
    rows = parse_jobs(f"{columns}\n{','.join('x' for _ in columns.split(','))}\n", "jobs.csv", Path.cwd())
    told = [line.rpartition("did you mean ")[2] for line in table.doubtful(rows, recipe)]
    assert told == [f"{name}?" for name in meant]


def test_io_and_submit_tell_of_a_doubtful_column(made: str) -> None:
    Path("jobs.csv").write_text("io,inptus\na.raw,one.txt\n")
    notes = Notes()
    jobs.io(made, [], events=notes, jobs=Path("jobs.csv"))
    submit.submit(made, submit.Options(jobs=Path("jobs.csv")), notes)
    assert len(notes.said) == 2 and all("did you mean inputs?" in line for line in notes.said)


class Notes(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)
