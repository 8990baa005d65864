"""The one door to subprocesses.

Every external tool runs through `run` (wait for it) or `spawn` (interact with it): an argv list, never a shell string;
standard input closed unless given; its own process group, which is killed when the deadline passes, when an exception
is raised, when the task is interrupted (`interruption`), and, through the parent-death signal, when roost itself is
killed.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypedDict, Unpack

from roost.errors import HostError, ToolError
from roost.host import causes, declared, interruption, safetext

Argv = Sequence[str | os.PathLike[str]]

#: The longest deadline that poll(2), which counts milliseconds in 32 bits, can wait for, in seconds: 23 days.
_LONGEST = 2_000_000.0

#: Environment variables passed to tools. Others are dropped: TMPDIR leaks into chroots and breaks maintainer scripts,
#: LD_PRELOAD and PYTHON* change what runs, and the rest may hold secrets.
KEPT = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "XDG_RUNTIME_DIR", "SOURCE_DATE_EPOCH", "APT_CONFIG"}
    | {f"{scheme}_proxy" for scheme in ("http", "https", "ftp", "no")}
    | {f"{scheme}_PROXY" for scheme in ("HTTP", "HTTPS", "FTP", "NO", "ALL")}
    | {"SSL_CERT_FILE", "SSL_CERT_DIR", "CURL_CA_BUNDLE"}
)
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
TAIL_LINES = 12


def leave(argv: Argv, *, wait: float) -> None:
    """Start a tool that may outlive roost, to clean up when the task must end now; wait at most `wait` seconds.

    Its output is discarded. A missing or failing tool is ignored: the next command cleans up.
    """
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        tool = subprocess.Popen(
            [os.fspath(arg) for arg in argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
            cwd="/",
            start_new_session=True,
        )
        tool.wait(wait)


@dataclass(frozen=True, slots=True)
class Completed:
    """The result of a tool: its exit status, output (bytes, empty unless captured) and wall seconds."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    seconds: float

    @property
    def text(self) -> str:
        """Standard output as text; invalid UTF-8 is replaced."""
        return self.stdout.decode("utf-8", "replace")


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the clean environment of tools: C.UTF-8, sbin on PATH, the kept variables, and `extra`."""
    env = {key: os.environ[key] for key in KEPT if key in os.environ}
    env["PATH"] = _path()
    env["LC_ALL"] = "C.UTF-8"
    env.update(extra or {})
    return env


def _path() -> str:
    path = os.environ.get("PATH", "/usr/local/bin:/usr/bin:/bin").split(":")
    return ":".join([*path, *(directory for directory in SBIN if directory not in path)])


def proxies() -> dict[str, str]:
    """Return the environment variables that name proxies."""
    return {name: value for name, value in environment().items() if name.lower().endswith("_proxy")}


def which(tool: str) -> str | None:
    """Return the path of `tool` on the tools' PATH, or None."""
    return shutil.which(tool, path=_path())


def require(tool: str, package: str) -> str:
    """Return the path of `tool`; raise `HostError` that names Debian's `package` when it is absent."""
    found = which(tool)
    if found is None:
        raise HostError(f"{tool} is not installed", hint=f"apt-get install {package}")
    return found


def tail(text: bytes | str, lines: int = TAIL_LINES) -> str:
    """Return the last `lines` non-blank lines of a tool's output, safe to print: no control characters."""
    decoded = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    decoded = decoded.replace("\r\n", "\n").replace("\r", "\n")
    readable = safetext.printable(decoded, keep="\n\t")
    return "\n".join([line[:400] for line in readable.splitlines() if line.strip()][-lines:])


def bounded(argv: Argv, *, memory: int, output: int | None = None) -> list[str]:
    """Return `argv` with limits: `memory` bytes of address space and, if given, files of `output` bytes.

    For tools that read untrusted data, which may make them use all there is. Core files are disabled too. A lower limit
    of this process applies to the tool as well; when it fails because of that, `run` reports it (`_starved`).
    """
    files = [] if output is None else [f"--fsize={_allowed(resource.RLIMIT_FSIZE, output)}"]
    return [
        "prlimit",
        f"--as={_allowed(resource.RLIMIT_AS, memory)}",
        *files,
        "--core=0",
        "--",
        *(os.fspath(arg) for arg in argv),
    ]


def _allowed(limit: int, wanted: int) -> int:
    """Return how much of `wanted` this process may allow: only root can raise a hard limit."""
    hard = resource.getrlimit(limit)[1]
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def _starved(words: Sequence[str], output: str, returncode: int) -> bool:
    """Return whether a tool ran out of memory because of this process's own limit, not that of `bounded`."""
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    own = hard != resource.RLIM_INFINITY and (words[0] != "prlimit" or f"--as={hard}" in words)
    return own and causes.is_memory(output, returncode)


def quoted(argv: Argv) -> str:
    """Return `argv` quoted for pasting into a shell; for logs only."""
    return shlex.join(os.fspath(arg) for arg in argv)


class Surroundings(TypedDict, total=False):
    """How a tool is started: variables added to its environment, its directory, inherited descriptors."""

    env: Mapping[str, str] | None
    cwd: Path | None
    pass_fds: Sequence[int]


class Judgement(Surroundings, total=False):
    """How the exit of a tool is judged, besides how it is started.

    A non-zero exit raises `ToolError` with `what` (default: the tool's name and status) and `hint`, unless `check` is
    false. `foreign` is for programs of an image, whose output proves nothing about the host.
    """

    check: bool
    what: str | None
    hint: str | None
    foreign: bool


@contextmanager
def spawn(
    argv: Argv,
    *,
    log: Path | None = None,
    stdin: int | IO[bytes] = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    **around: Unpack[Surroundings],
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a tool and yield it; its process group is gone when the block is left, however it is left.

    Standard error and, unless `stdout` is given, standard output are appended to `log` after a line with the command.
    Without a log, standard error goes to `stderr`. Raises `HostError` when the tool does not exist.
    """
    words = [os.fspath(arg) for arg in argv]
    declared.check(words, _path())
    sink: int | IO[bytes]
    with contextlib.ExitStack() as stack:
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            sink = stack.enter_context(log.open("ab", buffering=0))
            sink.write(f"$ {quoted(words)}\n".encode())
        else:
            sink = subprocess.DEVNULL if stderr is None else stderr
        if which(words[0]) is None:
            raise HostError(f"{words[0]} is not installed", hint="`inv doctor` says which package provides it")
        yield stack.enter_context(
            interruption.started(
                ["setpriv", "--pdeathsig", "KILL", "--", *words],
                stdin=stdin,
                stdout=sink if stdout is None else stdout,
                stderr=sink,
                env=environment(around.get("env")),
                cwd=around.get("cwd"),
                pass_fds=tuple(around.get("pass_fds", ())),
            )
        )


def run(
    argv: Argv,
    *,
    deadline: float,
    log: Path | None = None,
    stdin: bytes | None = None,
    capture: bool = False,
    **judgement: Unpack[Judgement],
) -> Completed:
    """Run a tool to its end.

    `deadline` is in seconds of wall time. With `capture` standard output is returned, otherwise it goes to `log`. A
    non-zero exit raises `ToolError` with `what` (default: the tool's name and status), the last lines of its output and
    the log's path, unless `check` is false. A passed deadline always raises. When the output shows that the host
    refused something (space, a limit, permission), `HostError` is raised instead; `foreign` disables this for programs
    of an image, whose output proves nothing about the host. A tool that ran out of memory under a limit of this process
    (ulimit -v) raises `HostError` whatever `check` is.
    """
    words = tuple(os.fspath(arg) for arg in argv)
    what, hint = judgement.get("what"), judgement.get("hint")
    around = Surroundings(env=judgement.get("env"), cwd=judgement.get("cwd"), pass_fds=judgement.get("pass_fds", ()))
    name = Path(words[0]).name
    deadline = min(deadline, _LONGEST)
    start = time.monotonic()
    begin = log.stat().st_size if log is not None and log.exists() else 0
    with (
        tempfile.TemporaryFile() as complaints,
        spawn(
            words,
            log=log,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE if capture else None,
            stderr=complaints,
            **around,
        ) as process,
    ):
        try:
            if stdin is None and not capture:
                interruption.await_end(process, deadline)
            stdout, _ = process.communicate(input=stdin, timeout=max(0.0, start + deadline - time.monotonic()))
        except subprocess.TimeoutExpired as timeout:
            raise ToolError(
                f"{what or name} did not end within {deadline:g} s",
                argv=words,
                returncode=None,
                hint=hint,
                log=log,
                tail=tail(_words(log, begin, complaints)),
            ) from timeout
        returncode = process.returncode
        text = _words(log, begin, complaints)
    seconds = time.monotonic() - start
    foreign = judgement.get("foreign", False)
    if returncode != 0 and not foreign and _starved(words, text, returncode):
        raise causes.host_error(causes.MEMORY, what or f"{name} failed", log=log, tail=tail(text))
    if judgement.get("check", True) and returncode != 0:
        output = tail(text) or tail(stdout or b"")
        cause = None if foreign else causes.behind_words(text, returncode) or causes.full(words, output, around["cwd"])
        if cause is not None:
            raise causes.host_error(
                cause, what or f"{name} failed", hint=hint if cause is causes.DENIED else None, log=log, tail=output
            )
        status = f"signal {-returncode}" if returncode < 0 else f"status {returncode}"
        raise ToolError(
            f"{what} ({name}: {status})" if what else f"{name} failed ({status})",
            argv=words,
            returncode=returncode,
            hint=hint,
            log=log,
            tail=output,
        )
    return Completed(words, returncode, stdout or b"", seconds)


def _words(log: Path | None, begin: int, complaints: IO[bytes]) -> str:
    """Return the last 16 KiB of this run's output: of its part of the log, or of its standard error."""
    if log is None:
        complaints.seek(0, os.SEEK_END)
        complaints.seek(max(0, complaints.tell() - 16384))
        return complaints.read().decode("utf-8", "replace")
    if not log.exists():
        return ""
    with log.open("rb") as file:
        file.seek(max(begin, log.stat().st_size - 16384))
        lines = file.read().decode("utf-8", "replace").split("\n")
    return "\n".join(line for line in lines if not line.startswith("$ "))
