"""Rebuild outlook, lock and reproducibility results, as shown on a terminal."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from roost.cli.show import table
from roost.host.paths import display
from roost.host.safetext import one_line

if TYPE_CHECKING:
    from roost.pipeline.key_changes import Change
    from roost.pipeline.lock import Locked
    from roost.pipeline.rebuild import Outlook
    from roost.pipeline.repro import Reproduced

#: Characters shown of a changed value.
WIDTH = 60


def outlook(found: Outlook) -> str:
    """Render which stages would be made again, and what changed for each."""
    if not found.again:
        return f"{found.name} is up to date: nothing would be built"
    lines = [f"{found.name} would be built again"]
    for stage in found.stages:
        state = "again" if stage.again else "from the cache" if stage.cached else "unchanged"
        lines.append(f"{stage.name}: {state}{f', only its {stage.only}' if stage.only else ''}")
        lines += [f"  {line}" for line in _changes(stage.changes)]
    return "\n".join(lines)


def lock(found: Locked) -> str:
    """Render the content of a lock and its changes."""
    path = display(found.path)
    state = "written" if found.written else "unchanged"
    lines = [f"{path}: {state}, {len(found.lock.packages)} packages"]
    lines += _changes(found.changes)
    lines += ["", f"build exactly this: inv build {shlex.quote(found.called)} --locked"] if found.written else []
    return "\n".join(lines)


def repro(found: Reproduced) -> str:
    """Render each file of both builds, and where they differ."""
    lines = [
        f"build {number}: user {one['user']}, umask {one['umask']}, TZ={one['timezone']}, {one['seconds']} s"
        for number, one in enumerate(found.builds, 1)
    ]
    rows = []
    for file in found.files:
        state = "the same" if file.identical else "in one build only" if None in file.sums else "DIFFERS"
        rows.append([state, one_line(file.name), (file.sums[0] or file.sums[1] or "")[:16]])
    lines += table(rows).splitlines()
    for file in found.files:
        if file.differs is not None:
            first = "" if file.differs.offset is None else f" from byte {file.differs.offset}"
            lines.append(f"{one_line(file.name)}: {file.differs.blocks} blocks of 4 KiB differ{first}")
            lines += [f"  {one_line(place)}" for place in file.differs.where]
    if not found.identical and found.report is None:
        lines.append("diffoscope, where it is installed, shows more: apt-get install diffoscope-minimal")
    if found.report:
        lines += ["", found.report]
    if found.kept:
        lines.append(f"both builds are in {found.kept}")
    lines.append(f"{found.name}: {'identical' if found.identical else 'NOT identical'}")
    return "\n".join(lines)


def _changes(changes: Sequence[Change]) -> list[str]:
    rows = [[one.kind, one_line(one.what), _change_text(one)] for one in changes]
    return table(rows).splitlines()


def _change_text(change: Change) -> str:
    if change.old is None and change.new is None:
        return ""
    if change.kind in {"module", "file"}:
        return "new" if change.old is None else "gone" if change.new is None else "changed"
    return f"{_value(change.old)} -> {_value(change.new)}"


def _value(value: Any) -> str:
    text = "-" if value is None else value if isinstance(value, str) else json.dumps(value)
    return one_line(text if len(text) <= WIDTH else f"{text[:WIDTH]}...")
