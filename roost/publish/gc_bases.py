"""The part of a collection that removes shared bases that neither a version nor a publisher needs."""

from __future__ import annotations

import re
from collections.abc import Sequence

from roost.errors import HostError
from roost.publish import claim, inventory, layout
from roost.publish.inventory import Claimed, Inventory, Listed
from roost.publish.removal import Removal
from roost.store.gc_report import Garbage, Report

_SHA = re.compile(r"[0-9a-f]{64}")


def collect(removal: Removal, stock: Inventory, going: Sequence[Listed], report: Report) -> None:
    """Remove the bases that no version uses and no publisher is about to use."""
    candidates = _candidates(removal, stock.used(going))
    if not candidates:
        left = removal.target.read(f"{layout.BASES}/{layout.REMOVING}")
        if removal.delete and left is not None and claim.dead(left):
            # A collection was killed after its last removal: remove its announcement.
            with claim.removing(removal.target, claim.Wish(removal.events, patience=0)):
                return
        return
    if stock.wrong:
        report.note(
            "no shared base is removed: what needs them is not known while a version does not match its signature"
        )
        return
    if not removal.delete:
        taken, used = _claimed(stock.claims), stock.used(going)
        for path in candidates:
            _base(removal, path, taken, used, report, known=path in stock.used())
        return
    known = stock.used()
    try:
        wish = claim.Wish(removal.events, candidates, removal.take_over, patience=0)
        with claim.removing(removal.target, wish) as held:
            # From here on publishers wait; those that were faster hold a claim or have listed their version.
            fresh = inventory.read(removal.target)
            taken, used = _claimed(fresh.claims), fresh.used()
            if fresh.wrong:
                report.note("no shared base is removed: a version does not match its signature")
                return
            for path in candidates:
                held.check()
                _base(removal, path, taken, used, report, known=path in known)
    except claim.TakenError:
        report.note("another inv gc is removing shared bases: they are left to it")
    except HostError as error:
        report.items.append(Garbage(layout.BASES, "no version needs them", 0, "stays", error.problem.what))


def _candidates(removal: Removal, used: set[str]) -> list[str]:
    found = []
    for sha in removal.target.names(layout.BASES):
        if not (sha.endswith("/") and _SHA.fullmatch(sha[:-1])):
            continue
        for name in removal.target.names(f"{layout.BASES}/{sha[:-1]}"):
            path = layout.base_path(sha[:-1], name)
            if not name.endswith("/") and path not in used and not removal.through_a_link(path):
                found.append(path)
    return found


def _claimed(claims: Sequence[Claimed]) -> set[str] | None:
    """Return the bases that running publishers may use; None means any."""
    taken: set[str] = set()
    for one in claims:
        files = claim.files_of(one.data)
        if one.dead:
            # It was killed; when it is rerun, it checks each base again.
            continue
        if files is None:
            return None
        taken |= {path for path in files if path.startswith(f"{layout.BASES}/")}
    return taken


def _base(removal: Removal, path: str, taken: set[str] | None, used: set[str], report: Report, *, known: bool) -> None:
    directory, _, name = path.rpartition("/")
    if path in used:
        return
    item = Garbage(path, "no version needs it", removal.target.size(path) or 0)
    if taken is None or any(one.startswith(f"{directory}/") for one in taken):
        report.note(f"{path} stays: a publication under way may use it")
        return
    partial = layout.is_partial(name)
    if not known and not partial and removal.target.digest(path) != directory.rpartition("/")[2]:
        report.note(f"not written by roost, and not touched: {path}")
        return
    report.items.append(item)
    if removal.delete:
        removal.target.remove(path)
        removal.target.prune(directory)
        item.state = "gone"
