"""What holds for all tests."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import settings

from roost.cli import calls
from roost.host import declared
from tests.pool import left_out

# A run that fails must fail again, in CI above all. `HYPOTHESIS=random` looks for what these examples do not find.
# No deadline for one example: a busy machine makes any of them slow. pytest-timeout stops what hangs.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("random", print_blob=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS", "same"))

# A shell ignores SIGINT and SIGQUIT for what it starts in the background, nohup(1) SIGHUP; children inherit that, and
# roost keeps it so. A handler that does nothing ignores them here as well, but what a test starts has the default.
for one in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(one) is signal.SIG_IGN:
        signal.signal(one, lambda _number, _frame: None)


# What the tests read does not depend on how they were started.
os.environ.pop(calls.CALLED, None)


@pytest.fixture(autouse=True)
def no_undeclared_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no stage of a build, here or in a roost that a test starts, run a tool that is not in its key."""
    monkeypatch.setenv(declared.VARIABLE, "refuse")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what a call for all tests has left out."""
    line = left_out.notice(config.args, config.invocation_params.dir)
    if line is not None:
        terminalreporter.write_line(line)
