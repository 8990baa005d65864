"""Eviction and checkpoint with real guests: gone on with from the moment their job had started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from roost.boot.context import Context, How
from roost.boot.run import BootResult, boot
from tests.images.broken import Edit, replaced, smoke_disk

pytestmark = [pytest.mark.images, pytest.mark.timeout(600)]


def _boot(
    smoke: Path, directory: Path, edit: Edit, *, evict: bool | None = None, checkpoint: bool = False
) -> BootResult:
    vm, recipe = smoke_disk(smoke, directory, edit)
    submit = recipe.submit.model_copy(update={"checkpoint": checkpoint})
    wanted: Any = recipe.model_copy(update={"submit": submit})
    return boot(Context(vm, directory, wanted, how=How("tcg", evict=evict)), directory / "boot")


def test_smoke_obeys_the_power_button_and_survives_a_checkpoint(smoke: Path, tmp_path: Path) -> None:
    result = _boot(smoke, tmp_path, Edit(), evict=True, checkpoint=True)
    assert result.passed, (result.verdict, result.console)
    answer = result.to_json()
    assert (answer["eviction"]["tried"], answer["eviction"]["obeyed"]) == (True, True), answer["eviction"]
    assert (answer["checkpoint"]["tried"], answer["checkpoint"]["restored"]) == (True, True), answer["checkpoint"]
    assert {"eviction", "checkpoint"} <= answer["seconds"].keys()
    assert sum(one["met"] for one in answer["expectations"]) == 4


@pytest.mark.slow
@pytest.mark.parametrize("evict", [None, True])
def test_a_guest_that_ignores_the_power_button(evict: bool | None, smoke: Path, tmp_path: Path) -> None:
    """Its job goes on to its end as if nothing had happened: a note, or a failure where eviction was asked for."""
    edit = Edit({"/etc/inittab": replaced("::once:/sbin/acpid -f -l /dev/null\n", "")})
    vm, recipe = smoke_disk(smoke, tmp_path, edit)
    tried = recipe.boot_test.model_copy(update={"evict": "auto"})
    wanted = recipe.model_copy(update={"boot_test": tried})
    result = boot(Context(vm, tmp_path, wanted, how=How("tcg", evict=evict)), tmp_path / "boot")
    eviction = result.to_json()["eviction"]
    assert (eviction["tried"], eviction["obeyed"]) == (True, False), eviction
    assert result.verdict.cause == ("expectation" if evict else None)
    assert any("power button" in one for one in (*result.verdict.notes, result.verdict.detail))


@pytest.mark.slow
def test_a_job_that_fails_has_nothing_else_tried(smoke: Path, tmp_path: Path) -> None:
    result = _boot(smoke, tmp_path, Edit({"/opt/job/run": b"#!/bin/sh\nexit 4\n"}), evict=True)
    assert result.verdict.cause == "job-failed"
    assert result.to_json()["eviction"]["tried"] is False
