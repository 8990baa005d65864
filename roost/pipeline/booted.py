"""Earlier test boots of an image: their verdicts, and whether they are still valid."""

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
    """Return whether there is a passing verdict for the test `test` and the files of a build."""
    return _verdict(directory, hypervisor, record, test) is True


def failed(directory: Path, hypervisor: Hypervisor, record: Manifest, test: str) -> bool:
    """Return whether there is a failing verdict for the test `test` and the files of a build."""
    return _verdict(directory, hypervisor, record, test) is False


def _verdict(directory: Path, hypervisor: Hypervisor, record: Manifest, test: str) -> object:
    """Return `passed` of the verdict; None if there is none for this test and these files."""
    try:
        verdict = jsontext.read(directory / "boot" / f"{hypervisor}.json")
        built = record.sums
        same = verdict.get("test") in (None, test)
        of_these = same and all(built[disk["name"]] == disk["sha256"] for disk in verdict["disks"])
        return verdict["passed"] if of_these else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def is_due(loaded: Loaded, directory: Path, hypervisor: Hypervisor, *, require_kvm: bool = False) -> bool:
    """Return whether this account has no verdict for the recipe's current test."""
    insists = require_kvm and hypervisor == "kvm"
    other = insists and _accelerator(directory) != "kvm"
    return attestation.missing(directory, hypervisor) or other or _other_test(loaded, directory, hypervisor)


def counts(loaded: Loaded, hypervisor: Hypervisor, *, require_kvm: bool = False) -> bool:
    """Return whether an earlier boot passed and is valid for a publication now, so that no other is needed."""
    directory = loaded.build
    record = manifest.read(directory)
    if record is None or is_due(loaded, directory, hypervisor, require_kvm=require_kvm):
        return False
    test = inputs.boot_key(loaded.recipe, loaded.directory)
    return passed(directory, hypervisor, record, test) and isinstance(
        attestation.opened(directory, hypervisor), attestation.Attestation
    )


def verdict(directory: Path, hypervisor: str) -> dict[str, Any]:
    """Return the report's summary of a verdict, and the path of its page.

    Raises errors of reading if there is none: call it only after a boot.
    """
    content = jsontext.read(directory / "boot" / f"{hypervisor}.json")
    kept = ("passed", "phase", "cause", "detail", "accelerator", "console", "finished")
    return {
        "hypervisor": hypervisor,
        **{name: content[name] for name in kept},
        "seconds": sum(content["seconds"].values()),
        "report": str(directory / "boot" / report.place(hypervisor)),
    }


def _other_test(loaded: Loaded, directory: Path, hypervisor: Hypervisor) -> bool:
    """Return whether the verdict is for another test than the recipe's current one."""
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
