"""The state of a machine is saved, or the reason why not is reported."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from roost.host import migration


class Qemu:
    """A QEMU that answers the queries of a migration with `answers`, the last one again and again."""

    def __init__(self, *answers: object) -> None:
        self.answers, self.commands = list(answers), list[str]()

    async def execute(self, command: str, _arguments: Mapping[str, Any] | None = None) -> object:
        """Answer one command."""
        self.commands.append(command)
        if command != "query-migrate":
            return {}
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.mark.parametrize(
    ("answers", "error"),
    [
        (({"status": "setup"}, {"status": "active"}, {"status": "completed"}), None),
        (({"status": "active"}, {"status": "failed", "error-desc": "No space left"}), "No space left"),
        (({"status": "failed"},), "QEMU does not say why"),
        (({"status": "cancelled"},), "QEMU does not say why"),
        (({},), "QEMU does not say why"),
        ((None,), "no answer"),
    ],
)
def test_it_ends_as_qemu_reports(answers: tuple[object, ...], error: str | None) -> None:
    qemu = Qemu(*answers)
    assert asyncio.run(migration.save(qemu.execute, "fd:state", 30)) == error
    assert qemu.commands[:2] == ["migrate-set-parameters", "migrate"] and "migrate_cancel" not in qemu.commands


def test_one_that_takes_too_long_is_cancelled() -> None:
    qemu = Qemu({"status": "active"})
    assert asyncio.run(migration.save(qemu.execute, "fd:state", 0.1)) == "not done after 0 s"
    assert qemu.commands[-1] == "migrate_cancel"


def test_a_qemu_that_exited_is_not_asked() -> None:
    qemu = Qemu({"status": "active"})
    assert asyncio.run(migration.save(qemu.execute, "fd:state", 30, lambda: True)) is not None
    assert "query-migrate" not in qemu.commands
