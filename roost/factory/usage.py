"""The resource usage of earlier workflows: memory and disk by node, from DAGMan's log, kept for the next workflow.

Format: an event 000 names its node in a line "DAG Node: NAME", an event 005 has a table "Partitionable Resources" with
the rows "Disk (KB)" and "Memory (MB)", whose first number is the usage (HTCondor manual, Job Event Log Codes).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from roost.condor import event_log, passages
from roost.host import jsontext, paths
from roost.store.staging import write_atomically

_NODE = re.compile(r"^\s*DAG Node: (\S+)\s*$", re.MULTILINE)
_ROW = re.compile(r"^\s*(Disk|Memory) \((KB|MB)\)\s*:\s*(\d{1,12})\b", re.MULTILINE)
#: The maximum number of nodes kept, the most recent first.
KEPT = 4096


@dataclass(frozen=True, slots=True)
class Usage:
    """The maximum usage of a node's job in MiB."""

    memory: int
    disk: int


def place() -> Path:
    """Return the path of the file."""
    return paths.cache_root() / "factory" / "usage.json"


def read(path: Path) -> dict[str, Usage]:
    """Return the known usage by node; empty when the file cannot be read."""
    try:
        return TypeAdapter(dict[str, Usage]).validate_python(jsontext.read(path))
    except (OSError, ValueError):
        return {}


def of_log(path: Path) -> dict[str, Usage]:
    """Return the usage of the jobs in a log, by node; raises `OSError` when it cannot be read."""
    follower = event_log.Follower(path)
    nodes: dict[str, str] = {}
    found: dict[str, Usage] = {}
    while events := list(follower.events()):
        for event in events:
            if event.number == passages.SUBMITTED and (named := _NODE.search(event.text)):
                nodes[event.job] = named[1]
            elif event.number == passages.TERMINATED and event.job in nodes:
                rows = {name: int(count) for name, _, count in _ROW.findall(event.text)}
                if rows.get("Disk") or rows.get("Memory"):
                    name = nodes[event.job]
                    seen = Usage(rows.get("Memory", 0), -(-rows.get("Disk", 0) // 1024))
                    before = found.get(name, seen)
                    found[name] = Usage(max(seen.memory, before.memory), max(seen.disk, before.disk))
    return found


def remember(path: Path, seen: Mapping[str, Usage]) -> None:
    """Add usage to the file, keeping that of other nodes."""
    known = {**{name: one for name, one in read(path).items() if name not in seen}, **seen}
    kept = dict(list(known.items())[-KEPT:])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps({name: asdict(one) for name, one in kept.items()}, indent=1).encode())
