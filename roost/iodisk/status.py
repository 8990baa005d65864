"""Read a job's status.json: how it ended, or that it did not. Pure; the file is untrusted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal, NoReturn

from roost.recipe.words import shown

Verdict = Literal["done", "failed", "never started", "killed", "unreadable"]

#: Size limit in bytes; the job runner writes 4 KiB (roost/guest/job).
LIMIT = 64 << 10
#: Exit codes of a process; any other number is invalid.
CODES = range(-(1 << 31), 1 << 32)


def judge(text: bytes) -> tuple[Verdict, str, dict[str, Any]]:
    """Return the verdict of a status, its reason, and the plain values of the status: texts, numbers, booleans."""
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
    """Return the plain values of a status, with texts that are safe to print."""
    return {
        shown(re.sub(r"\W", "_", str(key))): shown(value, 200) if isinstance(value, str) else value
        for key, value in status.items()
        if value is None or isinstance(value, str | bool) or (isinstance(value, int | float) and abs(value) < 1 << 63)
    }
