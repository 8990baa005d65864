"""The steps of `inv probe`: whether this execution point can start virtual machines, and the files that test it.

The guest is built once from a recipe of roost's own, into the cache. The test itself is `roost/site/probe`, a shell
script that needs neither Python nor roost: STARTD_CRON runs the same script on machines without roost (`install`).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.customize import inputs as image_inputs
from roost.errors import HostError, RoostError, UsageError
from roost.events import Events, Stages
from roost.host import paths, process, safetext, temporary
from roost.pipeline import construct, planning
from roost.pipeline.context import Context, log_directory
from roost.recipe import loader
from roost.store import cache, lease

RECIPE = Path("recipes/base/probe.yaml")
#: The stage's name in the cache, and the files of a result: the guest's disk, and a qcow2 that it reads.
STAGE = "site-probe"
ROOT, FORMAT = "root.raw", "format.qcow2"
SITE = Path(__file__).parents[1] / "site"
PROGRAM, WRAPPER = "probe", "domain-xml"

#: Seconds for a guest to answer: 2 with KVM, 20 under emulation; and the time that the script itself takes in addition.
DEADLINE, MARGIN = 120, 60
LONGEST = 3600

_INSTALL = "apt-get install libvirt-clients libvirt-daemon libvirt-daemon-driver-qemu"
_LINE = re.compile(r'(Roost[A-Za-z]+) = (true|false|-?\d+|"[^"\\]*")')


@dataclass(frozen=True, slots=True)
class Proof:
    """The result of the probe, as ClassAd attributes: text, whole numbers, booleans."""

    attributes: dict[str, str | int | bool]

    @property
    def works(self) -> bool:
        """Whether a guest started, answered, and powered itself off."""
        return self.attributes.get("RoostVMWorks") is True

    @property
    def reason(self) -> str:
        """Why it works, or does not."""
        return str(self.attributes.get("RoostVMReason", ""))

    def advertised(self) -> str:
        """Return the input for STARTD_CRON: one attribute a line, and a final separator line."""
        lines = [f"{name} = {_classad(value)}" for name, value in self.attributes.items()]
        return "\n".join([*lines, "-", ""])

    def to_json(self) -> dict[str, Any]:
        """Return the object of `inv probe --json`."""
        return {"works": self.works, "reason": self.reason, "attributes": self.attributes}


def _classad(value: str | int | bool) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def probe(events: Events, *, deadline: int = DEADLINE) -> Proof:
    """Start the guest through this machine's libvirt, and return the result.

    Never raises for what the host lacks: the result has the reason.
    """
    if not 1 <= deadline <= LONGEST:
        raise UsageError(f"--deadline must be from 1 to {LONGEST} s", hint=f"{DEADLINE} is enough without KVM")
    if process.which("virsh") is None:
        return _refused(f"virsh is not installed ({_INSTALL})")
    try:
        with lease.held():
            guest = provide(Stages(events))
            events.begin("probe", "a guest through libvirt")
            with _beside(guest) as script:
                done = process.run(
                    [script, "--deadline", str(deadline)], deadline=deadline + MARGIN, capture=True, check=False
                )
    except RoostError as error:
        return _refused(str(error))
    found = read(done.text)
    events.end("probe", float(found.attributes.get("RoostVMSeconds", 0)), found.works)
    return found


def _refused(why: str) -> Proof:
    return Proof({"RoostVMWorks": False, "RoostVMReason": _plain(why)})


def _plain(text: str) -> str:
    return safetext.printable(text, " ").replace('"', "'").replace("\\", "/")[:400]


def read(text: str) -> Proof:
    """Parse the output of the script; lines that are not its attributes are ignored."""
    found: dict[str, str | int | bool] = {}
    for line in text.splitlines():
        if match := _LINE.fullmatch(line.strip()):
            value = match[2]
            found[match[1]] = value[1:-1] if value[0] == '"' else value == "true" if value.isalpha() else int(value)
    if "RoostVMWorks" not in found or "\n-\n" not in f"{text}\n":
        return _refused("the probe gave no answer")
    return Proof(found)


def provide(stages: Stages) -> Path:
    """Return the directory with the guest's files; builds them if they are not in the cache.

    Raises what a build raises.
    """
    loaded = loader.load(paths.shipped_root() / RECIPE, paths.shipped_root(), (), planning.problems)
    key = image_inputs.recipe_key(loaded.recipe, loaded.directory)

    def make(directory: Path) -> None:
        stages.note("building the probe's guest: this is done once, and takes a minute")
        image = directory / "image"
        context = Context(loaded, image, stages, log_directory(Path(STAGE)))
        construct.construct(context, planning.plan(context))
        (image / ROOT).rename(directory / ROOT)
        shutil.rmtree(image)
        raw = directory / "format.raw"
        raw.write_bytes(b"roost".ljust(1 << 16, b"\0"))
        argv = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(directory / FORMAT)]
        process.run(argv, deadline=60, log=context.log("format"))
        raw.unlink()

    return cache.default().put(STAGE, key, make)


@contextmanager
def _beside(guest: Path) -> Iterator[Path]:
    """Yield the script next to the guest's files, where libvirt's own user can read them."""
    # Not in the cache: the home directory may be closed to others. Not in /tmp: libvirt may have a private one.
    with temporary.directory("probe", Path("/var/tmp")) as directory:
        directory.chmod(0o755)
        yield _laid(guest, directory)


def _laid(guest: Path, directory: Path) -> Path:
    """Put the script and the guest's files into a directory; return the script."""
    for name in (ROOT, FORMAT):
        argv = ["cp", "--sparse=always", "--reflink=auto", str(guest / name), str(directory / name)]
        process.run(argv, deadline=120, what=f"cannot copy {name}")
        (directory / name).chmod(0o644)
    for name in (PROGRAM, WRAPPER):
        shutil.copyfile(SITE / name, directory / name)
        (directory / name).chmod(0o755)
    return directory / PROGRAM


def install(directory: Path, events: Events) -> list[Path]:
    """Put the files for an execution point into a directory, which is created; return the files.

    Raises `UsageError` for an unsuitable directory, and what a build raises.
    """
    target = directory.absolute()
    if "iso" in str(target) or not re.fullmatch(r"[A-Za-z0-9._+/-]+", str(target)):
        what = f"{safetext.printable(str(target))}: HTCondor would misread this path"
        raise UsageError(what, hint="a path without 'iso', of letters, digits and . _ + - /")
    with lease.held():
        guest = provide(Stages(events))
        try:
            target.mkdir(parents=True, exist_ok=True)
            target.chmod(0o755)
        except OSError as error:
            raise UsageError(f"{directory}: {error.strerror}") from error
        # All of them or none: an execution point may be running the old ones.
        with temporary.directory("probe", target.parent, hidden=True) as scratch:
            _laid(guest, scratch)
            made = [scratch / name for name in (ROOT, FORMAT, WRAPPER, PROGRAM)]
            for path in made:
                try:
                    path.rename(target / path.name)
                except OSError as error:
                    raise HostError(f"{target / path.name}: {error.strerror}") from error
    return [target / path.name for path in made]
