"""The task `probe`: whether this execution point can start virtual machines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roost.cli import terminal
from roost.cli.verb import finish, verb
from roost.errors import UsageError


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of `probe`."""

    advertise: bool = False
    install: str = ""
    deadline: int = 120


@verb(
    help={
        "advertise": "print ClassAd attributes for STARTD_CRON; always exits 0",
        "install": "write the probe and its two disks into this directory, for machines without roost",
        "deadline": "seconds for the guest to answer; default: 120",
    },
)
def probe(_context: object, flags: Flags, json: bool = False) -> None:
    """Start a tiny guest through this machine's libvirt as HTCondor does, and say whether it answered."""
    from roost.pipeline import probe as story

    if flags.install:
        if flags.advertise:
            raise UsageError("--install or --advertise, not both")
        with terminal.events() as events:
            files = story.install(Path(flags.install), events)
        shown = [str(path) for path in files]
        terminal.write_json({"files": shown}) if json else terminal.write_text("\n".join(shown))
        return
    with terminal.events() as events:
        found = story.probe(events, deadline=flags.deadline)
    if json:
        terminal.write_json(found.to_json())
    elif flags.advertise:
        terminal.write_text(found.advertised().rstrip("\n"))
    else:
        terminal.write_text(f"virtual machines {'start here' if found.works else 'do not start here'}: {found.reason}")
    if not flags.advertise:
        finish(found.works, 3)
