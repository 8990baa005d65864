"""What is known of the test boots of an image that were done before: their verdicts, and whether they still count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from roost.boot import attestation, report
from roost.customize import inputs
from roost.host import jsontext
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.loader import Loaded
from roost.store import manifest
from roost.store.manifest import Manifest


def passed(directory: Path, hypervisor: Hypervisor, record: Manifest, test: str) -> bool:
    """Return whether there is a verdict that passed, in the test `test`, of the files of a build."""
    return _verdict(directory, hypervisor, record, test) is True


def failed(directory: Path, hypervisor: Hypervisor, record: Manifest, test: str) -> bool:
    """Return whether there is a verdict that did not pass, in the test `test`, of the files of a build."""
    return _verdict(directory, hypervisor, record, test) is False


def _verdict(directory: Path, hypervisor: Hypervisor, record: Manifest, test: str) -> object:
    """Return what the verdict says in `passed`; None without one in this test and of these files."""
    try:
        verdict = jsontext.read(directory / "boot" / f"{hypervisor}.json")
        built = record.sums
        same = verdict.get("test") in (None, test)
        of_these = same and all(built[disk["name"]] == disk["sha256"] for disk in verdict["disks"])
        return verdict["passed"] if of_these else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def is_due(loaded: Loaded, directory: Path, hypervisor: Hypervisor, *, require_kvm: bool = False) -> bool:
    """Return whether no boot of this account has left a verdict in the test that the recipe asks for now."""
    insists = require_kvm and hypervisor == "kvm"
    other = insists and _accelerator(directory) != "kvm"
    return attestation.missing(directory, hypervisor) or other or _other_test(loaded, directory, hypervisor)


def counts(loaded: Loaded, hypervisor: Hypervisor, *, require_kvm: bool = False) -> bool:
    """Return whether a boot before passed that a publication of today would believe: no other is needed."""
    directory = loaded.build
    record = manifest.read(directory)
    if record is None or is_due(loaded, directory, hypervisor, require_kvm=require_kvm):
        return False
    test = inputs.boot_key(loaded.recipe, loaded.directory)
    return passed(directory, hypervisor, record, test) and isinstance(
        attestation.opened(directory, hypervisor), attestation.Attestation
    )


def verdict(directory: Path, hypervisor: str) -> dict[str, Any]:
    """Return what reports tell of a verdict, and where its page is.

    Raises what reading raises when there is none: a boot has just left it.
    """
    said = jsontext.read(directory / "boot" / f"{hypervisor}.json")
    kept = ("passed", "phase", "cause", "detail", "accelerator", "console", "finished")
    return {
        "hypervisor": hypervisor,
        **{name: said[name] for name in kept},
        "seconds": sum(said["seconds"].values()),
        "report": str(directory / "boot" / report.place(hypervisor)),
    }


def _other_test(loaded: Loaded, directory: Path, hypervisor: Hypervisor) -> bool:
    """Return whether the verdict is of another test than the recipe asks for now."""
    try:
        test = jsontext.read(directory / "boot" / f"{hypervisor}.json").get("test")
    except (OSError, ValueError, AttributeError):
        return False
    return test is not None and test != inputs.boot_key(loaded.recipe, loaded.directory)


def _accelerator(directory: Path) -> str | None:
    try:
        return str(jsontext.read(directory / "boot" / "kvm.json")["accelerator"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
