"""Overlays: the backing files of a job's qcow2 disk, as QEMU opens them on the execution point."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from roost.condor.rules.files import BACKING_ABSOLUTE, BACKING_FORMAT, BACKING_LOOP, BACKING_MISMATCH, BACKING_MISSING
from roost.condor.rules.model import Effect, Finding, Severity, shown
from roost.condor.rules.view import JobView
from roost.errors import Location

#: The maximum number of backing files followed.
MOST = 16


class Layer(Protocol):
    """The format of an image and, if it is an overlay, the backing file and format that its header names."""

    @property
    def format(self) -> str:
        """The format in qemu-img's spelling."""

    @property
    def backing(self) -> str | None:
        """The name of the backing file."""

    @property
    def backing_format(self) -> str | None:
        """The format of the backing file according to the header."""


def findings(
    view: JobView, path: str, layer: Layer, where: Location, look: Callable[[str], Layer | None]
) -> Iterator[Finding]:
    """Yield the reasons why the backing files of the disk at `path` cannot be opened.

    `look` returns the transferred file with a given name, or None where it is not available.
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
