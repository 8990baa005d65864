"""Read condor_q -analyze and -better-analyze for an idle job: no machine matches, all refuse, or the job waits.

Formats: condor_q.V6/queue.cpp and analyze.cpp, from 7.x (`Of 187 machines, 187 are rejected by your job's
requirements`) to 25.x (`Of 9252 slots on 3328 machines`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_SUMMARY = re.compile(r"\bOf (\d{1,9}) (?:slots?|machines?)(?: on (\d{1,9}) machines?)?", re.IGNORECASE)
_COUNT = re.compile(
    r"^[ \t]*(\d{1,9}) (?:slots? |machines? )?"
    r"(?P<what>(?:are|is) rejected by your job'?s requirements"
    r"|rejects? your job because of their own requirements"
    r"|match,? (?:but|and) [^\n]{1,80}|would match if drained[^\n]{0,40}"
    r"|(?:are|is) (?:able|available) to run your job)",
    re.MULTILINE | re.IGNORECASE,
)
_STEP = re.compile(r"^[ \t]*\[(\d{1,4})\][ \t]+(\d{1,9})[ \t]+(\S[^\n]{0,400})", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Summary:
    """The numbers of one job's analysis: all machines or slots, and how many are in each group."""

    total: int
    rejected: int = 0
    refusing: int = 0
    busy: int = 0
    willing: int = 0
    drained: int = 0


def summary(text: str) -> Summary | None:
    """Return the numbers of the (first) analysis in a text, or None."""
    head = _SUMMARY.search(text)
    if head is None:
        return None
    counts = dict.fromkeys(("rejected", "refusing", "busy", "willing", "drained"), 0)
    for found in _COUNT.finditer(text, head.end()):
        what = found["what"].lower()
        key = (
            "rejected"
            if "rejected by" in what
            else "refusing"
            if what.startswith("reject")
            else "drained"
            if "drained" in what
            else "willing"
            if "willing" in what or " able " in what or "available" in what
            else "busy"
        )
        counts[key] += int(found[1])
    return Summary(int(head[1]), **counts)


def codes(text: str) -> list[str]:
    """Return the codes of `reasons.IDLE` that an analysis indicates; empty when there is no analysis."""
    found = summary(text)
    indicated = []
    if found is not None:
        if found.willing:
            indicated.append("waiting")
        elif found.total == 0:
            indicated.append("no-machines")
        elif found.rejected >= found.total:
            indicated.append("never-matches")
        elif found.busy:
            indicated.append("waiting")
        elif found.drained:
            indicated.append("would-match-drained")
        elif found.refusing:
            indicated.append("machines-refuse")
    if no_combination(text):
        indicated.append("no-combination")
    return indicated


def no_combination(text: str) -> bool:
    """Return whether each condition is met by some machine, but no machine meets all of them."""
    steps = [(int(found[2]), found[3]) for found in _STEP.finditer(text)]
    single = [number for number, what in steps if not re.match(r"\(*\s*\[\d", what)]
    joined = [number for number, what in steps if re.match(r"\(*\s*\[\d", what)]
    return bool(joined) and 0 in joined and bool(single) and all(single)
