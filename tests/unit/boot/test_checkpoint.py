"""What the console says of a guest whose power button was pressed while its job ran."""

from __future__ import annotations

import pytest

from roost.boot.checkpoint import went_off
from roost.boot.console import Console

BUTTON, GOING, ENDED = "roost: power button", "The system is going down NOW!", "roost: job finished: exit 0"
DOWN = "[   20.540103] reboot: Power down"


@pytest.mark.parametrize(
    ("lines", "seconds", "held", "obeyed"),
    [
        ((BUTTON, GOING, DOWN), 4.0, 70.0, True),
        # The job may write again once the guest has said that it goes off, and then ends before it is killed.
        ((BUTTON, ENDED, GOING, DOWN), 4.0, 70.0, True),
        ((GOING, ENDED, DOWN), 4.0, 70.0, True),
        ((BUTTON, ENDED, GOING, DOWN), 80.0, 70.0, True),
        ((DOWN,), 4.0, 70.0, True),
        ((), 4.0, 70.0, True),
        ((ENDED, GOING, DOWN), 80.0, 70.0, False),
        ((ENDED, GOING, DOWN), 4.0, 70.0, None),
        ((ENDED, BUTTON, DOWN), 4.0, None, None),
        ((BUTTON, ENDED, DOWN), 400.0, None, True),
    ],
)
def test_a_guest_has_obeyed_that_goes_off_before_its_job_ends(
    lines: tuple[str, ...], seconds: float, held: float | None, obeyed: bool | None
) -> None:
    console = Console()
    # All at once: of signs that came at the same moment only their order tells.
    console.feed("".join(f"{line}\r\n" for line in lines).encode(), 1.0)
    assert went_off(console.signs, seconds, held).ok is obeyed
