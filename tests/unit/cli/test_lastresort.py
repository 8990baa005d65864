"""No traceback on anything a user can do: closed and full streams, small limits, lost directories, names of bytes."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from roost.cli import lastresort
from roost.errors import HostError, UsageError

#: Writes b.sub, which names the disk root.raw.
SUBMIT = (
    "printf '%s\\n' universe=vm executable=x vm_type=kvm vm_memory=512 vm_disk=root.raw:vda:w:raw "
    "transfer_input_files=root.raw queue >b.sub"
)
PROJECT = Path(__file__).parents[3]


def run(command: str, cwd: Path, **extra: str) -> tuple[int, str]:
    """Run a shell command in which $ROOST is roost; return its status and what it said."""
    env = {**os.environ, "ROOST": f"{sys.executable} -P -m roost", "ROOST_ROOT": str(PROJECT), **extra}
    done = subprocess.run(
        ["bash", "-c", command], cwd=cwd, env=env, capture_output=True, timeout=120, check=False, errors="replace"
    )
    said = done.stdout + done.stderr
    assert "Traceback" not in said and "Exception ignored" not in said, said
    return done.returncode, said


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("$ROOST schema >&-", 3, "standard output cannot be written: Bad file descriptor"),
        ("$ROOST schema >/dev/full", 3, "standard output cannot be written: No space left on device"),
        ("$ROOST recipes --json >/dev/full", 3, "No space left on device"),
        ("$ROOST --list >/dev/full", 3, "No space left"),
        ("$ROOST schema <&- 2>&-", 0, '"$schema"'),
        ("$ROOST check nope 2>&-", 2, "1 problem"),
        ("ulimit -f 1; $ROOST schema --output s.json", 3, "s.json cannot be written: File too large (raise"),
        ("$ROOST check $'a\\xff\\e[31m'", 2, "no such recipe: 'a"),
        ("$ROOST $'a\\xff\\e[31m'", 2, "no such task"),
        ("$ROOST check $(printf 'x%.0s' $(seq 5000))", 2, "File name too long"),
        ("$ROOST schema -o $(printf 'x%.0s' $(seq 300))", 2, "File name too long"),
        (f"mkfifo root.raw; {SUBMIT}; $ROOST boot b.sub", 1, "root.raw is a FIFO, not a file"),
        (f"ln -s root.raw root.raw; {SUBMIT}; $ROOST boot b.sub", 1, "root.raw cannot be read: Too many levels"),
        (f"{SUBMIT}; $ROOST boot b.sub", 1, "there is no root.raw in . (build the image first)"),
        ("$ROOST check /", 2, "there are no recipes in the directory"),
        ("mkdir d.yaml; $ROOST check ./d.yaml", 2, "there are no recipes in the directory"),
        ("mkdir d.sub; $ROOST lint d.sub", 2, "d.sub"),
        ("$ROOST schema -o /sys/s.json", 3, "/sys/s.json cannot be written"),
        ("$ROOST schema -o .", 2, ". is a directory, not a file"),
        ("mkdir g; cd g; rmdir ../g; $ROOST recipes", 3, "the current directory does not exist any more"),
        ("mkdir g; cd g; rmdir ../g; $ROOST schema -o x", 3, "cannot be written"),
        ("touch c; ROOST_CACHE=$PWD/c $ROOST build smoke", 3, "is a file, not a directory"),
        ("$ROOST recipes nope", 2, "no such recipe: 'nope'"),
        ("$ROOST collect --max-files -1 a b", 2, "--max-files takes a number of at least 0, not -1"),
        ("$ROOST check $'a\\nb'", 2, "a\\nb: 1 problem"),
        ("$ROOST check $(printf 'x%.0s' $(seq 5000))", 2, "xxx...: 1 problem"),
        ("mkfifo q; $ROOST lint q", 2, "q is a FIFO, not a file"),
        ("$ROOST lint /tmp", 2, "/tmp is a directory, not a file"),
        ("$ROOST lint /dev/zero", 2, "/dev/zero is a device, not a file"),
        ("$ROOST io smoke -o /dev/null/x", 2, "/dev/null is not a directory"),
        ("echo 'extends: [l2.yaml]' >l1.yaml; $ROOST check ./l1.yaml", 2, "(looked for"),
        ("env -u HOME $ROOST recipes", 0, "smoke"),
        ("LC_ALL=C PYTHONIOENCODING=ascii $ROOST check $'\\xe2\\x86\\x92'", 2, "1 problem"),
    ],
)
def test_what_a_user_can_do_ends_in_one_line(command: str, status: int, words: str, tmp_path: Path) -> None:
    """Each with its cause, and with the status that scripts rely on."""
    code, said = run(command, tmp_path)
    assert (code, words in said) == (status, True), said
    assert not [one.name for one in tmp_path.iterdir() if one.name.startswith((".roost", "~"))]


@pytest.mark.parametrize("call", ["--list", "schema", "recipes --json", "--help"])
def test_a_reader_that_has_gone_ends_every_call_alike(call: str, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    argv = [sys.executable, "-P", "-m", "roost", *call.split()]
    env = {**os.environ, "ROOST_ROOT": str(PROJECT)}
    done = subprocess.run(argv, stdout=writing, stderr=subprocess.PIPE, cwd=tmp_path, env=env, check=False, timeout=60)
    os.close(writing)
    assert (done.returncode, done.stderr) == (lastresort.CLOSED, b"")


def test_refusals_of_the_host_are_its_own_fault() -> None:
    """The cause, the file, what to do; exit code 3."""
    for error, words in (
        (OSError(errno.EMFILE, "Too many open files", "/x"), "ulimit -n"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), ""),
        (OSError(errno.EFBIG, "File too large"), "ulimit -f"),
        (OSError(errno.ENOTDIR, "Not a directory", "/x"), "/x: Not a directory"),
        (OSError("plain"), "plain"),
        (MemoryError(), "memory"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
    ):
        told = lastresort.told(error)
        assert isinstance(told, HostError) and words in str(told), told
    usage = UsageError("x")
    assert lastresort.told(usage) is usage


def test_who_did_not_say_what_to_do_about_a_refusal_of_the_host_has_it_said() -> None:
    for hint, said in (
        (None, "write elsewhere, or mount it rw"),
        ("use a clone of your own", "use a clone of your own"),
    ):
        error = HostError("out cannot be made: Read-only file system", hint=hint)
        error.__cause__ = OSError(errno.EROFS, "Read-only file system", "out")
        assert lastresort.told(error) is error
        assert str(error.problem) == f"out cannot be made: Read-only file system ({said})"


@pytest.mark.parametrize("number", [errno.ENAMETOOLONG, errno.ELOOP])
def test_a_name_that_no_host_takes_is_the_callers_mistake(number: int) -> None:
    told = lastresort.told(OSError(number, os.strerror(number), "a" * 5000))
    assert isinstance(told, UsageError) and os.strerror(number) in str(told) and len(str(told)) < 400


def test_a_bug_leaves_its_traceback_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The terminal has one line and the file's path."""
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path))
    try:
        {}["x"]  # type: ignore[index]
    except KeyError as error:
        told = lastresort.told(error)
    assert told.exit_code == 1 and "a bug in roost" in str(told) and "KeyError" in str(told)
    assert told.log is not None and "Traceback" in told.log.read_text() and str(told.log) in str(told)
    (tmp_path / "file").touch()
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    again = lastresort.told(ValueError("\x1b[31m"))
    assert again.log is not None and again.log.parent == tmp_path
