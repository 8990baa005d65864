"""Snapshots of an archive: the addresses of a suite's sources at a given time. Pure, except for apt's settings.

A service that keeps old states of an archive has addresses that contain the time. The address is taken from, in this
order: `os.debian.mirror` with @SNAPSHOTID@ in it; ROOST_SNAPSHOT, which is the same or the root of a service with
Debian's layout, ROOT/archive/NAME/TIME/; the field Snapshots of the archive's index; apt's setting Acquire::Snapshots.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace

from roost.errors import UsageError
from roost.host import process
from roost.recipe.debian import SNAPSHOT_ID
from roost.sources.aptsource import AptSource

VARIABLE = "ROOST_SNAPSHOT"
#: The index of an old state has expired.
OPTION = "check-valid-until=no"


def given() -> str | None:
    """Return the value of ROOST_SNAPSHOT, or None."""
    return os.environ.get(VARIABLE) or None


def from_service(service: str, source: AptSource) -> str:
    """Return the template of a source's address for a value of ROOST_SNAPSHOT."""
    if SNAPSHOT_ID in service:
        return service
    name = source.uri.rstrip("/").rpartition("/")[2]
    return f"{service.rstrip('/')}/archive/{name}/{SNAPSHOT_ID}/"


def from_index(text: str, settings: Mapping[str, str]) -> str | None:
    """Return the template from an index and apt's settings, chosen as apt does (apt.conf(5)), or None."""
    fields = {key: (re.findall(rf"^{key}: *(.+?) *$", text, re.MULTILINE) or [""])[0] for key in _FIELDS}
    named = [
        settings.get(f"{kind}{field}::{fields[field]}") for kind in ("Override::", "") for field in ("Label", "Origin")
    ]
    candidates = [*named[:2], fields["Snapshots"], *named[2:]]
    return next((one for one in candidates if one and one != "no" and SNAPSHOT_ID in one), None)


_FIELDS = ("Label", "Origin", "Snapshots")


def apt_settings() -> dict[str, str]:
    """Return the snapshot settings of this host's apt: `Override::Origin::Debian` → template and the like."""
    if process.which("apt-config") is None:
        return {}
    shown = process.run(["apt-config", "dump", "Acquire::Snapshots"], deadline=10, capture=True, check=False)
    return dict(re.findall(r'^Acquire::Snapshots::URI::(\S+) "([^"]*)";', shown.text, re.MULTILINE))


def at(source: AptSource, template: str | None, snapshot: str) -> AptSource:
    """Return a source as of a time; raise `UsageError` when its address is unknown."""
    if template is None:
        raise UsageError(
            f"no snapshot service is known for {source.uri} (state of {snapshot})",
            hint=f"set {VARIABLE} to a snapshot service, or os.debian.mirror to an address with {SNAPSHOT_ID} in it",
        )
    options = f"{source.options} {OPTION}".strip()
    return replace(source, uri=template.replace(SNAPSHOT_ID, snapshot), options=options)
