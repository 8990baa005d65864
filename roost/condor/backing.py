"""Overlays: each layer below a qcow2 disk of a job, as QEMU opens it beside the disk on the execution point."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from roost.condor.rules.files import BACKING_ABSOLUTE, BACKING_FORMAT, BACKING_LOOP, BACKING_MISMATCH, BACKING_MISSING
from roost.condor.rules.model import Effect, Finding, Severity, shown
from roost.condor.rules.view import JobView
from roost.errors import Location

#: Layers that are followed.
MOST = 16


class Layer(Protocol):
    """What an image is: its format, and the file and format that its header names below it, if it is an overlay."""

    @property
    def format(self) -> str:
        """The format, as qemu-img calls it."""

    @property
    def backing(self) -> str | None:
        """The name of the file below."""

    @property
    def backing_format(self) -> str | None:
        """The format that the file below is said to have."""


def findings(
    view: JobView, path: str, layer: Layer, where: Location, look: Callable[[str], Layer | None]
) -> Iterator[Finding]:
    """Yield what keeps the layers below the disk at `path` from being opened.

    `look` returns the transferred file of a name, None where it is not at hand.
    """
    travels = view.transferred(path)
    name, seen = path, {path.rpartition("/")[2]}
    for _ in range(MOST):
        backing = layer.backing
        if backing is None:
            break
        if layer.backing_format is None:
            yield BACKING_FORMAT.at(where, f"{shown(name)} does not say what format {shown(backing)} has")
        if backing.startswith("/") or ":" in backing:
            found = BACKING_ABSOLUTE if travels else BACKING_ABSOLUTE.but(Severity.WARNING, Effect.OK)
            yield found.at(where, f"{shown(name)} is an overlay of {shown(backing)}, which other machines lack")
            break
        if not travels:
            break
        if not view.maybe_transferred(backing) or "/" in backing:
            yield BACKING_MISSING.at(
                where, f"{shown(name)} is an overlay of {shown(backing)}, which is not transferred"
            )
            break
        if backing in seen:
            yield BACKING_LOOP.at(where, f"{shown(path)} is an overlay of itself, through {shown(backing)}")
            break
        below = look(backing)
        if below is None:
            break
        if layer.backing_format is not None and layer.backing_format != below.format:
            raw = layer.backing_format == "raw"
            found = BACKING_MISMATCH.but(Severity.ERROR, Effect.RUNS_FOREVER) if raw else BACKING_MISMATCH
            what = (
                f"{shown(name)} says that {shown(backing)} is {shown(layer.backing_format)}, but it is {below.format}"
            )
            yield found.at(where, what)
            break
        name, layer = backing, below
        seen.add(backing)
