"""`inv gc`: what goes out of the cache and out of build/, what a running task keeps, what is never touched."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from roost.cli import gc as gc_task
from roost.cli import lastresort
from roost.events import Silent
from roost.host import paths
from roost.store import entries, lease
from roost.store import gc as collection
from roost.store.cache import Cache, work_directory
from roost.store.gc import Rules
from roost.store.gc_report import Report

PROJECT = Path(__file__).resolve().parents[3]
DAY = 86400.0
KEYS = [f"{number:064x}" for number in range(1, 9)]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache of its own."""
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    # Work directories in memory are shared by all of a user's caches.
    monkeypatch.setattr("roost.host.memory.SHARED", tmp_path / "shm")
    return paths.cache_root()


def _put(root: Path, stage: str, key: str, *, size: int = 4096, idle: float = 0.0) -> Path:
    directory = Cache(root).put(stage, key, lambda directory: _write(directory / "tree.tar", size))
    _age(directory, idle)
    return directory


def _write(path: Path, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(os.urandom(size))


def _file(root: Path, name: str, *, size: int = 4096, idle: float = 0.0) -> Path:
    _write(root / name, size)
    _age(root / name, idle)
    return root / name


def _age(path: Path, idle: float) -> None:
    then = time.time() - idle
    os.utime(path, (then, then))


def _collect(root: Path, *, delete: bool = True, age: float = 30 * DAY, cap: int = 1 << 40) -> Report:
    return collection.collect(root, root.parent / "build", Rules(age, cap), Silent(), delete=delete)


def _what(report: Report, state: str | None = None) -> list[str]:
    return [item.what for item in report.items if state in {None, item.state}]


def test_what_was_not_used_for_long_goes_and_a_dry_run_touches_nothing(root: Path) -> None:
    old, young = _put(root, "rootfs", KEYS[0], idle=40 * DAY), _put(root, "rootfs", KEYS[1], idle=20 * DAY)
    package = _file(root, "packages/amd64/nano_7.2-1_amd64.deb", idle=40 * DAY)
    index = _file(root, f"inrelease/{KEYS[0]}", idle=31 * DAY)
    log = _file(root, "log/smoke-0123abcd/a.log").parent
    _age(log, 50 * DAY)
    said = _collect(root, delete=False)
    gone = [f"rootfs/{KEYS[0]}", "packages/amd64/nano_7.2-1_amd64.deb", f"inrelease/{KEYS[0]}", "log/smoke-0123abcd"]
    assert sorted(_what(said, "would go")) == sorted(gone)
    assert next(item for item in said.items if item.what == gone[0]).why == "not used for 40 days"
    assert all(path.exists() for path in (old, young, package, index, log))
    done = _collect(root)
    assert sorted(_what(done, "gone")) == sorted(gone)
    assert done.bytes() == said.bytes() >= 4 * 4096
    assert not any(path.exists() for path in (old, package, index, log))
    assert young.is_dir()
    assert not _collect(root).items


def test_reports_of_mistakes_of_roost_go_by_age(root: Path) -> None:
    young = lastresort.told(KeyError("x")).log
    assert young is not None
    old = _file(root, "log/bug-20260101T000000-7.log", idle=40 * DAY)
    _file(root, "log/extract.log")
    _file(root, "log/originals.log")
    other = _file(root, "log/bug-report.txt", idle=40 * DAY)
    done = _collect(root)
    assert _what(done, "gone") == [f"log/{old.name}"]
    assert done.notes == ["not written by roost, and not touched: log/bug-report.txt"]
    assert young.exists() and other.exists() and not old.exists()


def test_reading_a_result_keeps_it(root: Path) -> None:
    kept = _put(root, "rootfs", KEYS[0], idle=40 * DAY)
    assert Cache(root).get("rootfs", KEYS[0]) == kept
    assert not _collect(root).items


def test_the_cap_takes_what_was_used_longest_ago(root: Path) -> None:
    for number in range(4):
        _put(root, "rootfs", KEYS[number], size=1 << 20, idle=(4 - number) * DAY)
    deb = _file(root, "packages/amd64/nano_7.2-1_amd64.deb", size=1 << 20, idle=2.5 * DAY)
    index = _file(root, f"inrelease/{KEYS[0]}", idle=10 * DAY)
    done = _collect(root, cap=(3 << 20) + (1 << 19))
    assert _what(done) == [f"rootfs/{KEYS[0]}", f"rootfs/{KEYS[1]}"]
    assert "least recently used (4 days ago), and the cache is larger than 3.5 MiB" in done.items[0].why
    assert deb.exists()
    # Small things cost the next build more than they take.
    assert index.exists()
    assert _what(_collect(root, cap=0)) == [
        deb.relative_to(root).as_posix(),
        *(f"rootfs/{KEYS[one]}" for one in (2, 3)),
    ]


@contextmanager
def _task(root: Path, script: str) -> Iterator[subprocess.Popen[str]]:
    """Run a script that uses the cache, says `ready`, and ends when its input does."""
    text = f"import sys\n{script}\nprint('ready', flush=True)\nsys.stdin.read()\n"
    lines = "\n".join(f"    {line}" for line in text.splitlines())
    whole = (
        "from pathlib import Path\nfrom roost.host import paths\nfrom roost.store import lease\n"
        "from roost.store.cache import Cache, work_directory\n"
        f"cache = Cache(paths.cache_root())\nwith lease.held():\n{lines}\n"
    )
    env = {**os.environ, "ROOST_CACHE": str(root), "PYTHONPATH": str(PROJECT)}
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", whole], env=env, stdin=pipe, stdout=pipe, text=True)
    try:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait(30)
        if process.stdout:
            process.stdout.close()


def test_what_a_running_task_uses_stays_and_the_rest_goes(root: Path) -> None:
    for number in range(3):
        _put(root, "rootfs", KEYS[number], idle=40 * DAY)
    package = _file(root, "packages/amd64/nano_7.2-1_amd64.deb", idle=40 * DAY)
    with _task(root, f"cache.get('rootfs', {KEYS[1]!r})"):
        done = _collect(root, cap=0)
        assert _what(done, "gone") == [f"rootfs/{KEYS[0]}", f"rootfs/{KEYS[2]}"]
        # Packages are copied by mmdebstrap, which marks none of them.
        assert package.exists()
        assert (root / "rootfs" / KEYS[1]).is_dir()
        assert any("a task is running" in note for note in done.notes)
    assert sorted(_what(_collect(root, cap=0))) == ["packages/amd64/nano_7.2-1_amd64.deb", f"rootfs/{KEYS[1]}"]


def test_a_killed_task_keeps_nothing_and_its_leftovers_go(root: Path) -> None:
    (root.parent / "shm").mkdir()
    script = (
        f"cache.get('rootfs', {KEYS[0]!r})\nwork = work_directory()\n(work.__enter__() / 'tree').mkdir()\n"
        f"def make(directory):\n    (directory / 'half').write_bytes(b'x' * 9000)\n    print('ready', flush=True)\n"
        f"    sys.stdin.read()\ncache.put('rootfs', {KEYS[1]!r}, make)"
    )
    _put(root, "rootfs", KEYS[0], idle=40 * DAY)
    with _task(root, script) as task:
        making = f"rootfs/.{KEYS[1]}.making"
        assert not _what(_collect(root, cap=0), "gone")
        assert (root / making).is_dir()
        assert len(list((root / "work").iterdir())) == 2
        task.send_signal(signal.SIGKILL)
        task.wait(30)
        assert len(list((root / "using").glob("[!.]*.lock"))) == 1
        said = _collect(root, delete=False, cap=0)
        assert making in _what(said)
        assert len(list((root / "work").iterdir())) == 2
        done = _collect(root, cap=0)
    assert f"rootfs/{KEYS[0]}" in _what(done, "gone")
    assert making in _what(done, "gone")
    assert not list((root / "work").iterdir())
    assert not list((root / "using").glob("[!.]*.lock"))
    assert not list((root / "rootfs").iterdir()), "locks of what is gone go too when nobody uses the cache"


def test_a_work_directory_in_use_stays(root: Path) -> None:
    (root.parent / "shm").mkdir()
    with work_directory() as directory:
        (directory / "tree").mkdir()
        assert not _collect(root, cap=0).items
        assert directory.is_dir()


def test_a_result_that_is_being_made_stays(root: Path) -> None:
    old = _put(root, "rootfs", KEYS[0], idle=40 * DAY)
    with FileLock(root / "rootfs" / f".{KEYS[0]}.lock"):
        done = _collect(root)
        assert _what(done, "stays") == [f"rootfs/{KEYS[0]}"]
    assert old.is_dir()
    assert done.bytes() == 0


def test_a_lease_waits_while_things_are_taken_away(root: Path) -> None:
    begun: list[float] = []

    def use() -> None:
        with lease.held():
            begun.append(time.monotonic())

    with lease.gate(root):
        thread = threading.Thread(target=use)
        thread.start()
        time.sleep(0.2)
        assert not begun
    thread.join(10)
    assert begun


def test_what_is_not_roosts_is_never_touched(root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "tree").mkdir(parents=True)
    (outside / "tree/file").write_text("mine")
    _put(root, "rootfs", KEYS[0], idle=40 * DAY)
    for link in (
        f"rootfs/{KEYS[1]}",
        "rootfs/.gone-1-ab",
        f"rootfs/.{KEYS[2]}.making",
        "log/smoke-01234567",
        "downloads",
    ):
        (root / link).parent.mkdir(exist_ok=True)
        (root / link).symlink_to(outside)
    (root / "inrelease").mkdir()
    (root / f"inrelease/{KEYS[3]}").symlink_to(outside / "tree/file")
    strange = [
        "thesis/a.tex",
        "rootfs/notes/x",
        "rootfs/todo.txt",
        "packages/amd64/mine.txt",
        "packages/x.deb",
        f"log/{KEYS[0]}",
    ]
    strange += [f"probe/{KEYS[0]}", f"inrelease/{KEYS[0]}.bak", " ", "packages/amd64/-rf"]
    for name in strange:
        _file(root, name, idle=400 * DAY)
    os.mkfifo(root / f"inrelease/{KEYS[5]}")
    done = _collect(root, age=0, cap=0)
    assert _what(done) == [f"rootfs/{KEYS[0]}"]
    assert all((root / name).is_file() for name in strange)
    assert (outside / "tree/file").read_text() == "mine"
    assert (root / f"rootfs/{KEYS[1]}").is_symlink()
    assert (root / "downloads").is_symlink()
    assert any("not written by roost, and not touched" in note for note in done.notes)


def test_half_images_in_build_go_and_built_ones_stay(root: Path) -> None:
    build = root.parent / "build"
    for name in ("smoke/root.qcow2", ".smoke.staging-77/root.qcow2", ".sim.staging-78/root.qcow2", "smoke.kept/x"):
        _file(build, name)
    (build / ".other.staging-9").symlink_to(root.parent)
    with FileLock(build / ".sim.lock"):
        done = _collect(root)
    assert _what(done, "gone") == ["build/.smoke.staging-77"]
    assert sorted(path.name for path in build.iterdir() if path.suffix != ".lock") == [
        ".other.staging-9",
        ".sim.staging-78",
        "smoke",
        "smoke.kept",
    ]


def test_a_collection_that_was_killed_is_ended_by_the_next(root: Path) -> None:
    aside = _put(root, "rootfs", KEYS[0])
    aside.rename(aside.with_name(".gone-77-0abc"))
    done = _collect(root)
    assert [(item.what, item.why) for item in done.items] == [
        ("rootfs/.gone-77-0abc", "left by a collection that was killed")
    ]
    assert not list((root / "rootfs").glob(".gone*"))


def test_a_download_that_broke_off_goes_by_age_only(root: Path) -> None:
    old, young = _file(root, f"downloads/.{KEYS[0]}.part", idle=40 * DAY), _file(root, f"downloads/.{KEYS[1]}.part")
    done = _collect(root, cap=0)
    assert _what(done) == [f"downloads/.{KEYS[0]}.part"]
    assert young.exists()
    assert not old.exists()


def test_what_cannot_go_is_said(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _put(root, "rootfs", KEYS[0], idle=40 * DAY)

    def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(shutil, "rmtree", refuse)
    done = _collect(root)
    assert not done.ok
    assert [(item.state, item.problem) for item in done.items] == [("stays", "Permission denied")]
    assert done.bytes() == 0


def test_all_that_roost_keeps_in_the_cache_is_known() -> None:
    """A new kind of entry that `inv gc` does not know would stay for ever."""
    found = set()
    for path in (PROJECT / "roost").rglob("*.py"):
        text = path.read_text()
        names = re.findall(r"cache_root\(\) / (\w+|\"\w+\")|cache\.root / (\w+|\"\w+\")|\.put\((\w+|\"\w+\")", text)
        for word in (word for match in names for word in match if word):
            constant = re.search(rf'^{word} = "(\w+)"$', text, re.MULTILINE)
            found |= {word.strip('"')} if word.startswith('"') else {constant[1]} if constant else set()
        if ".stored(" in text:
            found |= set(re.findall(r'Stage\(\s*"(\w+)"', text))
    known = {kind.name for kind in entries.KINDS} | entries.OTHERS
    assert {"rootfs", "trees", "bases", "packages", "work", "boot"} <= found
    assert found <= known


def test_a_missing_cache_is_not_an_error(root: Path) -> None:
    assert not _collect(root).items


def _roost(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "ROOST_CACHE": str(root), "PYTHONPATH": str(PROJECT), "ROOST_ROOT": str(root.parent)}
    argv = [sys.executable, "-m", "roost", *words]
    return subprocess.run(argv, cwd=root.parent, env=env, capture_output=True, text=True, check=False)


def test_the_task(root: Path) -> None:
    _put(root, "rootfs", KEYS[0], idle=3 * DAY)
    assert "nothing to remove" in _roost(root, "gc").stdout
    said = _roost(root, "gc", "--older-than", "2d")
    assert said.returncode == 0
    assert "dry run: --delete removes it" in said.stdout
    assert "not used for 3 days" in said.stdout
    shown = json.loads(_roost(root, "gc", "--cap", "1KiB", "--json").stdout)
    assert [item["state"] for item in shown["items"]] == ["would go"]
    assert not shown["deleted"]
    shown = json.loads(_roost(root, "gc", "--older-than=2d", "--delete", "--json").stdout)
    assert [item["state"] for item in shown["items"]] == ["gone"]
    assert shown["bytes"] > 4000
    assert not (root / "rootfs" / KEYS[0]).exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--older-than", "soon"], "'soon' is not a time"),
        (["--cap", "lots"], "'lots' is not a size"),
        (["--keep", "3"], "for a catalogue"),
        (["URL", "--cap", "1GiB"], "for the cache"),
        (["URL", "--keep", "0"], "the latest version always stays"),
        (["URL", "--keep", "few"], "neither a number nor NAME@VERSION"),
        (["URL", "--keep", "3", "--keep", "4"], "one number"),
        (["URL", "--keep", "3"], "no such directory"),
        (["one", "two"], "one name at a time"),
        (["--olderthan", "3d"], "--older-than"),
    ],
)
def test_a_wrong_call(root: Path, words: list[str], said: str) -> None:
    done = _roost(root, "gc", *words)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr


def test_one_entry_is_one(root: Path) -> None:
    _put(root, "rootfs", KEYS[0])
    said = gc_task._shown(_collect(root))
    assert "1 entry" in said and "1 entries" not in said
