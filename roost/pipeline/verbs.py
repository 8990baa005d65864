"""The story of roost, one readable function per verb. `roost.cli` calls these and shows what they return."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from roost.customize import inputs as image_inputs
from roost.errors import ImageError, RecipeError, RoostError, UsageError
from roost.events import Events, Stages
from roost.host import jsontext, paths
from roost.host import output as writing
from roost.recipe import loader
from roost.recipe.loader import Loaded
from roost.recipe.model import Hypervisor, Recipe
from roost.store import lease, manifest, staging
from roost.store.manifest import BuiltFile, Manifest

if TYPE_CHECKING:
    from roost.boot.result import BootResult
    from roost.boot.xen import FirstDomain
    from roost.condor.lint import LintReport
    from roost.condor.machine import VirtualMachine
    from roost.iodisk.inputs import Item


@dataclass(frozen=True, slots=True)
class Built:
    """What `build` leaves: the folder, its files, and the lines for a submit description by hypervisor."""

    name: str
    folder: Path
    cached: bool
    seconds: Mapping[str, float]
    files: tuple[BuiltFile, ...]
    snippets: Mapping[str, str]
    #: What a command line calls the image: its name, or the path of its recipe.
    called: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON contract of `inv build NAME --json`."""
        return {
            "name": self.name,
            "folder": str(self.folder),
            "cached": self.cached,
            "seconds": dict(self.seconds),
            "files": [file.public() for file in self.files],
            "submit": dict(self.snippets),
            "called": self.called,
        }


def build(name: str, *, events: Events, force: bool = False, sets: Sequence[str] = ()) -> Built:
    """Build an image and its submit files; with nothing changed, say so and touch nothing.

    `sets` are `key=value` laid over the recipe.
    """
    from roost.condor import submission
    from roost.pipeline import construct, planning

    loaded = loader.load(name, paths.project_root(), sets, planning.problems)
    folder = loaded.build
    _refuse_foreign(folder)
    stages = Stages(events)
    waiting = f"another build of {loaded.recipe.name} is running: waiting for it"
    with lease.held(), staging.lock(folder, lambda: events.note(waiting)):
        log_dir = construct.log_folder(folder)
        plan = planning.plan(loaded, stages, log_dir)
        record = None if force else manifest.is_fresh(folder, plan.key)
        cached = record is not None
        if record is None:
            record = construct.construct(plan, folder, stages, log_dir)
    snippets = submission.snippets(loaded, record, folder)
    return Built(loaded.recipe.name, folder, cached, stages.seconds, record.files, snippets, loaded.called)


def _refuse_foreign(folder: Path) -> None:
    """Refuse to replace what roost did not make: build/ is a name that other tools like too."""
    try:
        foreign = (
            folder.is_symlink()
            or (folder.exists() and not folder.is_dir())
            or (folder.is_dir() and not (folder / manifest.NAME).exists() and any(folder.iterdir()))
        )
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}") from error
    if foreign:
        raise UsageError(f"{folder} exists, and roost did not make it", hint="move it, or give the recipe another name")


def resolved(name: str, sets: Sequence[str] = ()) -> dict[str, Any]:
    """Return every value of the final recipe with where it came from, and the places of the variables in it.

    None is the model's default.
    """
    found = loader.load(name, paths.project_root(), sets).resolved()
    rows = [
        {
            "key": ".".join(map(str, value.path)),
            "value": value.value,
            "from": str(value.where) if value.where else None,
            "through": [str(where) for where in value.through],
        }
        for value in found
    ]
    return {"name": name, "values": rows}


def check(names: Sequence[str], sets: Sequence[str] = ()) -> dict[str, Any]:
    """Check recipes without building; all of each one's mistakes.

    `names` are names, paths, or folders of recipes; none: all of the project's.
    """
    from roost.pipeline import planning

    project = paths.project_root()
    results = []
    for name in loader.expanded(names, project):
        problems: list[str] = []
        try:
            loader.load_all(name, project, sets, planning.problems)
        except RoostError as error:
            problems = [str(problem) for problem in error.problems]
        results.append({"name": name, "ok": not problems, "problems": problems})
    return {"ok": all(result["ok"] for result in results), "recipes": results}


def recipes(names: Sequence[str] = ()) -> dict[str, Any]:
    """Return recipes with the state of each image: broken, unbuilt, built, booted, published, stale.

    `names` are names, paths, or folders of recipes; none: all of the project's.
    """
    project = paths.project_root()
    rows = []
    for name in loader.expanded(names, project):
        try:
            found = loader.load_all(name, project)
        except RecipeError as error:
            rows.append({"name": name, "state": "broken", "description": str(error.problems[0])})
            continue
        for loaded in found:
            recipe = loaded.recipe
            rows.append(
                {
                    "name": recipe.name,
                    "state": _state(loaded),
                    "description": recipe.description,
                    "called": loaded.called,
                }
            )
    return {"recipes": rows}


def _state(loaded: Loaded) -> str:
    from roost.pipeline import publish

    folder = loaded.build
    record = manifest.read(folder)
    if record is None:
        return "unbuilt"
    # The archive is not asked here: `build` knows whether it moved on.
    if image_inputs.recipe_key(loaded.recipe, loaded.folder) != record.keys.get("recipe"):
        return "stale"
    if manifest.changed_files(folder, record.files):
        return "changed since the build"
    if not _booted(folder, record, image_inputs.boot_key(loaded.recipe, loaded.folder)):
        return "built"
    return "published" if publish.is_published(folder, record) else "booted"


def _booted(folder: Path, record: Manifest, test: str) -> bool:
    """Return whether the folder's verdict is a pass, in the test `test`, of exactly the files that the build left."""
    try:
        verdict = jsontext.read(folder / "boot" / "kvm.json")
        built = {file.name: file.sha256 for file in record.files}
        same = verdict.get("test") in (None, test)
        return (
            verdict["passed"] is True
            and same
            and all(built[disk["name"]] == disk["sha256"] for disk in verdict["disks"])
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def boot(
    name: str,
    *,
    events: Events,
    accel: str = "auto",
    hypervisor: str | None = None,
    machine: str = "pc",
    interactive: bool = False,
    keep: bool = False,
    require_kvm: bool = False,
    evict: bool | None = None,
    echo: Callable[[bytes], None] | None = None,
) -> BootResult | None:
    """Test boot a built image, or the disks of a submit description FILE.sub, and keep the verdict beside it.

    With `interactive` the console is the terminal's, nothing is judged, and None is returned. `echo` sees each byte of
    the console as it comes. `hypervisor` is kvm or xen; None is the one of the description, or of the recipe.
    """
    from roost.condor import from_submit
    from roost.iodisk import inputs as job_inputs

    if hypervisor not in {None, "kvm", "xen"}:
        raise UsageError(f"there is no hypervisor '{hypervisor}'", hint="kvm or xen")
    if machine not in {"pc", "q35"}:
        raise UsageError(f"there is no machine '{machine}'", hint="pc or q35")
    if name.endswith(".sub") or (Path(name).is_file() and not name.endswith(loader.SUFFIXES)):
        path = Path(name)
        vm = from_submit.virtual_machine(path)
        if hypervisor not in {None, vm.hypervisor}:
            raise UsageError(f"{path} is for {vm.hypervisor}, not for {hypervisor}", hint="leave --hypervisor out")
        if interactive:
            kept = path.with_suffix(".kept") if keep else None
            _interact(vm, path.parent, [path], kept, events, accel, machine, require_kvm)
            return None
        return _boot(
            vm, path.parent, None, path.with_suffix(".boot"), events, accel, machine, require_kvm, evict, echo=echo
        )
    loaded = loader.load(name, paths.project_root())
    recipe = loaded.recipe
    folder = loaded.build
    record = manifest.read(folder)
    if record is None:
        raise UsageError(f"{recipe.name} is not built yet", hint=f"inv build {name}")
    changed = manifest.changed_files(folder, record.files)
    if changed:
        raise ImageError(f"{', '.join(changed)} changed since the build", hint=f"inv build --force {name}")
    if image_inputs.recipe_key(loaded.recipe, loaded.folder) != record.keys.get("recipe"):
        events.note(f"the recipe of {recipe.name} changed since the build: this boots what was built")
    vm = _bootable(loaded, hypervisor, record, folder, events)
    with staging.lock(folder, lambda: events.note(f"{recipe.name} is being built: waiting for it")):
        if interactive:
            kept = folder.with_name(f"{folder.name}.kept") if keep else None
            _interact(vm, folder, sorted(folder.glob("*.sub")), kept, events, accel, machine, require_kvm)
            return None
        if manifest.read(folder) != record:
            raise ImageError(f"{recipe.name} was built anew meanwhile", hint=f"inv boot {name}")
        bases = sorted({file.backing for file in record.files if file.backing is not None})
        items, problems = job_inputs.items(
            recipe.boot_test.inputs, loaded.folder, loaded.where(("boot_test", "inputs"))
        )
        if problems:
            raise RecipeError(problems)
        test = image_inputs.boot_key(recipe, loaded.folder)
        out = folder / "boot"
        result = _boot(
            vm, folder, recipe, out, events, accel, machine, require_kvm, evict, bases, echo, items=items, test=test
        )
        _seal(folder, vm.hypervisor, events)
        return result


def _bootable(loaded: Loaded, hypervisor: str | None, record: Manifest, folder: Path, events: Events) -> VirtualMachine:
    """Return the machine of an image; where kvm is asked of one that is made for xen alone, one that stands in."""
    from roost.condor import submission

    made = loaded.recipe.hypervisors
    if hypervisor == "xen" and "xen" not in made:
        raise UsageError(f"{loaded.recipe.name} is not made for xen", hint="add xen to hypervisors, and build it")
    if hypervisor == "xen" or (hypervisor is None and "kvm" not in made):
        return submission.machine(loaded, "xen", record, folder)
    if "kvm" in made:
        return submission.machine(loaded, "kvm", record, folder)
    try:
        machine = submission.machine(loaded, "kvm", record, folder)
    except RecipeError as error:
        reasons = "; ".join(problem.what for problem in error.problems)
        what = f"{loaded.recipe.name} is made for xen, and no kvm machine can stand in for it: {reasons}"
        raise UsageError(what, hint="--hypervisor xen") from error
    events.note(f"{loaded.recipe.name} is made for xen: a kvm machine with its disks and kernel stands in")
    return machine


def _seal(folder: Path, hypervisor: str, events: Events) -> None:
    """Bind the verdict to the bytes it was reached on, so that `publish` can tell."""
    from roost.boot import seal

    try:
        seal.write(folder, hypervisor)
    except (OSError, ValueError) as error:
        events.note(f"the verdict cannot be sealed, so `inv publish` will boot the image again: {error}")


def _kind(machine: str) -> Literal["pc", "q35"]:
    return "q35" if machine == "q35" else "pc"


def _interact(
    vm: VirtualMachine,
    folder: Path,
    descriptions: Sequence[Path],
    keep: Path | None,
    events: Events,
    accel: str,
    machine: str,
    require_kvm: bool,
) -> None:
    """Hand a machine's console to the person at the terminal; its changed disks may stay in the folder `keep`."""
    from roost.boot import interactive

    interactive.interact(
        vm,
        folder,
        accel=accel,
        machine=_kind(machine),
        require_kvm=require_kvm,
        keep=keep,
        also=descriptions,
        events=events,
    )


def _boot(
    vm: VirtualMachine,
    folder: Path,
    recipe: Recipe | None,
    out: Path,
    events: Events,
    accel: str,
    machine: str,
    require_kvm: bool,
    evict: bool | None,
    bases: Sequence[str] = (),
    echo: Callable[[bytes], None] | None = None,
    items: Sequence[Item] = (),
    test: str | None = None,
) -> BootResult:
    """Boot a machine and judge it."""
    from roost.boot import run

    first = _first_domain(vm, events)
    kind = _kind(machine)
    return run.boot(
        vm,
        folder,
        recipe,
        accel=accel,
        machine=kind,
        require_kvm=require_kvm,
        evict=evict,
        bases=bases,
        out=out,
        events=events,
        echo=echo,
        inputs=items,
        test=test,
        first=first,
    )


def _first_domain(vm: VirtualMachine, events: Events) -> FirstDomain | None:
    """Return Xen and its first domain for a xen machine, building them if need be; None for another."""
    if vm.hypervisor != "xen":
        return None
    from roost.pipeline import xen_dom0

    with lease.held():
        return xen_dom0.provide(Stages(events))


def doctor(events: Events) -> dict[str, Any]:
    """Return what this host can do: every check, and whether anything essential is missing."""
    from roost.boot import accelerator
    from roost.host import doctor as host
    from roost.host.doctor import Check

    def kvm() -> Check:
        events.begin("kvm", "does a real kernel boot under it")
        found = accelerator.probe()
        events.end("kvm", found.seconds, found.usable)
        return Check("kvm", found.usable, found.seen, found.fix, essential=False)

    checks = host.checks(paths.project_root(), kvm=kvm)
    return {
        "ok": host.ok(checks),
        "checks": [check.to_json() for check in checks],
    }


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
    from roost.condor import submission

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
    text = submission.describe(
        loaded, record.files, chosen, folder, transfer=transfer, jobs=jobs, snippet=snippet, at=at
    )
    if at is None:
        text = submission.told(text, folder, jobs, transfer or loaded.recipe.submit.transfer)
    if output is not None:
        writing.write(output, text.encode())
    return text


def lint(file: str) -> LintReport:
    """Judge a submit description by HTCondor's rules, with the files it names at hand; `-` is standard input.

    What comes on standard input names files of the current directory.
    """
    from roost.condor import lint as judging
    from roost.condor.submit.language import decode

    if file == "-":
        text = decode(_standard_input("a submit description"))
        return judging.lint(text, file="standard input", folder=Path.cwd())
    if not Path(file).is_file():
        raise UsageError(f"there is no file {file}", hint="inv lint FILE.sub, or - for standard input")
    return judging.lint_file(Path(file))


def explain(words: Sequence[str], *, named: bool = False) -> dict[str, Any]:
    """Explain a text: that of a file, of standard input (`-`), or the words themselves.

    A single word that is a file is read; with `named` the last word is a file in any case. Raises `UsageError` for a
    file that cannot be read.
    """
    from roost.condor import explain as explanation

    text = " ".join(words[:-1] if named else words)
    if named or (len(words) == 1 and _means_file(words[0])):
        data = _standard_input("a log") if words[-1] == "-" else _log(Path(words[-1]))
        text = f"{text if named else ''}\n{data.decode('utf-8', 'replace')}"
    if not text.strip():
        raise UsageError("nothing to explain", hint="inv explain TEXT, or inv explain FILE, or - for standard input")
    return {"matches": [match.to_json() for match in explanation.explain(text)]}


def _means_file(word: str) -> bool:
    """Return whether a word names a file or - rather than being the text itself: it is there, or looks like a path."""
    if word == "-":
        return True
    try:
        if os.path.lexists(word):
            return True
    except ValueError:
        return False
    return re.fullmatch(r"(?:\.{0,2}/)?[\w.+-]+(?:/[\w.+-]+)*\.(?:log|txt|out|err|sub)|\.{0,2}/\S+", word) is not None


#: Bytes of a log that are read: its end tells what became of the jobs.
LOG_BYTES = 4 << 20
#: Bytes of standard input that are waited for.
INPUT_BYTES = 64 << 20


def _log(path: Path) -> bytes:
    """Return the end of a log. A pipe or a device is not opened: reading it might not end."""
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise UsageError(f"{path} {what}", hint="inv explain FILE, or - for standard input")
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            return file.read(LOG_BYTES)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error


def _standard_input(what: str) -> bytes:
    """Return standard input; more than any log or description has is refused."""
    data = sys.stdin.buffer.read(INPUT_BYTES + 1)
    if len(data) > INPUT_BYTES:
        raise UsageError(f"standard input is larger than {what} is (over {INPUT_BYTES >> 20} MiB)")
    return data
