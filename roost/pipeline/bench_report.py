"""Benchmark results as ratios of medians with their spread, and as a chart. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape

#: The peers, each the reference for what follows it.
FLOOR, PEER, PEER_AGAIN = "mmdebstrap", "mkosi", "mkosi, one file changed"
#: The reference of each build, used if it was measured.
COMPARED = {
    "first build": (FLOOR, PEER),
    "cold": (FLOOR, PEER),
    "second recipe": (FLOOR,),
    "archive changed": (FLOOR,),
    "one file changed": (FLOOR, PEER_AGAIN),
    "kernel parameters": (FLOOR,),
    "submit part": (FLOOR,),
    "nothing changed": (FLOOR,),
}
#: Chart dimensions in pixels: width, names, figures, height of a line and of a bar.
WIDTH, NAMES, FIGURES, LINE, BAR = 760, 200, 130, 26, 16
_ROOST, _OTHER = "#2b6cb0", "#a0aec0"


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of wall time, and of CPU time of a command with all of its children."""

    wall: float
    cpu: float

    def to_json(self) -> dict[str, float]:
        """Return both, rounded to a hundredth of a second."""
        return {"wall": round(self.wall, 2), "cpu": round(self.cpu, 2)}


def report(taken: Mapping[str, Sequence[Cost]]) -> dict[str, Any]:
    """Return medians, all measurements, and ratios between measurements of the same round.

    What failed in any round has no median and no ratio.
    """
    rounds = len(taken[FLOOR])
    taken = {what: costs for what, costs in taken.items() if what not in (PEER, PEER_AGAIN) or len(costs) == rounds}
    found = {what: _median(costs) for what, costs in taken.items()}
    ratios = {
        f"{what} / {other}": {
            "wall": _ratio([cost.wall for cost in taken[what]], [cost.wall for cost in taken[other]]),
            "cpu": _ratio([cost.cpu for cost in taken[what]], [cost.cpu for cost in taken[other]]),
        }
        for what, others in COMPARED.items()
        for other in others
        if what in taken and other in taken
    }
    return {
        "costs": {what: cost.to_json() for what, cost in found.items()},
        "measured": {what: [cost.to_json() for cost in costs] for what, costs in taken.items()},
        "ratios": ratios,
        "cold_cpu_ratio": ratios[f"cold / {FLOOR}"]["cpu"]["median"],
    }


def _median(costs: Sequence[Cost]) -> Cost:
    return Cost(statistics.median(cost.wall for cost in costs), statistics.median(cost.cpu for cost in costs))


def _ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Return the ratio of the medians, and the smallest and the largest ratio of one round."""
    rounds = [one / other for one, other in zip(ours, theirs, strict=True)]
    median = statistics.median(ours) / statistics.median(theirs)
    return {"median": round(median, 2), "min": round(min(rounds), 2), "max": round(max(rounds), 2)}


def chart(found: Mapping[str, Any]) -> str:
    """Return the medians of CPU seconds as an SVG bar chart; a line in each bar spans minimum to maximum."""
    shown = [what for what in (PEER, FLOOR, *COMPARED, PEER_AGAIN) if what in found["costs"]]
    longest = max(cost["cpu"] for what in shown for cost in found["measured"][what]) or 1.0
    scale = (WIDTH - NAMES - FIGURES) / longest
    height = LINE * (len(shown) + 1) + 10
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
        ' role="img" font-family="sans-serif" font-size="13">',
        "<title>What a build costs: CPU seconds, medians</title>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
    ]
    for number, what in enumerate(shown):
        lines += _bar(found, what, 10 + LINE * number, scale)
    lines.append(f'<text x="{NAMES}" y="{height - 10}" fill="#4a5568">CPU seconds; less is better</text>')
    return "\n".join([*lines, "</svg>", ""])


def _bar(found: Mapping[str, Any], what: str, top: float, scale: float) -> Iterator[str]:
    cpu = found["costs"][what]["cpu"]
    every = [cost["cpu"] for cost in found["measured"][what]]
    middle, text = top + BAR / 2, top + BAR - 3
    ratio = found["ratios"].get(f"{what} / {FLOOR}")
    beside = f"{cpu:.1f} s" + (f"  ({ratio['cpu']['median']:.2f})" if ratio else "")
    colour = _ROOST if what in COMPARED else _OTHER
    yield f'<text x="{NAMES - 8}" y="{text}" text-anchor="end">{escape(what)}</text>'
    yield f'<rect x="{NAMES}" y="{top}" width="{cpu * scale:.1f}" height="{BAR}" fill="{colour}"/>'
    begin, end = (NAMES + value * scale for value in (min(every), max(every)))
    yield f'<line x1="{begin:.1f}" x2="{end:.1f}" y1="{middle}" y2="{middle}" stroke="#1a202c" stroke-width="2"/>'
    yield f'<text x="{max(end, NAMES + cpu * scale) + 8:.1f}" y="{text}">{escape(beside)}</text>'
