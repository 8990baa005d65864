"""The known properties of the catalogue's kernels: recorded by builds and fetches, else claimed by the catalogue.

A build records the facts of its kernel here, by kernel and suite, so that `inv kernels` works without a network.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.host import checksum, jsontext
from roost.kernel import contents
from roost.kernel.catalogue import KernelSpec
from roost.kernel.contents import Initrd
from roost.kernel.drivers import BUSES, FILESYSTEMS
from roost.kernel.facts import Facts
from roost.kernel.inspect import version_order
from roost.store.cache import Cache
from roost.store.staging import write_atomically

DIRECTORY = "kernels"


@dataclass(frozen=True, slots=True)
class Record:
    """The recorded facts of a kernel for one suite (None: independent of suites); `source` is where they come from."""

    suite: str | None
    facts: Facts
    source: str


def _path(cache: Cache, spec: KernelSpec, suite: str | None) -> Path:
    # Another project's kernel with the same name may be a different one.
    origin = json.dumps([spec.packages, spec.files.model_dump(mode="json") if spec.files else None], sort_keys=True)
    return (
        cache.root
        / DIRECTORY
        / f"{spec.name}-{suite or 'files'}-{hashlib.sha256(origin.encode()).hexdigest()[:12]}.json"
    )


def remember(cache: Cache, spec: KernelSpec, suite: str | None, facts: Facts, source: str) -> None:
    """Record facts; a cache that is not writable is ignored."""
    path = _path(cache, spec, suite)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps({"facts": facts.to_json(), "source": source}, indent=1).encode())


def recall(cache: Cache, spec: KernelSpec, suite: str | None) -> Record | None:
    """Return the latest record, or None."""
    try:
        record = jsontext.read(_path(cache, spec, suite))
        return Record(suite, Facts.from_json(record["facts"]), str(record["source"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def initrd(cache: Cache, path: Path) -> Initrd:
    """Return the contents of an initrd, cached as long as its bytes stay the same."""
    record = cache.root / DIRECTORY / f"initrd-{checksum.sha256(path)}.json"
    try:
        return Initrd.from_json(jsontext.read(record))
    except (OSError, ValueError, KeyError, TypeError):
        found = contents.read(path)
    with contextlib.suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(record, json.dumps(found.to_json()).encode())
    return found


def suites(cache: Cache, spec: KernelSpec) -> set[str]:
    """Return the suites that have a record."""
    found = set()
    for path in (cache.root / DIRECTORY).glob(f"{spec.name}-*.json"):
        suite = path.stem.removeprefix(f"{spec.name}-").rpartition("-")[0]
        if path == _path(cache, spec, suite):
            found.add(suite)
    return found


def of_manifest(manifest: Mapping[str, Any], spec: KernelSpec) -> Record | None:
    """Return the record of this kernel in a built image's manifest, or None when the image has another kernel."""
    try:
        given, seen = manifest["inputs"], manifest["facts"]["kernel"]
        if not set(spec.packages.values()) & set(given["packages"]):
            return None
        return Record(
            str(given.get("suite") or given["debian"]["suite"]), Facts.from_json(seen), f"the image {manifest['name']}"
        )
    except (KeyError, TypeError):
        return None


def newest(found: Iterable[Record]) -> Record | None:
    """Return the newest record; of equal ones, the first."""
    best: Record | None = None
    for known in found:
        if best is None or version_order(known.facts.version) > version_order(best.facts.version):
            best = known
    return best


def seen(known: Record) -> dict[str, Any]:
    """Return the entry of `inv kernels --json` for a kernel with recorded facts."""
    facts = known.facts
    return {
        "suite": known.suite,
        "version": facts.version,
        "release": facts.release,
        "compression": facts.compression,
        "size": facts.size,
        "drivers": dict(facts.drivers),
        "filesystems": dict(facts.filesystems),
        "xen_pv": facts.xen_pv,
        "seen": True,
        "from": known.source,
    }


def claimed(spec: KernelSpec, suite: str | None) -> dict[str, Any]:
    """Return the entry for a kernel without recorded facts: the catalogue's claims; None means unknown."""
    can = set(spec.can)
    buses = {bus: _claim(can, "xen-pv" if bus == "xen" else bus) for bus in BUSES}
    return {
        "suite": suite,
        "version": None,
        "release": None,
        "compression": spec.compression.get(suite or ""),
        "size": None,
        "drivers": buses,
        "filesystems": dict.fromkeys(FILESYSTEMS),
        "xen_pv": "xen-pv" in can if can else None,
        "seen": False,
        "from": f"kernels/{spec.name}.yaml",
    }


def _claim(can: set[Any], ability: str) -> str | None:
    return ("claimed" if ability in can else "absent") if can else None
