"""Removal of files from a catalogue: under a claim, never through a link, directories after their files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

from roost.events import Events
from roost.publish import claim, layout
from roost.publish.targets.target import Target
from roost.store.gc_report import Report


@dataclass(frozen=True, slots=True)
class Removal:
    """The target and the mode: without `delete` nothing is removed, `take_over` also accepts dead claims of others."""

    target: Target
    events: Events
    delete: bool
    take_over: bool

    @contextmanager
    def claimed(self, name: str, version: str, files: Sequence[str]) -> Iterator[None]:
        """Hold the claim to a version while its files are removed; raise `claim.TakenError` when another holds it."""
        wish = claim.Wish(self.events, files, self.take_over, patience=0)
        with claim.held(self.target, name, version, "", wish):
            yield

    def remove(self, paths: Sequence[str], report: Report) -> None:
        """Remove files in order, then partial files beside them, and then the directories that have become empty."""
        for path in paths:
            self.target.remove(path)
        directories = {
            str(directory) for path in paths for directory in PurePosixPath(path).parents if len(directory.parts) > 1
        }
        for directory in sorted(directories, key=len, reverse=True):
            for name in self.target.names(directory):
                if layout.is_partial(name):
                    self.target.remove(f"{directory}/{name}")
            rest = self.target.names(directory)
            if rest:
                report.note(f"not written by roost, and not touched: {directory}/{rest[0]}")
            else:
                self.target.prune(directory)

    def through_a_link(self, path: str) -> bool:
        """Return whether a directory on the path to a file is a link, whose target does not belong to the catalogue."""
        root = self.target.local
        if root is None:
            return False
        return any((root / parent).is_symlink() for parent in PurePosixPath(path).parents)
