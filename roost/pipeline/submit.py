"""The story of `inv submit`: the submit description of a built image, or of a published one."""

from __future__ import annotations

from pathlib import Path

from roost.condor import submission
from roost.condor.description import Delivery
from roost.condor.jobs_file import read_jobs
from roost.errors import UsageError
from roost.host import output as writing
from roost.host import paths
from roost.recipe import loader
from roost.recipe.model import Hypervisor
from roost.store import manifest


def submit(
    name: str,
    *,
    hypervisor: str | None,
    transfer: str | None,
    jobs: Path | None,
    snippet: bool,
    output: Path | None,
) -> str:
    """Return the submit description of a built image; with `output` also write it there."""
    if "@" in name and "/" not in name.rpartition("@")[2]:
        raise UsageError(f"{name} names a published version", hint=f"inv submit {name} --from CATALOGUE")
    loaded = loader.load(name, paths.project_root())
    folder = loaded.build
    record = manifest.read(folder)
    if record is None:
        raise UsageError(f"{loaded.recipe.name} is not built yet", hint=f"inv build {name}")
    if hypervisor not in {None, "kvm", "xen"}:
        raise UsageError(f"there is no hypervisor '{hypervisor}'", hint="kvm or xen")
    chosen: Hypervisor = "xen" if hypervisor == "xen" else "kvm" if hypervisor else loaded.recipe.hypervisors[0]
    at = submission.place_of(output)
    delivery = Delivery(transfer, jobs=read_jobs(jobs) if jobs else None, at=at)
    text = submission.describe(loaded, record.files, chosen, folder, delivery, snippet=snippet)
    if at is None:
        text = submission.told(text, folder, jobs, transfer or loaded.recipe.submit.transfer)
    if output is not None:
        writing.write(output, text.encode())
    return text
