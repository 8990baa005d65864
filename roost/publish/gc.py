"""`inv gc URL`: versions that are too many or too old, what killed publications left, bases that nobody stands on.

The order makes it safe. A version's release.json goes first, so what is listed is whole at every moment; latest.json
names no version that goes. Each version is removed under the claim that publishers take, each base under a word that
they wait for, and what they hold or list meanwhile is looked at anew before it goes. A collection that was killed is
ended by the next.
"""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from roost.errors import HostError, UsageError
from roost.events import Events
from roost.publish import claim, layout, verify
from roost.publish import shelf as shelves
from roost.publish.shelf import Claimed, Listed, Shelf
from roost.publish.targets.target import Target
from roost.store.gc_report import Item, Report

#: Seconds after which a file under way, whose writer cannot be told, is nobody's.
PARTIAL_AGE = 86400.0
_SHA = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Rules:
    """How many versions of an image stay, which stay in any case, from what age in seconds the others go.

    Neither a number nor an age: no version goes, only what killed publications left.
    """

    keep: int | None = None
    named: tuple[tuple[str, str], ...] = ()
    age: float | None = None


def collect(
    url: str, rules: Rules, events: Events, *, delete: bool, take_over: bool = False, now: float | None = None
) -> Report:
    """Return what goes out of a catalogue or one image of it, and with `delete` take it away.

    `take_over` also takes what publications on other hosts left, of which nobody can see that they ended. Raises
    `UsageError` for what is no catalogue, or for a version to keep that is not there.
    """
    scope = verify.find(url)
    if scope.version is not None:
        hint = f"inv gc {scope.target.url} --keep N"
        raise UsageError(f"{url} is one version: a collection is of a catalogue or an image", hint=hint)
    return _Collection(scope.target, scope.name, rules, events, delete, take_over, now or time.time()).run()


@dataclass(slots=True)
class _Collection:
    target: Target
    name: str | None
    rules: Rules
    events: Events
    delete: bool
    take_over: bool
    now: float

    def run(self) -> Report:
        report = Report(self.target.url, self.delete)
        shelf = shelves.read(self.target)
        self._known(shelf)
        names = sorted({one.name for one in shelf.listed if self.name in {None, one.name}})
        going: list[Listed] = []
        for name in names:
            for one, why in self._chosen(shelf, name, report):
                going.append(one)
                self._version(one, why, report)
        for claimed in shelf.claims:
            if self.name in {None, claimed.name}:
                self._leftover(shelf, claimed, report)
        for name in names:
            self._partials(f"{name}/", report)
            self._partials(f"{name}/{layout.CLAIMS}/", report)
        self._partials("", report)
        self._partials(f"{layout.BASES}/", report)
        self._bases(shelf, going, report)
        report.total = sum(one.bytes for one in shelf.listed)
        for one in shelf.wrong:
            report.note(f"{one.name} {one.version} is left alone: {one.problem} (inv verify {self.target.url})")
        return report

    def _known(self, shelf: Shelf) -> None:
        have = [f"{one.name}@{one.version}" for one in shelf.listed]
        for name, version in self.rules.named:
            wanted = f"{name}@{version}"
            if wanted not in have:
                close = difflib.get_close_matches(wanted, have, 1)
                hint = f"did you mean {close[0]}?" if close else f"inv catalogue --from {self.target.url}"
                raise UsageError(f"--keep {wanted}: {self.target.url} has no such version", hint=hint)

    def _chosen(self, shelf: Shelf, name: str, report: Report) -> list[tuple[Listed, str]]:
        """Return the versions that go, and why; note the others with what keeps them."""
        versions = shelf.of(name)
        chosen = []
        for one in versions:
            # An untested version must not push out one that passed.
            alike = [other for other in versions if other.untested == one.untested]
            newer = alike.index(one)
            why = ""
            if one.version == shelf.latest.get(name):
                why = "the latest"
            elif one is versions[0]:
                why = "the newest"
            elif (name, one.version) in self.rules.named:
                why = "named by --keep"
            elif self.rules.keep is None and self.rules.age is None:
                why = "no --keep N and no --older-than"
            elif self.rules.keep is not None and newer < self.rules.keep:
                why = f"one of the newest {self.rules.keep}{' untested' if one.untested else ''}"
            elif newer == 0:
                why = f"the newest {'untested' if one.untested else 'that passed'}"
            elif self.rules.age is not None and self._age(one) <= self.rules.age:
                why = "not old enough"
            if why:
                report.kept.append({"what": f"{name}@{one.version}", "why": why, "bytes": one.bytes})
                continue
            kind = "untested" if one.untested else "that passed"
            old = f", {self._age(one) / 86400:.0f} days old" if self.rules.age is not None else ""
            chosen.append((one, f"{newer} newer {kind}{old}"))
        return chosen

    def _age(self, one: Listed) -> float:
        try:
            assert one.release is not None
            return self.now - datetime.fromisoformat(one.release.created).timestamp()
        except ValueError:
            return 0.0

    def _version(self, one: Listed, why: str, report: Report) -> None:
        item = Item(f"{one.name}/{one.version}", why, one.bytes)
        report.items.append(item)
        linked = [path for path in one.own if self._through_a_link(path)]
        if linked:
            item.state = "stays"
            item.why += f"; but {linked[0]} is reached through a link"
            return
        if not self.delete:
            return
        self.events.note(f"removing {item.what}")
        try:
            with claim.held(
                self.target,
                one.name,
                one.version,
                "",
                self.events,
                files=one.own,
                take_over=self.take_over,
                patience=0,
            ):
                if shelves.latest_of(self.target, one.name) == one.version:
                    item.state, item.why = "stays", "it has become the latest meanwhile"
                elif self.target.read(one.own[0]) not in {one.data, None}:
                    item.state, item.why = "stays", "it changed meanwhile"
                else:
                    self._remove(one.own, report)
                    item.state = "gone"
        except claim.TakenError:
            item.state = "stays"
            item.why += "; but somebody is publishing it"
        except HostError as error:
            item.state, item.problem = "stays", error.problem.what

    def _remove(self, paths: Sequence[str], report: Report) -> None:
        """Remove files in their order, what is left of their upload, and then their folders if nothing else is in."""
        for path in paths:
            self.target.remove(path)
        folders = {str(folder) for path in paths for folder in PurePosixPath(path).parents if len(folder.parts) > 1}
        for folder in sorted(folders, key=len, reverse=True):
            for name in self.target.names(folder):
                if layout.is_partial(name):
                    self.target.remove(f"{folder}/{name}")
            rest = self.target.names(folder)
            if rest:
                report.note(f"not roost's, and left alone: {folder}/{rest[0]}")
            else:
                self.target.prune(folder)

    def _leftover(self, shelf: Shelf, claimed: Claimed, report: Report) -> None:
        """Remove what a publication or a collection left that was killed or failed, if that is known."""
        what = f"{claimed.name}/{claimed.version}"
        folder = f"{what}/"
        if not (self.take_over or claimed.dead):
            if str(claim.parsed(claimed.data).get("host", "")).partition(" ")[0]:
                where = str(claim.parsed(claimed.data)["host"]).partition(" ")[0]
                report.note(f"{what} is being published on {where}; if that was killed: --take-over")
            return
        said = claim.files_of(claimed.data)
        if said is None:
            report.note(f"{what} was left by an older roost, which did not say what it wrote: left alone")
            return
        listed = self.target.size(f"{folder}{layout.RELEASE}") is not None
        closing = [f"{folder}{one}" for one in (layout.RELEASE, layout.SIGNATURE, layout.SUMS)]
        files = [] if listed else [*closing, *(one for one in said if _inside(one, folder))]
        files = [one for one in dict.fromkeys(files) if not self._through_a_link(one)]
        sizes = sum(self.target.size(one) or 0 for one in files)
        why = "the claim of a publication that ended" if listed else "left by a publication that ended before its end"
        item = Item(claimed.path if listed else what, why, sizes)
        report.items.append(item)
        if not self.delete:
            return
        try:
            with claim.held(
                self.target,
                claimed.name,
                claimed.version,
                "",
                self.events,
                files=files,
                take_over=self.take_over,
                patience=0,
            ):
                # Between our look and our claim another may have published it.
                if not listed and self.target.size(f"{folder}{layout.RELEASE}") is None:
                    self._remove(files, report)
            self._tickets(claimed)
            item.state = "gone"
        except claim.TakenError:
            item.state, item.why = "stays", "somebody is publishing it again"
        except HostError as error:
            item.state, item.problem = "stays", error.problem.what

    def _tickets(self, claimed: Claimed) -> None:
        """Remove what a take-over of this version left that was killed."""
        folder = f"{claimed.name}/{layout.CLAIMS}"
        for name in self.target.names(folder):
            if name.startswith(f"{claimed.version}.") and name.endswith(".taken"):
                data = self.target.read(f"{folder}/{name}")
                if data is not None and claim.dead(data):
                    self.target.remove(f"{folder}/{name}")

    def _partials(self, folder: str, report: Report) -> None:
        """Remove files under way that have been so for a day; younger ones may have a writer, on whatever host."""
        for name in self.target.names(folder.rstrip("/")):
            path = f"{folder}{name}"
            written = self.target.modified(path) if layout.is_partial(name) else None
            if written is not None and self.now - written > PARTIAL_AGE:
                item = Item(path, "left by a publication that was killed", self.target.size(path) or 0)
                report.items.append(item)
                if self.delete:
                    self.target.remove(path)
                    item.state = "gone"

    def _bases(self, shelf: Shelf, going: Sequence[Listed], report: Report) -> None:
        """Remove the bases that no version stands on any more and that nobody is about to use."""
        candidates = self._candidates(shelf.used(going))
        if not candidates:
            left = self.target.read(f"{layout.BASES}/{layout.REMOVING}")
            if self.delete and left is not None and claim.dead(left):
                # A collection was killed when it had nothing left to do.
                with claim.removing(self.target, [], self.events, patience=0):
                    return
            return
        if shelf.wrong:
            report.note("no shared base goes: what stands on it cannot be told while a version is not as it was signed")
            return
        if not self.delete:
            taken, used = self._claimed(shelf.claims), shelf.used(going)
            for path in candidates:
                self._base(path, taken, used, report, known=path in shelf.used())
            return
        known = shelf.used()
        try:
            with claim.removing(self.target, candidates, self.events, take_over=self.take_over, patience=0) as held:
                # From here on publishers wait; those that were quicker hold a claim, or have listed what they wrote.
                fresh = shelves.read(self.target)
                taken, used = self._claimed(fresh.claims), fresh.used()
                if fresh.wrong:
                    report.note("no shared base goes: a version is not as it was signed")
                    return
                for path in candidates:
                    held.check()
                    self._base(path, taken, used, report, known=path in known)
        except claim.TakenError:
            report.note("another collection is removing bases: they are left to it")
        except HostError as error:
            report.items.append(Item(layout.BASES, "nobody stands on them", 0, "stays", error.problem.what))

    def _candidates(self, used: set[str]) -> list[str]:
        found = []
        for sha in self.target.names(layout.BASES):
            if not (sha.endswith("/") and _SHA.fullmatch(sha[:-1])):
                continue
            for name in self.target.names(f"{layout.BASES}/{sha[:-1]}"):
                path = layout.base_path(sha[:-1], name)
                if not name.endswith("/") and path not in used and not self._through_a_link(path):
                    found.append(path)
        return found

    def _claimed(self, claims: Sequence[Claimed]) -> set[str] | None:
        """Return the bases that publishers under way may use; None: any of them."""
        taken: set[str] = set()
        for one in claims:
            files = claim.files_of(one.data)
            if one.dead:
                # It was killed: run again, it looks at each base again.
                continue
            if files is None:
                return None
            taken |= {path for path in files if path.startswith(f"{layout.BASES}/")}
        return taken

    def _base(self, path: str, taken: set[str] | None, used: set[str], report: Report, *, known: bool) -> None:
        folder, _, name = path.rpartition("/")
        if path in used:
            return
        item = Item(path, "no version stands on it", self.target.size(path) or 0)
        if taken is None or any(one.startswith(f"{folder}/") for one in taken):
            report.note(f"{path} stays: a publication under way may use it")
            return
        partial = layout.is_partial(name)
        if not known and not partial and self.target.digest(path) != folder.rpartition("/")[2]:
            report.note(f"not roost's, and left alone: {path}")
            return
        report.items.append(item)
        if self.delete:
            self.target.remove(path)
            self.target.prune(folder)
            item.state = "gone"

    def _through_a_link(self, path: str) -> bool:
        """Return whether a folder on the way to a file is a link: what it leads to is not the catalogue's."""
        root = self.target.local
        if root is None:
            return False
        return any((root / parent).is_symlink() for parent in PurePosixPath(path).parents)


def _inside(path: str, folder: str) -> bool:
    parts = path.split("/")
    return path.startswith(folder) and not any(part in {"", ".", ".."} for part in parts)
