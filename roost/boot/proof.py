"""Proof that a guest did its work, besides how it ended, and the notes on one that passed. Pure.

An image that has only a submit description has no expectations: a power-off does not prove that it did anything. It
must have written to one of its disks, and a guest whose console shows a job must have left the job's status on one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from roost.boot.evidence import Evidence
from roost.host.safetext import clean
from roost.recipe.words import some

#: How many names of failed units are shown, and how many characters of a guest's text.
_NAMES, _WORDS = 5, 300


def told(value: Any) -> str:
    """Return a text from the guest's status, safe to show; empty for a value that is not a text."""
    return clean(value.encode("utf-8", "replace"))[:_WORDS] if isinstance(value, str) else ""


def finished(evidence: Evidence) -> bool:
    """Return whether the guest reports, on a disk or on its console, that its job ended."""
    return (evidence.status or {}).get("state") == "finished" or bool(evidence.exits)


def not_run(evidence: Evidence) -> str:
    """Return why the guest did not run its job; empty if it did, or if unknown. The job's output is untrusted."""
    if evidence.status is not None:
        return told(evidence.status.get("not_ready"))
    sign = evidence.serial.get("job-not-run")
    return sign.text.partition("the job was not run: ")[2] if sign and "job-started" not in evidence.serial else ""


def missing(evidence: Evidence) -> str | None:
    """Return what is missing as proof for an unknown image that powered itself off, None when nothing is."""
    if evidence.goal != "any" or not evidence.powered_off or evidence.button:
        return None
    if evidence.exits and evidence.status is None and evidence.unread == ():
        return "the console says that a job finished, but no disk holds its status.json: nothing would come back"
    if not evidence.exits and evidence.status is None and evidence.written == ():
        return "the guest powered itself off and wrote to none of its disks: nothing shows that a job ran"
    return None


def notes(evidence: Evidence) -> Iterator[str]:
    """Yield notes for the user about a guest that passed."""
    status = evidence.status or {}
    units = status.get("failed_units")
    if isinstance(units, list) and units:
        names = [told(unit) or "?" for unit in units]
        yield f"units that failed: {some(names, _NAMES)}"
    elif "unit-failed" in evidence.serial and evidence.status is None:
        yield f"on the console: {evidence.serial['unit-failed'].text}"
    if degraded := told(status.get("degraded")):
        yield f"the machine was not fully set up: {degraded}"
    if evidence.exits and evidence.status is None:
        yield "the job's exit status was read from the console only"
    if evidence.goal == "any" and not finished(evidence):
        wrote = f"wrote to {', '.join(evidence.written)}" if evidence.written else "may have written to its disks"
        yield f"no result of a job was found: what the job did is not known; the guest {wrote}"
    if evidence.goal == "any" and not evidence.serial:
        yield "the serial console stayed silent: what the guest did is known only from its disks and from how it ended"
