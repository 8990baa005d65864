"""The steps of `inv shell`: a root shell in a throw-away machine of a built image, with file transfer."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from roost.boot import interactive, plant
from roost.boot.backends import DiskPlace, described
from roost.boot.context import Context
from roost.boot.plant import Planted, Terminal
from roost.condor.hardware import Hardware, target_index
from roost.condor.machine import VirtualMachine, VmDisk
from roost.errors import ImageError, RecipeError, UsageError
from roost.events import Events, Stages
from roost.host import namespace, paths, process, temporary
from roost.iodisk import collect, make
from roost.iodisk import inputs as job_inputs
from roost.pipeline import boot as booting
from roost.pipeline.boot import Options
from roost.pipeline.context import accelerator
from roost.recipe import loader
from roost.recipe.model import Recipe
from roost.recipe.words import counted
from roost.store import lease, staging
from roost.store.manifest import Manifest

#: Bytes of space on the (sparse) disk for output, and the maximum number of output files.
ROOM, FILES = 2 << 30, 200_000
DEADLINE = 600.0


@dataclass(frozen=True, slots=True)
class Carried:
    """Input files of the host, output paths of the guest, and a new directory for the output (None: no output)."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    directory: Path | None = None


def carried(inputs: Sequence[str], outputs: Sequence[str]) -> Carried:
    """Return the files for `--in PATH` and `--out DIR` or `--out PATH:DIR`; all output goes into one directory."""
    found, directories = [], set()
    for one in outputs:
        path, colon, directory = one.rpartition(":")
        if colon and not path.startswith("/"):
            raise UsageError(
                f"--out {one}: {path!r} is not an absolute path in the guest", hint="--out /etc/fstab:results"
            )
        if not directory:
            raise UsageError(f"--out {one} names no directory", hint="--out results, or --out /etc/fstab:results")
        found += [path] if colon else []
        directories.add(directory)
    if len(directories) > 1:
        raise UsageError("--out names several directories", hint="all output goes into one directory")
    return Carried(tuple(inputs), tuple(found), Path(directories.pop()) if directories else None)


def shell(name: str, carried: Carried, *, events: Events, options: Options) -> None:
    """Run a root shell on the user's terminal; the image does not change, and changes are thrown away.

    Raises `UsageError` without a terminal or if the recipe is not built, `RecipeError` for unreadable inputs,
    `ImageError` for an image that cannot start a shell.
    """
    interactive.refuse_without_terminal()
    loaded = replace(loader.load(name, paths.project_root()), called=name)
    if carried.directory is not None:
        collect.check_target(carried.directory)
    items, problems = job_inputs.items(carried.inputs, Path.cwd())
    if problems:
        raise RecipeError(problems)
    record, vm = booting.bootable(loaded, "kvm", events)
    size = os.get_terminal_size()
    text = plant.script(
        loaded.recipe.name, Terminal(os.environ.get("TERM", ""), size.lines, size.columns), carried.outputs
    )
    with (
        staging.lock(loaded.build, lambda: events.note(staging.in_use(loaded.build))),
        lease.held(),
        temporary.directory("shell") as place,
    ):
        target = None
        if items or carried.directory is not None:
            target = _free(vm)
            vm = replace(vm, disks=(*vm.disks, VmDisk(str(_disk(items, place)), target, "w", "raw")))
        stages = Stages(events)

        def before(shape: Hardware, places: Mapping[str, DiskPlace], scratch: Path) -> None:
            log = scratch / "log" / "shell.log"
            with stages.stage("prepare", "a layer that is thrown away"):
                plant.plant(shape, places, Planted(text), accelerator=accelerator().kind, log=log, root=root(record))

        after = _taker(target, carried.directory, events) if target and carried.directory else None
        context = booting.started(Context(vm, loaded.build, events=events), options)
        interactive.interact(context, before=before, after=after)


def root(record: Manifest) -> str | None:
    """Return the UUID of an image's root file system; None if its build did not record it."""
    known = record.facts.get("filesystems") or ()
    return next((str(one["uuid"]) for one in known if one.get("mount") == "/"), None)


def _free(vm: VirtualMachine) -> str:
    """Return an unused device name of the machine."""
    taken = {target_index(disk.device) for disk in vm.disks}
    letter = next((chr(ord("a") + index) for index in range(26) if index not in taken and index > max(taken)), None)
    if letter is None:
        raise ImageError("the machine has no free device for the files to copy in and out")
    return f"vd{letter}"


def _disk(items: Sequence[job_inputs.Input], place: Path) -> Path:
    """Make the disk with the input, and with space for the output."""
    room = ROOM + 2 * job_inputs.size(items)
    recipe = Recipe.model_validate(
        {
            "name": "files",
            "os": {"debian": {"suite": "bookworm"}},
            "disks": [
                {"name": "root", "partitions": [{"mount": "/", "free": 1 << 20}]},
                {
                    "name": "files",
                    "filesystem": "ext4",
                    "label": plant.LABEL,
                    "size": room - room % (1 << 20),
                    "format": "raw",
                    "role": "io",
                },
            ],
        }
    )
    namespace.probe(namespace.owner())
    return make.make(recipe, items, place / "files.raw").path


def _taker(target: str, directory: Path, events: Events) -> interactive.Step:
    def take(_shape: Hardware, places: Mapping[str, DiskPlace], scratch: Path) -> None:
        layer = places[target].layer
        assert layer is not None
        raw = scratch / "taken.raw"
        process.run(
            ["qemu-img", "convert", "-O", "raw", described(layer, "qcow2"), raw],
            deadline=DEADLINE,
            log=scratch / "log" / "taken.log",
            what="the output of the guest cannot be read",
        )
        found = collect.collect(raw, directory, files=FILES)
        if found.directory is None:
            raise ImageError(f"nothing was copied out: {found.why}", hint="end the shell with `exit`")
        _flatten(found.directory)
        for note in found.notes:
            events.note(note)
        events.note(f"{counted(found.files, 'file')} copied to {directory}")

    return take


def _flatten(directory: Path) -> None:
    """Keep only the content of output/: there was no job."""
    for name in ("job.log", "status.json"):
        (directory / name).unlink(missing_ok=True)
    output = directory / "output"
    if output.is_dir() and not output.is_symlink():
        moved = directory / ".output"
        output.rename(moved)
        for one in list(moved.iterdir()):
            one.rename(directory / one.name)
        shutil.rmtree(moved)
