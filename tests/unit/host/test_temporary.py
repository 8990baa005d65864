"""Temporary directories: gone afterwards, and after a kill by the next command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from roost.host import temporary
from roost.store import staging
from roost.store.cache import Cache


def _killed(program: str, *arguments: object) -> str:
    """Run a program until it prints a line, kill it, and return the line."""
    child = subprocess.Popen([sys.executable, "-c", program, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    line = child.stdout.readline().strip()
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    return line


HOLD = """
import sys, time
from pathlib import Path
from roost.host import temporary
with temporary.directory("test", Path(sys.argv[1]), hidden=True) as own:
    (own / "file").write_text("x")
    print(own, flush=True)
    time.sleep(60)
"""


def test_gone_after_the_block_however_it_ends(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), temporary.directory("test", tmp_path) as own:
        assert own.stat().st_mode & 0o777 == 0o700
        (own / "file").write_text("x")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_swept_by_the_next(tmp_path: Path) -> None:
    left = Path(_killed(HOLD, tmp_path))
    assert (left / "file").exists()
    assert temporary.abandoned(tmp_path) == [left]
    with temporary.directory("other", tmp_path) as own:
        assert list(tmp_path.iterdir()) == [own]


def test_a_directory_is_swept_once_not_for_each_of_thousands_of_disks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with temporary.directory("test", tmp_path):
        pass
    left = Path(_killed(HOLD, tmp_path))
    with temporary.directory("test", tmp_path):
        assert left.exists()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + temporary.AGAIN + 1)
    with temporary.directory("test", tmp_path):
        assert not left.exists()


def test_one_that_is_swept_while_it_is_made_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mkdir = Path.mkdir
    swept: list[Path] = []

    def make(path: Path, mode: int) -> None:
        mkdir(path, mode)
        if not swept:
            temporary.sweep(tmp_path)
            swept.append(path)

    monkeypatch.setattr(Path, "mkdir", make)
    with temporary.directory("test", tmp_path) as own:
        assert list(tmp_path.iterdir()) == [own] != swept


def test_what_is_in_use_and_what_is_not_roosts_stays(tmp_path: Path) -> None:
    for name in ("roost-", "roost-mine", ".roost-io-0123", "roost-test-0123456789abcdeX", "libguestfsabcdef"):
        (tmp_path / name).mkdir()
    (tmp_path / "roost-file-0123456789abcdef").write_text("")
    (tmp_path / "target").mkdir()
    (tmp_path / "roost-link-0123456789abcdef").symlink_to(tmp_path / "target")
    before = set(tmp_path.iterdir())
    with temporary.directory("test", tmp_path) as own, temporary.directory("test", tmp_path) as other:
        temporary.sweep(tmp_path)
        assert own.is_dir() and other.is_dir()
        # Nor does another process take it.
        program = (
            "import sys; from pathlib import Path; from roost.host import temporary; temporary.sweep(Path(sys.argv[1]))"
        )
        subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
        assert own.is_dir()
    assert set(tmp_path.iterdir()) == before


def test_sockets_that_libguestfs_made_elsewhere_go_too(tmp_path: Path) -> None:
    sockets = Path("/tmp") / f"libguestfs{os.urandom(3).hex()}"
    sockets.mkdir(mode=0o755)
    precious = tmp_path / "precious"
    precious.mkdir()
    program = HOLD.replace('"file").write_text("x")', '"elsewhere").write_text(sys.argv[2])')
    _killed(program, tmp_path, f"{sockets}\n{precious}\n/etc\n")
    temporary.sweep(tmp_path)
    assert not sockets.exists() and precious.is_dir() and Path("/etc").is_dir()


def test_all_of_a_process_goes_at_once(tmp_path: Path) -> None:
    with temporary.directory("test", tmp_path):
        temporary.clear()
        assert list(tmp_path.iterdir()) == []


def test_half_made_results_of_killed_builds_are_swept(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
from roost.store import staging
from roost.store.cache import Cache
def make(directory):
    (directory / "half").write_text("x")
    print(directory, flush=True)
    time.sleep(60)
Cache(Path(sys.argv[1])).put("stage", "key", make)
"""
    left = Path(_killed(program, tmp_path))
    assert left.is_dir()
    Cache(tmp_path).put("stage", "other", lambda folder: None)
    assert not left.exists()


ENDING = [getattr(signal, f"SIG{name}") for name in ("TERM", "INT", "HUP", "QUIT", "XCPU", "USR1", "USR2", "ALRM")]
INTERRUPTED = """
import signal, sys, threading, time
from pathlib import Path
from roost.cli import main as cli
from roost.host import process, temporary
from roost.host.pool import Pool
def work():
    with temporary.directory("thread", Path(sys.argv[1])):
        process.run(["sh", "-c", "echo $$ >" + sys.argv[2] + "; exec sleep 60"], deadline=90)
def busy():
    for _ in range(600):
        time.sleep(0.1)
def task():
    with temporary.directory("main", Path(sys.argv[1])), Pool(max_workers=3) as pool:
        try:
            futures = [pool.submit(one) for one in (work, busy, busy, work)]
            print("ready", flush=True)
            futures[0].result()
        except KeyboardInterrupt:
            if sys.argv[3:]: raise RuntimeError(sys.argv[3])
            raise
class Fake:
    def __init__(self, **_): pass
    def run(self):
        try: task()
        except KeyboardInterrupt: sys.exit(130)
cli.Roost = Fake
cli.main()
"""


@pytest.mark.parametrize(
    ("number", "error"),
    # The last is what threading says when it is interrupted between two steps.
    [*((number, ()) for number in ENDING), (signal.SIGINT, ("cannot release un-acquired lock",))],
)
def test_a_signal_ends_a_task_whose_threads_wait_for_tools(
    number: signal.Signals, error: tuple[str, ...], tmp_path: Path
) -> None:
    place, pid = tmp_path / "place", tmp_path / "pid"
    place.mkdir()
    child = subprocess.Popen([sys.executable, "-c", INTERRUPTED, str(place), str(pid), *error], stdout=subprocess.PIPE)
    assert child.stdout is not None
    child.stdout.readline()
    while not pid.exists() or not pid.read_text().strip():
        time.sleep(0.02)
    begun = time.monotonic()
    child.send_signal(number)
    time.sleep(0.05)
    child.send_signal(signal.SIGINT)  # impatience must not stop the cleaning up
    assert child.wait(10) == 128 + number
    child.stdout.close()
    assert time.monotonic() - begun < 2
    assert list(place.iterdir()) == []
    assert not Path(f"/proc/{pid.read_text().strip()}").exists()


def test_what_a_killed_build_of_another_image_left_is_swept(tmp_path: Path) -> None:
    program = """
import sys, time
from pathlib import Path
from roost.store import staging
with staging.staged(Path(sys.argv[1], "one")) as own:
    print(own, flush=True)
    time.sleep(60)
"""
    left = Path(_killed(program, tmp_path))
    assert left.is_dir()
    with staging.staged(tmp_path / "two") as mine, staging.staged(tmp_path / "three"):
        assert mine.is_dir() and not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["three", "two"]


def test_a_tree_that_goes_slowly_does_not_hold_up_a_task_that_is_to_end(tmp_path: Path) -> None:
    """A slow disk stands behind rm; the tree goes after the task, and nobody takes it for abandoned meanwhile."""
    tools, place = tmp_path / "tools", tmp_path / "cache"
    tools.mkdir()
    (tools / "rm").write_text('#!/bin/sh\nsleep 4\nexec /bin/rm "$@"\n')
    (tools / "rm").chmod(0o755)
    program = """
import sys, time
from roost.cli import main as cli
from roost.store import cache
class Fake:
    def __init__(self, **_): pass
    def run(self):
        try:
            with cache.work_directory() as work:
                (work / "tree").mkdir()
                print(work, flush=True)
                time.sleep(60)
        except KeyboardInterrupt:
            sys.exit(130)
cli.Roost = Fake
cli.main()
"""
    env = {**os.environ, "ROOST_CACHE": str(place), "PATH": f"{tools}:{os.environ['PATH']}"}
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=env)
    assert child.stdout is not None
    work = Path(child.stdout.readline().decode().strip())
    begun = time.monotonic()
    child.send_signal(signal.SIGINT)
    assert child.wait(20) == 130
    child.stdout.close()
    assert time.monotonic() - begun < 3
    while list(work.parent.iterdir()):
        assert time.monotonic() - begun < 60
        time.sleep(0.1)
