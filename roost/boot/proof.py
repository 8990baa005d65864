"""The proof that a guest did its work, beside how it ended, and the notes on one that passed. Pure.

An image that comes with a submit description alone has no expectations: that it powered itself off is not a proof that
it did anything. It must have written to one of its disks, and a guest whose console tells of a job must have left the
job's status on one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from roost.boot.evidence import Evidence
from roost.host.safetext import clean
from roost.recipe.words import some

#: Names of failed units that are shown, and characters of a guest's own words.
_NAMES, _WORDS = 5, 300


def told(value: Any) -> str:
    """Return a guest's own words, from its status, as a text that is safe to show; empty for what is not a text."""
    return clean(value.encode("utf-8", "replace"))[:_WORDS] if isinstance(value, str) else ""


def finished(evidence: Evidence) -> bool:
    """Return whether the guest says, on a disk or on its console, that its job came to an end."""
    return (evidence.status or {}).get("state") == "finished" or bool(evidence.exits)


def not_run(evidence: Evidence) -> str:
    """Return why the guest did not run its job; empty where it did, or does not say. A job may print anything."""
    if evidence.status is not None:
        return told(evidence.status.get("not_ready"))
    sign = evidence.serial.get("job-not-run")
    return sign.text.partition("the job was not run: ")[2] if sign and "job-started" not in evidence.serial else ""


def missing(evidence: Evidence) -> str | None:
    """Return what an unknown image that switched itself off has not shown, None when it has shown enough."""
    if evidence.goal != "any" or not evidence.powered_off or evidence.button:
        return None
    if evidence.exits and evidence.status is None and evidence.unread == ():
        return "the console says that a job finished, but no disk holds its status.json: nothing would come back"
    if not evidence.exits and evidence.status is None and evidence.written == ():
        return "the guest powered itself off and wrote to none of its disks: nothing shows that a job ran"
    return None


def notes(evidence: Evidence) -> Iterator[str]:
    """Yield what a person should know of a guest that passed."""
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
