"""`inv gc URL` removes versions beyond a number or an age, remains of killed publications, and unused bases.

Safety follows from the order. A version's release.json is removed first, so listed versions are always complete;
latest.json never names a version that is removed. Each version is removed under a publisher's claim, and each base
after it is announced, so that publishers wait; their claims and versions are then checked again. The next
collection completes one that was killed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from roost.errors import HostError, UsageError
from roost.events import Events
from roost.publish import claim, gc_bases, inventory, layout, listing
from roost.publish.inventory import Claimed, Inventory, Listed
from roost.publish.removal import Removal
from roost.publish.retention import Rules, check_named, choose
from roost.store.gc_report import Garbage, Report

#: Seconds after which a partial file is abandoned, if its writer is not known.
PARTIAL_AGE = 86400.0


def collect(
    url: str, rules: Rules, events: Events, *, delete: bool, take_over: bool = False, now: float | None = None
) -> Report:
    """Return what a collection would remove from a catalogue or one of its images; with `delete`, remove it.

    `take_over` also removes the remains of publications on other hosts, which cannot be proven to have ended. Raises
    `UsageError` for anything but a catalogue, or for a version to keep that does not exist.
    """
    scope = listing.find(url)
    if scope.version is not None:
        hint = f"inv gc {scope.target.url} --keep N"
        raise UsageError(f"{url} is one version: inv gc takes a catalogue or an image", hint=hint)
    removal = Removal(scope.target, events, delete, take_over)
    return _Collection(removal, scope.name, rules, now or time.time()).run()


@dataclass(slots=True)
class _Collection:
    removal: Removal
    name: str | None
    rules: Rules
    now: float

    def run(self) -> Report:
        report = Report(self.removal.target.url, self.removal.delete)
        stock = inventory.read(self.removal.target)
        check_named(self.rules, stock)
        names = sorted({one.name for one in stock.listed if self.name in {None, one.name}})
        going: list[Listed] = []
        for name in names:
            for one, goes, why in choose(self.rules, stock, name, self.now):
                if goes:
                    going.append(one)
                    self._version(one, why, report)
                else:
                    report.kept.append({"what": f"{name}@{one.version}", "why": why, "bytes": one.bytes})
        for claimed in stock.claims:
            if self.name in {None, claimed.name}:
                self._leftover(stock, claimed, report)
        for name in names:
            self._partials(f"{name}/", report)
            self._partials(f"{name}/{layout.CLAIMS}/", report)
        self._partials("", report)
        self._partials(f"{layout.BASES}/", report)
        gc_bases.collect(self.removal, stock, going, report)
        if self.removal.delete:
            claimed_too = {one.name for one in stock.claims if self.name in {None, one.name}}
            for directory in (*(f"{name}/{layout.CLAIMS}" for name in sorted({*names, *claimed_too})), layout.BASES):
                claim.sweep(self.removal.target, directory)
        report.total = sum(one.bytes for one in stock.listed)
        for one in stock.wrong:
            report.note(f"{one.name} {one.version} is kept: {one.problem} (inv verify {self.removal.target.url})")
        return report

    def _version(self, one: Listed, why: str, report: Report) -> None:
        item = Garbage(f"{one.name}/{one.version}", why, one.bytes)
        report.items.append(item)
        linked = [path for path in one.own if self.removal.through_a_link(path)]
        if linked:
            item.state = "stays"
            item.why += f"; but {linked[0]} is reached through a link"
            return
        if not self.removal.delete:
            return
        self.removal.events.note(f"removing {item.what}")
        try:
            with self.removal.claimed(one.name, one.version, one.own):
                if inventory.latest_of(self.removal.target, one.name) == one.version:
                    item.state, item.why = "stays", "it has become the latest meanwhile"
                elif self.removal.target.read(one.own[0]) not in {one.data, None}:
                    item.state, item.why = "stays", "it changed meanwhile"
                else:
                    self.removal.remove(one.own, report)
                    item.state = "gone"
        except claim.TakenError:
            item.state = "stays"
            item.why += "; but it is being published"
        except HostError as error:
            item.state, item.problem = "stays", error.problem.what

    def _leftover(self, stock: Inventory, claimed: Claimed, report: Report) -> None:
        """Remove what a killed or failed publication or collection left, if its files are known."""
        what = f"{claimed.name}/{claimed.version}"
        directory = f"{what}/"
        if not (self.removal.take_over or claimed.dead):
            if str(claim.parsed(claimed.data).get("host", "")).partition(" ")[0]:
                where = str(claim.parsed(claimed.data)["host"]).partition(" ")[0]
                report.note(f"{what} is being published on {where}; if that was killed: --take-over")
            return
        recorded = claim.files_of(claimed.data)
        if recorded is None:
            report.note(f"{what} was left by an older roost, which did not record what it wrote: not removed")
            return
        listed = self.removal.target.size(f"{directory}{layout.RELEASE}") is not None
        closing = [f"{directory}{one}" for one in (layout.RELEASE, layout.SIGNATURE, layout.SUMS)]
        files = [] if listed else [*closing, *(one for one in recorded if _inside(one, directory))]
        files = [one for one in dict.fromkeys(files) if not self.removal.through_a_link(one)]
        sizes = sum(self.removal.target.size(one) or 0 for one in files)
        why = "the claim of a publication that ended" if listed else "left by a publication that did not complete"
        item = Garbage(claimed.path if listed else what, why, sizes)
        report.items.append(item)
        if not self.removal.delete:
            return
        try:
            with self.removal.claimed(claimed.name, claimed.version, files):
                # Another publisher may have published it before we held the claim.
                if not listed and self.removal.target.size(f"{directory}{layout.RELEASE}") is None:
                    self.removal.remove(files, report)
            item.state = "gone"
        except claim.TakenError:
            item.state, item.why = "stays", "it is being published again"
        except HostError as error:
            item.state, item.problem = "stays", error.problem.what

    def _partials(self, directory: str, report: Report) -> None:
        """Remove partial files older than a day; younger ones may have a writer on any host."""
        for name in self.removal.target.names(directory.rstrip("/")):
            path = f"{directory}{name}"
            written = self.removal.target.modified(path) if layout.is_partial(name) else None
            if written is not None and self.now - written > PARTIAL_AGE:
                item = Garbage(path, "left by a publication that was killed", self.removal.target.size(path) or 0)
                report.items.append(item)
                if self.removal.delete:
                    self.removal.target.remove(path)
                    item.state = "gone"


def _inside(path: str, directory: str) -> bool:
    parts = path.split("/")
    return path.startswith(directory) and not any(part in {"", ".", ".."} for part in parts)
