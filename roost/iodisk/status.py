"""What the status.json of a job says: how it ended, or that it did not. Pure; it was written by a stranger."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal, NoReturn

from roost.recipe.words import shown

Verdict = Literal["done", "failed", "never started", "killed", "unreadable"]

#: The job runner writes 4 KiB (roost/guest/job).
LIMIT = 64 << 10
#: Exit codes of a process; a number beyond these is not one.
CODES = range(-(1 << 31), 1 << 32)


def judge(text: bytes) -> tuple[Verdict, str, dict[str, Any]]:
    """Return the verdict that a status gives, why, and what it says that is plain: texts, numbers, true and false."""
    try:
        status = json.loads(text.rstrip(b" \0\n"), parse_constant=_refuse)
        state = status["state"]
        if state == "running":
            since = shown(str(status.get("start", "?")))
            return "killed", f"it started at {since} and did not report its end", _plain(status)
        code, signal = status["exit_code"], status.get("signal")
        if state != "finished" or type(code) is not int or code not in CODES:
            raise ValueError(state)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "unreadable", "status.json is not a valid status", {}
    failed = None
    if status.get("not_ready"):
        failed = shown(str(status["not_ready"]), 200)
    elif status.get("timed_out"):
        failed = "it exceeded its time limit"
    elif signal is not None:
        failed = f"signal {shown(str(signal))}"
    elif code != 0:
        failed = f"exit code {code}"
    return ("failed", failed, _plain(status)) if failed else ("done", "exit code 0", _plain(status))


def _refuse(_name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _plain(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a status says, with texts that are safe to show."""
    return {
        shown(re.sub(r"\W", "_", str(key))): shown(value, 200) if isinstance(value, str) else value
        for key, value in status.items()
        if value is None or isinstance(value, str | bool) or (isinstance(value, int | float) and abs(value) < 1 << 63)
    }
