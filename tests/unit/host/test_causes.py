"""What the host refused is told as such, not as bad content: behind tools' words, exceptions, limits, full disks."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from invoke.exceptions import Exit

from roost.cli import verb
from roost.errors import HostError, ImageError, ToolError
from roost.host import causes, namespace, process
from roost.iodisk import collect, make
from roost.recipe import words
from roost.sources import unpacked

FULL = Path("/dev/full")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "quota"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENFILE, "fs.file-max"),
        (errno.ENOMEM, "ulimit -v"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "dmesg"),
        (errno.EACCES, "permission denied"),
    ],
)
def test_a_failing_tool_names_the_cause(number: int, said: str, tmp_path: Path) -> None:
    script = f'echo "tool: x: {os.strerror(number)}" >&2; echo "tool: Exiting with failure" >&2; exit 1'
    for log in (None, tmp_path / "log"):
        with pytest.raises(HostError, match="cannot pack it") as caught:
            process.run(["sh", "-c", script], deadline=20, log=log, what="cannot pack it")
        assert said in str(caught.value) and caught.value.exit_code == 3


def test_a_real_tool_on_a_full_disk() -> None:
    with pytest.raises(HostError, match="no space left"):
        process.run(["dd", "if=/dev/zero", f"of={FULL}", "count=1"], deadline=20)


def test_a_limit_that_ends_a_tool_with_a_signal(tmp_path: Path) -> None:
    script = f"ulimit -f 1; exec dd if=/dev/zero of={tmp_path}/big bs=1M count=1"
    for wrapped in (["sh", "-c", script], ["sh", "-c", f"({script}); exit $?"]):
        with pytest.raises(HostError, match="ulimit -f"):
            process.run(wrapped, deadline=20)


def test_words_of_another_run_and_of_an_image_prove_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("earlier: No space left on device\n")
    with pytest.raises(ToolError):
        process.run(["sh", "-c", "echo bad content >&2; exit 1"], deadline=20, log=log)
    with pytest.raises(ToolError):
        process.run(["sh", "-c", "echo >/dev/full"], deadline=20, foreign=True)
    # The command is in the log too; its words are not the tool's.
    with pytest.raises(ToolError):
        process.run(["sh", "-c", "exit 1", "No space left on device"], deadline=20, log=log)


#: In a small file system: a disk that is all hole, and a file that takes what is left.
SMALL = 'mount -t tmpfs -o size=256k roost "$1" && cd "$1" && shift && truncate -s 8M disk && exec "$@"'
PREPARE = """
import sys; from pathlib import Path; from roost.errors import RoostError; from roost.host import process
if sys.argv[1] == "full":
    try: Path("rest").write_bytes(bytes(1 << 20))
    except OSError: pass
def run(argv, **how):
    try: process.run(argv, deadline=20, **how)
    except RoostError as error: print(error.exit_code, str(error).splitlines()[0])
"""


@pytest.mark.parametrize("state", ["full", "free"])
def test_a_tool_that_does_not_say_why_it_failed(state: str, tmp_path: Path) -> None:
    """Where a file system that it was to write to is full, that is the cause; a bad content stays one."""
    code = PREPARE + (
        "here = Path.cwd()\n"
        "if sys.argv[1] == 'full':\n"
        "    run(['sfdisk', '--quiet', '--no-reread', here / 'disk'], stdin=b'label: dos\\n1 : start=2048\\n')\n"
        "for word in (here / 'disk', f'--to={here}/disk', f'of={here}/new'): run(['false', word])\n"
        "run(['false', 'disk'], cwd=here)\n"
        "run(['sh', '-c', 'echo tar: disk: Wrote only 512 of 10240 bytes >&2; exit 2', here / 'disk'])\n"
        "print('content')\n"
        "run(['sh', '-c', 'echo not a qcow2 file >&2; exit 1', here / 'disk'])\n"
        "run(['false', '--quiet', 'no such', '/nowhere/x', '/dev/full'])\n"
        "print(sorted(path.name for path in here.iterdir()))"
    )
    argv = ["sh", "-c", SMALL, "sh", str(tmp_path), sys.executable, "-P", "-c", code, state]
    done = subprocess.run(namespace.current().argv(argv), capture_output=True, text=True, timeout=60, check=True)
    told, content = done.stdout.split("content\n")
    if state == "full":
        assert told.splitlines()[0].startswith("3 sfdisk failed: no space left on the disk")
        assert [line[:2] for line in told.splitlines()] == ["3 "] * 6
        assert all("no space left on the disk" in line for line in told.splitlines())
    else:
        assert [line[:2] for line in told.splitlines()] == ["1 "] * 5
    *lines, left = content.splitlines()
    assert [line[:2] for line in lines] == ["1 ", "1 "]
    assert left == ("['disk', 'rest']" if state == "full" else "['disk']")


def test_the_refusal_that_stopped_it_counts() -> None:
    text = "find: /x: Permission denied\ntar: y: No space left on device\n"
    cause = causes.behind_words(text, 1)
    assert cause is not None and cause.number == errno.ENOSPC
    assert causes.behind_words("it is bad", 1) is None


def _run(failure: BaseException) -> int:
    @verb.verb()
    def task(_context: object) -> None:
        raise failure

    with pytest.raises(Exit) as caught:
        task.body(None)
    return caught.value.code


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.ENOSPC, "No space left on device", "/x"),
        OSError(errno.EMFILE, "Too many open files"),
        PermissionError(errno.EACCES, "Permission denied", "/x"),
        MemoryError(),
        RuntimeError("can't start new thread"),
    ],
)
def test_no_task_ends_with_a_traceback_for_it(failure: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(failure) == 3
    assert "Traceback" not in capsys.readouterr().err


def test_a_bug_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    @verb.verb()
    def task(_context: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setenv("ROOST_CACHE", str(tmp_path))
    with pytest.raises(Exit) as ended:
        task.body(None)
    assert ended.value.code == 1
    (log,) = (tmp_path / "log").glob("bug-*.log")
    assert "RuntimeError: a bug" in log.read_text() and log.name in capsys.readouterr().err


def test_whoever_blames_content_asks_first() -> None:
    with pytest.raises(HostError, match="/x: the limit of open files"):
        causes.check(OSError(errno.EMFILE, "Too many open files", "/x"))
    wrapped = ImageError("it is bad")
    wrapped.__cause__ = MemoryError()
    with pytest.raises(HostError):
        causes.check(wrapped)
    causes.check(OSError(errno.ENOENT, "No such file or directory", "/x"))
    causes.check(ImageError("it is bad"))


@pytest.fixture
def package(tmp_path: Path) -> Path:
    tree = tmp_path / "hello"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: hello\nVersion: 1\nArchitecture: amd64\nMaintainer: x <x@example.org>\nDescription: x\n"
    )
    (tree / "big").write_bytes(os.urandom(200_000))
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", str(tree), str(tmp_path / "hello.deb")], check=True)
    return tmp_path / "hello.deb"


def _limited(limit: Callable[[], None], package: Path, work: Path) -> str:
    """Return what unpacking says in a process with a limit."""
    script = (
        "import sys; from pathlib import Path; from roost.sources import unpacked\n"
        "from roost.errors import RoostError\n"
        "work = Path(sys.argv[2])\n"
        "try: unpacked.unpack([Path(sys.argv[1])], work / 'tree', work, work / 'log')\n"
        "except RoostError as error: print(error.exit_code, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(package), str(work)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


def test_a_limit_while_a_package_is_unpacked_is_no_broken_package(package: Path, tmp_path: Path) -> None:
    said = _limited(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)), package, tmp_path)
    assert said.startswith("3 ") and "ulimit -f" in said


def test_a_full_disk_while_a_package_is_unpacked_is_no_broken_package(package: Path, tmp_path: Path) -> None:
    (tmp_path / "package.tar").symlink_to(FULL)
    with pytest.raises(HostError, match="no space left"):
        unpacked.unpack([package], tmp_path / "tree", tmp_path, tmp_path / "log")


@pytest.mark.parametrize("damage", ["cut", "zeros"])
def test_a_broken_package_is_told_as_such(damage: str, package: Path, tmp_path: Path) -> None:
    data = package.read_bytes()
    package.write_bytes(data[:-50_000] if damage == "cut" else data[:-50_000] + bytes(50_000))
    with pytest.raises(unpacked.BrokenPackageError, match=r"hello\.deb is not a complete package"):
        unpacked.unpack([package], tmp_path / "tree", tmp_path, tmp_path / "log")


def test_a_name_is_never_its_own_suggestion() -> None:
    assert words.near("smoke", ["smoke"]) is None
    assert words.near("smoke", ["smoke", "smokes"]) == "smokes"
    assert words.did_you_mean("smoke", ["smoke"]) == "known: smoke"


@pytest.mark.parametrize(
    ("number", "hint", "collecting"),
    [
        (errno.EFBIG, "raise `ulimit -f`", "raise `ulimit -f`"),
        (errno.EMFILE, "raise `ulimit -n`", "raise `ulimit -n`"),
        (errno.EROFS, "write elsewhere", "write elsewhere"),
        (errno.ENOSPC, "free some space, or name another directory", "free some space"),
        (errno.EPERM, "None", "name another directory"),
    ],
)
def test_an_io_disk_that_the_host_refuses_has_its_fix(number: int, hint: str, collecting: str) -> None:
    """A read-only directory was said to be full, and a limit had no way out."""
    assert str(make._hint(OSError(number, "x"))).startswith(hint)
    assert collect._fix(OSError(number, "x")).startswith(collecting)


def test_a_full_disk_while_a_directory_is_copied_has_its_cause() -> None:
    """copytree raises a list of (source, target, words), which was shown as it is."""
    error = shutil.Error([("/a/root", "/b/root", "[Errno 28] No space left on device: '/a/root' -> '/b/root'")])
    cause = causes.behind(error)
    assert cause is not None and cause.number == errno.ENOSPC


def test_who_owns_what_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the message need not exist: then it is the directory that is somebody's."""
    (tmp_path / "x").touch()
    real = Path.stat
    for owner, who in ((0, "root"), (2**31, "the user 2147483648")):
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
        monkeypatch.setattr(
            Path, "stat", lambda self, owner=owner, **how: os.stat_result((*real(self, **how)[:4], owner, *[0] * 5))
        )
        for name, place in (("x", tmp_path / "x"), ("new", tmp_path), ("a/b", tmp_path)):
            wrong = causes.unwritable(tmp_path / name, PermissionError(errno.EACCES, "no", str(tmp_path / name)))
            assert wrong.problem.hint == f"check the owner and mode of {place}: it belongs to {who}"
        monkeypatch.undo()
    assert causes.hint(PermissionError(errno.EACCES, "no")) == causes.DENIED.hint
    assert causes.hint(OSError(errno.ENOENT, "no")) is None
    assert causes.hint(OSError(errno.ENOSPC, "no")) == "free some space, or build elsewhere"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), "No such file or directory"),
        (OSError("[Errno 111] Connection refused"), "Connection refused"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)"), "wrong version number"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (TimeoutError(), "no answer in time"),
        (RuntimeError("the bucket is closed"), "the bucket is closed"),
        (EOFError(), "no reason is given"),
    ],
)
def test_a_reason_has_no_number_and_no_class(error: BaseException, told: str) -> None:
    assert causes.reason(error) == told
