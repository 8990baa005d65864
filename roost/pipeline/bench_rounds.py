"""The builds of each round of `inv bench`, compared with mmdebstrap at its fastest and, if installed, mkosi.

All have the same packages available locally. mmdebstrap gets a directory in memory and dpkg without fsync; roost and
mkosi run with their defaults.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roost.errors import HostError, ImageError, ToolError
from roost.events import Silent, Stages
from roost.host import memory, process
from roost.pipeline import bench_mkosi, planning
from roost.pipeline.bench_report import FLOOR, PEER, PEER_AGAIN
from roost.pipeline.context import Context
from roost.recipe import loader
from roost.sources.bootstrap import Bootstrap
from roost.sources.mmdebstrap import Installed

RECIPE = "debian-12"
#: The additional package of a second recipe of the same suite.
SECOND = "less"
ROOST = (sys.executable, "-P", "-m", "roost")
#: Bytes of memory for mmdebstrap's tree and packages.
_ROOM = 4 << 30
#: Cache entries: results made from packages, and information about the archive.
_MADE, _KNOWN = ("rootfs", "essential", "grub"), ("selections", "lists", "apt", "inrelease")

Measure = Callable[[str, Sequence[str | Path], Mapping[str, str]], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where to measure: a directory with recipes, and a cache below it; the checkout."""

    scratch: Path
    project: Path

    def cached(self, name: str) -> Path:
        """Return a directory of the cache."""
        return self.scratch / "cache" / name

    def forget(self, *names: str) -> None:
        """Remove results from the cache, and the recipe's image from build/."""
        for name in names:
            shutil.rmtree(self.cached(name), ignore_errors=True)
        shutil.rmtree(self.scratch / "build" / RECIPE, ignore_errors=True)

    def recipe(self, name: str, text: str) -> Path:
        """Write a recipe that extends the measured one; return its path."""
        path = self.scratch / f"{name}.yaml"
        path.write_text(f"extends: [{self.project}/recipes/{RECIPE}.yaml]\nname: {name}\n{text}")
        return path

    def build(self, recipe: str | Path) -> None:
        """Build an image without measuring it."""
        process.run(
            [*ROOST, "build", recipe, "--json"],
            deadline=7200, capture=True, cwd=self.scratch, env={"ROOST_CACHE": str(self.scratch / "cache")},
            what=f"cannot build {recipe}", foreign=True,
        )  # fmt: skip


def run(measure: Measure, place: Place, rounds: int) -> list[str]:
    """Measure everything `rounds` times in sequence; return why a peer is left out, if one is."""
    notes: list[str] = []
    second = place.recipe("second", f"os: {{debian: {{packages: [{SECOND}]}}}}\n")
    # Common inputs are downloaded first, without measuring.
    for name in (RECIPE, second):
        place.build(name)
    packages, wanted = _at_hand(place)
    peer, measured = place.scratch / "mkosi", True
    try:
        bench_mkosi.prepare(peer, wanted)
    except (HostError, ImageError, ToolError) as error:
        notes.append(bench_mkosi.reason(error))
        measured = False
    for number in range(rounds):
        _floor(measure, place, packages, wanted)
        if measured:
            try:
                measure(PEER, bench_mkosi.cold(peer), {})
                bench_mkosi.change(peer, f"{number}\n")
                measure(PEER_AGAIN, bench_mkosi.again(peer), {})
            except ToolError as error:
                # Its earlier measurements are not used: `bench_report` requires all rounds.
                notes.append(bench_mkosi.reason(error))
                measured = False
        place.forget(*_MADE, *_KNOWN, "uncompressed")
        measure("first build", [*ROOST, "build", RECIPE, "--json"], {})
        place.forget(*_MADE, *_KNOWN)
        measure("cold", [*ROOST, "build", RECIPE, "--json"], {})
        shutil.rmtree(place.scratch / "build" / "second", ignore_errors=True)
        measure("second recipe", [*ROOST, "build", second, "--json"], {})
        changed = place.recipe("changed", "files:\n  - {path: /etc/changed, content: none}\n")
        place.build(changed)
        text = f"files:\n  - {{path: /etc/changed, content: 'round {number}'}}\n"
        place.recipe("changed", text)
        measure("one file changed", [*ROOST, "build", changed, "--json"], {})
        text += f"kernel: {{parameters: [round={number}]}}\n"
        place.recipe("changed", text)
        measure("kernel parameters", [*ROOST, "build", changed, "--json"], {})
        place.recipe("changed", f"{text}submit: {{commands: {{priority: {number + 1}}}}}\n")
        measure("submit part", [*ROOST, "build", changed, "--json"], {})
        measure("nothing changed", [*ROOST, "build", changed, "--json"], {})
        # apt updates its lists and is queried again: all used lists are unchanged.
        for path in (*(place.scratch / "cache/apt").glob("*/known"), *map(place.cached, ("selections", "inrelease"))):
            shutil.rmtree(path, ignore_errors=True)
        measure("archive changed", [*ROOST, "build", changed, "--json"], {})
    return notes


def _at_hand(place: Place) -> tuple[Path, Bootstrap]:
    """Return a directory with the packages of the recipe, and the bootstrap for them."""
    loaded = loader.load(RECIPE, place.project, (), planning.problems)
    made = planning.plan(Context(loaded, loaded.build, Stages(Silent()), place.scratch))
    assert isinstance(made.source, Installed)
    directory = place.scratch / "packages"
    directory.mkdir()
    files = {one.file for one in made.source.wanted.selection.packages}
    for path in (place.scratch / "cache/packages").rglob("*.deb"):
        if path.name in files:
            shutil.copyfile(path, directory / path.name)
    return directory, made.source.wanted


def floor(packages: Path, wanted: Bootstrap, target: Path) -> list[str]:
    """Return mmdebstrap's command line for the same packages from a directory, with nothing else to do."""
    return [
        "mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(wanted.packages)}",
        "--dpkgopt=force-unsafe-io", "--skip=download/empty", "--skip=essential/unlink",
        '--setup-hook=mkdir -p "$1/var/cache/apt/archives"',
        f"--setup-hook=sync-in {packages} /var/cache/apt/archives",
        wanted.debian.suite, str(target), *wanted.lines,
    ]  # fmt: skip


def _floor(measure: Measure, place: Place, packages: Path, wanted: Bootstrap) -> None:
    quick = memory.place(_ROOM)
    directory = (quick or place.scratch) / f"roost-bench-{place.scratch.name}"
    directory.mkdir()
    try:
        measure(FLOOR, floor(packages, wanted, directory / "alone.tar"), {"TMPDIR": str(directory)})
    finally:
        shutil.rmtree(directory)
