"""The result of a run: the JSON contract of `inv run`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roost.run.model import Outcome


@dataclass(frozen=True, slots=True)
class Result:
    """The outcomes of all jobs, in the order of the file of jobs; `about` is the executor's description of itself.

    `seconds` is the wall time of this call; a resumed run has had others before.
    """

    name: str
    directory: Path
    outcomes: tuple[Outcome, ...]
    seconds: float
    report: Path | None = None
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every job is done."""
        return all(one.verdict == "done" for one in self.outcomes)

    @property
    def accelerator(self) -> str | None:
        """The accelerator of the jobs, where their executor reports it: kvm, tcg, or both."""
        return (
            ", ".join(sorted({str(one.more["accelerator"]) for one in self.outcomes if "accelerator" in one.more}))
            or None
        )

    @property
    def counts(self) -> dict[str, int]:
        """The number of jobs by verdict."""
        return dict(Counter(one.verdict for one in self.outcomes))

    def to_json(self) -> dict[str, Any]:
        """Return `inv run --json`."""
        return {
            "name": self.name,
            "ok": self.ok,
            "counts": self.counts,
            "directory": str(self.directory),
            "seconds": round(self.seconds, 3),
            "report": str(self.report) if self.report else None,
            **self.about,
            "accelerator": self.accelerator,
            "jobs": [one.to_json() for one in self.outcomes],
        }
