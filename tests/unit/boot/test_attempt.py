"""A guest whose emulated timer was late is run once more; any other panic is the image's."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from roost.boot import attempt
from roost.boot.accelerator import Accelerator
from roost.boot.attempt import Attempt, late_timer, run_machine
from roost.boot.console import SERIAL, Console
from roost.events import Silent, Stages

LATE = "[    0.056000] Kernel panic - not syncing: IO-APIC + timer doesn't work!  Boot with apic=debug.\n"
OTHER = "[    2.100000] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\n"


def _signs(text: str) -> Any:
    console = Console(SERIAL)
    console.feed(text.encode(), 1.0)
    return console.signs


def test_only_a_late_timer_is_one() -> None:
    assert late_timer(_signs(LATE))
    assert not late_timer(_signs(OTHER))
    assert not late_timer(_signs("IO-APIC + timer doesn't work\n"))


@pytest.mark.parametrize(
    ("accelerator", "domain", "consoles", "runs"),
    [
        ("tcg", False, [LATE, "roost: job finished: exit 0\n"], 2),
        ("tcg", False, [LATE, LATE], 2),
        ("tcg", False, [OTHER], 1),
        ("kvm", False, [LATE], 1),
        ("tcg", True, [LATE], 1),
    ],
)
def test_it_is_run_once_more(
    accelerator: str, domain: bool, consoles: list[str], runs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = list(consoles)
    monkeypatch.setattr(attempt, "_run_once", lambda run, stages: (SimpleNamespace(serial=_signs(left.pop(0))), None))
    context: Any = SimpleNamespace(first=object() if domain else None)
    run = Attempt(context, Accelerator(accelerator, "max", 6.0, True, None), tmp_path)  # type: ignore[arg-type]
    seen, _ = run_machine(run, Stages(Silent()))
    assert len(consoles) - len(left) == runs
    assert len(run.notes) == runs - 1
    assert seen is not None
    assert seen.serial == _signs(consoles[runs - 1])
