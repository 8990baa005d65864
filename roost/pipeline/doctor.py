"""The steps of `inv doctor`: checks of this host."""

from __future__ import annotations

from typing import Any

from roost.boot import probe
from roost.events import Events
from roost.host import doctor as host
from roost.host import paths
from roost.host.doctor import Check


def doctor(events: Events) -> dict[str, Any]:
    """Return every check of this host, and whether all essential ones pass."""

    def kvm() -> Check:
        events.begin("kvm", "does a real kernel boot under it")
        found = probe.probe()
        events.end("kvm", found.seconds, found.usable)
        return Check("kvm", found.usable, found.seen, found.fix, essential=False)

    checks = host.checks(paths.project_root(), kvm=kvm)
    return {
        "ok": host.ok(checks),
        "checks": [check.to_json() for check in checks],
    }
