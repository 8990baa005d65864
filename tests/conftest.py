"""What holds for all tests."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from roost.host import declared

# A run that fails must fail again, in CI above all. `HYPOTHESIS=random` looks for what these examples do not find.
# No deadline for one example: a busy machine makes any of them slow. pytest-timeout stops what hangs.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("random", print_blob=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS", "same"))


@pytest.fixture(autouse=True)
def no_undeclared_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no stage of a build, here or in a roost that a test starts, run a tool that is not in its key."""
    monkeypatch.setenv(declared.VARIABLE, "refuse")
