"""The outcome of a node, and of an image: results filled in by executors and read by reports. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from roost.factory.graph import STEPS, Kind

#: `done` now, `cached` and still valid, `failed`, `skipped` after a failed dependency, `stopped` by a signal.
State = Literal["done", "cached", "failed", "skipped", "stopped"]
GOOD: tuple[State, ...] = ("done", "cached")

#: The exit codes of failures, as everywhere in roost.
IMAGE, CALL, HOST = 1, 2, 3
#: The party at fault for each exit code, for reports.
FAULTS: Mapping[int, str] = {IMAGE: "image", CALL: "recipe", HOST: "host"}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a node failed: `text` for the user (lines), `code` the exit code, `log` a file, `tail` its last lines."""

    text: str
    code: int = IMAGE
    log: str | None = None
    tail: str = ""

    @property
    def brief(self) -> str:
        """The first line."""
        return self.text.partition("\n")[0]


def grouped(broken: Mapping[str, Failure]) -> dict[str, Failure]:
    """Return failures by the images that have them, where several have the same, as the variants of one recipe do.

    A key is for messages: `a`, or `matrix: a, b, c and 4 more`.
    """
    found: dict[Failure, list[str]] = {}
    for called, failure in broken.items():
        found.setdefault(failure, []).append(called)
    return {_together(names): failure for failure, names in found.items()}


def _together(names: Sequence[str], most: int = 3) -> str:
    """Return a list of names as given on the command line; the recipe of variants comes once."""
    recipes = {name.rpartition(": ")[0] for name in names}
    recipe = next(iter(recipes)) if len(recipes) == 1 else ""
    shown = [name.removeprefix(f"{recipe}: ") for name in names[:most]]
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{f'{recipe}: ' if recipe else ''}{', '.join(shown)}{more}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a node ended; `facts` are for reports (`version`, `url`, `verdicts`), `notes` are those of its work."""

    state: State
    seconds: float = 0.0
    failure: Failure | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether nodes that depend on it may run."""
        return self.state in GOOD


@dataclass(frozen=True, slots=True)
class Image:
    """The outcome of one image: its steps in the graph, in order, or why it has none.

    `called` is its name on the command line, `directory` the directory of its build.
    """

    name: str
    called: str
    directory: str
    steps: Mapping[Kind, Outcome]
    broken: Failure | None = None

    def _good(self, kind: Kind) -> bool:
        return kind in self.steps and self.steps[kind].good

    @property
    def failure(self) -> Failure | None:
        """Why the image was not completed, or None if it was."""
        if self.broken is not None:
            return self.broken
        return next((step.failure for step in self.steps.values() if step.failure is not None), None)

    @property
    def failed_in(self) -> Kind | None:
        """The step that failed, or was skipped because of a failed dependency."""
        return next((kind for kind, step in self.steps.items() if not step.good), None)

    @property
    def ok(self) -> bool:
        """Whether every step is done, now or before."""
        return self.broken is None and bool(self.steps) and all(step.good for step in self.steps.values())

    @property
    def cause(self) -> str | None:
        """One line: where and why it failed; None if it did not."""
        if self.broken is not None:
            return self.broken.brief
        kind = self.failed_in
        if kind is None:
            return None
        step = self.steps[kind]
        if step.state == "stopped" or step.failure is None:
            return f"{STEPS[kind]}: not run: the factory was stopped"
        return f"{STEPS[kind]}: {step.failure.brief}"

    @property
    def seconds(self) -> float:
        """The wall time of its own steps, without shared ones."""
        return round(sum(step.seconds for step in self.steps.values()), 1)

    @property
    def verdicts(self) -> Sequence[Mapping[str, Any]]:
        """The verdicts of its test boots, each a mapping with `hypervisor`, `passed`, `cause`, `report`."""
        found = self.steps["boot"].facts.get("verdicts", ()) if "boot" in self.steps else ()
        return tuple(found)

    @property
    def _published(self) -> Mapping[str, Any]:
        return self.steps["publish"].facts if "publish" in self.steps else {}

    @property
    def version(self) -> str | None:
        """The published version, or None."""
        return self._published.get("version")

    def to_json(self) -> dict[str, Any]:
        """Return the image's entry in the JSON of `inv factory`."""
        failure = self.failure
        return {
            "name": self.name,
            "called": self.called,
            "folder": self.directory,
            "built": self._good("image"),
            "booted": self._good("boot"),
            # Also if a later part of the step, the removal of old versions, failed.
            "published": self.version is not None,
            "cause": self.cause,
            "problems": failure.text.splitlines() if failure else [],
            "fault": FAULTS.get(failure.code) if failure else None,
            "log": failure.log if failure else None,
            "seconds": self.seconds,
            "steps": {
                STEPS[kind]: {"state": step.state, "seconds": round(step.seconds, 1)}
                for kind, step in self.steps.items()
            },
            # The end of the console is in the report; that of a failure is its tail.
            "verdicts": [{name: one[name] for name in one if name != "console"} for one in self.verdicts],
            "tail": failure.tail if failure else "",
            "version": self.version,
            "url": self._published.get("url"),
        }


@dataclass(frozen=True, slots=True)
class Result:
    """The outcomes of all images; `to_json` is the contract of `inv factory --json`."""

    images: tuple[Image, ...]
    seconds: float
    jobs: int
    catalogue: str | None = None
    notes: tuple[str, ...] = ()
    stopped: bool = False

    @property
    def ok(self) -> bool:
        """Whether every image was completed."""
        return not self.stopped and all(image.ok for image in self.images)

    @property
    def code(self) -> int:
        """The exit code: 0, or that of the worst failure: a host's ranks highest, as it says least of the images."""
        codes = [image.failure.code if image.failure else IMAGE for image in self.images if not image.ok]
        return max(codes, default=IMAGE if self.stopped else 0)

    @property
    def mistakes(self) -> dict[str, Failure]:
        """The mistakes of broken recipes, as `grouped` by their images."""
        return grouped({image.called: image.broken for image in self.images if image.broken is not None})

    def title(self, image: Image) -> str:
        """Return the title of an image in reports: its name, or if two share it, its name on the command line."""
        return image.name if [one.name for one in self.images].count(image.name) == 1 else image.called

    def count(self) -> dict[str, int]:
        """Return the number of images, and how many were built, booted, published and failed."""
        entries = [image.to_json() for image in self.images]
        counts = {word: sum(1 for one in entries if one[word]) for word in ("built", "booted", "published")}
        return {"images": len(entries), **counts, "failed": sum(1 for image in self.images if not image.ok)}

    def to_json(self) -> dict[str, Any]:
        """Return the JSON contract of `inv factory --json`."""
        return {
            "ok": self.ok,
            "images": [image.to_json() for image in self.images],
            "count": self.count(),
            "seconds": round(self.seconds, 1),
            "jobs": self.jobs,
            "catalogue": self.catalogue,
            "notes": list(self.notes),
        }
