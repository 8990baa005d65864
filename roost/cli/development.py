"""The project's own checks: ruff, mypy --strict, docs, pytest. For a checkout, not for an installed roost."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from roost.errors import HostError, UsageError
from roost.host import capacity, temporary
from roost.host.paths import project_root

#: Bytes of memory needed by a process of the unit tests with its tools, and by one that builds and boots.
WORKER, BOOTER = 1 << 30, 3 << 30
#: Shell scripts for shellcheck; those in dialects that it does not support are left out.
SHELL = ("inv", ".ci/run", ".ci/fresh", ".ci/newcomer", "roost/factory/node.sh", "roost/guest/common",
         "roost/guest/first-boot", "roost/guest/job", "roost/guest/power-button", "roost/guest/power-off",
         "roost/guest/start", "roost/guest/watch", "roost/sources/hooks/base", "roost/sources/hooks/download",
         "roost/sources/hooks/essential", "roost/sources/hooks/finish", "roost/sources/hooks/install",
         "roost/sources/hooks/select", "roost/sources/hooks/setup",
         "recipes/files/run", "recipes/base/xen-dom0/start", "recipes/base/xen-dom0/block", "roost/site/probe",
         "roost/site/domain-xml", "tests/pool/sessions/probe")  # fmt: skip


def _run(argv: Sequence[str]) -> bool:
    # Not roost.host.process: these tools write to the developer's terminal and have no deadline.
    if importlib.util.find_spec(argv[0]) is None:
        raise HostError(f"{argv[0]} is not installed", hint="`./inv test` of a checkout installs the developers' tools")
    sys.stderr.write(f"roost: {' '.join(argv)}\n")
    return subprocess.run([sys.executable, "-m", *argv], cwd=_checkout(), check=False).returncode == 0


def _checkout() -> Path:
    root = project_root()
    if not (root / "tests").is_dir():
        raise UsageError("the tests are in a checkout of roost, not in an installed one")
    return root


def check_code() -> bool:
    """Run ruff, mypy, import-linter, shellcheck, codespell and MkDocs; return whether all are clean."""
    runs = [
        _run(["ruff", "check", "."]),
        _run(["ruff", "format", "--check", "."]),
        _run(["mypy"]),
        _script("lint-imports", "--no-logo"),
        _script("shellcheck", "--severity=warning", *SHELL),
        _script("codespell"),
        _docs(),
    ]
    return all(runs)


def _docs() -> bool:
    """Build the documentation as a site, which is discarded: a warning, such as a broken link, fails it."""
    # Suppresses Material's message about its successor.
    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    with temporary.directory("site") as site:
        return _run(["mkdocs", "build", "--strict", "--quiet", "--site-dir", str(site)])


def _script(name: str, *words: str) -> bool:
    # Next to the interpreter: these cannot be run as modules.
    sys.stderr.write(f"roost: {' '.join((name, *words))}\n")
    program = Path(sys.executable).with_name(name)
    return subprocess.run([program, *words], cwd=_checkout(), check=False).returncode == 0


def _workers(more: int, memory: int) -> str:
    """Return how many processes run tests: `more` than cores, because tests partly wait for disks and tools."""
    return str(max(1, min(capacity.cores() + more, capacity.memory_free() // memory)))


@contextmanager
def _beside(*words: str) -> Iterator[Callable[[], bool]]:
    """Run Python in parallel with the block; yield a function that waits for it and returns whether it succeeded.

    Its output is shown then, in one piece. If the block is left earlier, it is ended.
    """
    with tempfile.TemporaryFile() as output:
        running = subprocess.Popen(
            [sys.executable, *words], cwd=_checkout(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )

        def passed() -> bool:
            code = running.wait()
            output.seek(0)
            sys.stderr.flush()
            shutil.copyfileobj(output, sys.stderr.buffer)
            sys.stderr.flush()
            return code == 0

        try:
            yield passed
        finally:
            running.terminate()
            running.wait()


def test(args: Sequence[str], *, unit: bool) -> bool:
    """Run the unit tests on all cores, the checks of the code in parallel, then the real builds and boots.

    All run, even if one before fails.
    """
    # Tests call roost hundreds of times, and each call would compile it again.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if args:
        return _run(["pytest", *args])
    # As a single process, they would leave the other cores idle for a minute. Each process of tests collects all of
    # them, which takes nine seconds.
    with _beside("-P", "-m", "roost", "check-code") as clean:
        passed = [_run(["pytest", "tests/unit", "-q", "-n", _workers(1, WORKER), "--dist", "worksteal"]), clean()]
    if not unit:
        # One more than there are cores: they sometimes wait for guests and disks.
        images = ["pytest", "tests/images", "-q", "-m", "not slow", "-n", _workers(1, BOOTER), "--dist", "worksteal"]
        passed.append(_run([*images, "--durations=10", "--timeout=900"]))
    return all(passed)
