"""The steps of `inv repro`: the image is built twice, in different environments and without a cache, and compared.

Both builds use the same packages, those that apt selects now, so that archive updates in between make no difference.
Their .deb files may come from the cache: each is verified by its sha256.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.errors import ImageError, ToolError, UsageError
from roost.events import Events, Stages
from roost.host import appliance, bounded, checksum, copies, files, paths, process, temporary
from roost.pipeline import environment, lock, planning, surroundings
from roost.pipeline.surroundings import Surroundings
from roost.recipe import loader
from roost.recipe.loader import Loaded
from roost.sources import debs, lockfile
from roost.sources.lockfile import Lock
from roost.store import cache, lease, manifest
from roost.store.manifest import Manifest
from roost.verify import difference
from roost.verify.difference import Difference

#: Seconds for one build.
DEADLINE = 7200
#: Files in a build's directory that describe the build itself and so differ.
ITS_OWN = frozenset({manifest.NAME, "log"})
#: Cache entries that describe the host: whether KVM works, which sources a suite has; and the appliance.
OF_THE_HOST = ("probe", "sources", "inrelease")


@dataclass(frozen=True, slots=True)
class Compared:
    """One file of both builds: its checksums, None if a build lacks it; how they differ."""

    name: str
    sums: tuple[str | None, str | None]
    differs: Difference | None = None

    @property
    def identical(self) -> bool:
        """Whether both builds have it, byte for byte."""
        return self.sums[0] is not None and self.sums[0] == self.sums[1]

    def to_json(self) -> dict[str, Any]:
        """Return its JSON for `inv repro --json`."""
        entry = {"name": self.name, "identical": self.identical, "sha256": list(self.sums)}
        return entry | (self.differs.to_json() if self.differs is not None else {})


@dataclass(frozen=True, slots=True)
class Reproduced:
    """The result: the files, the two builds, diffoscope's report, and the kept directory, if any."""

    name: str
    files: tuple[Compared, ...]
    builds: tuple[dict[str, Any], ...]
    note: str
    report: str | None
    kept: Path | None

    @property
    def identical(self) -> bool:
        """Whether all files are identical, and there is at least one."""
        return bool(self.files) and all(one.identical for one in self.files)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of `inv repro NAME --json`."""
        return {
            "name": self.name,
            "identical": self.identical,
            "files": [one.to_json() for one in self.files],
            "builds": list(self.builds),
            "note": self.note,
            "diffoscope": self.report,
            "kept": str(self.kept) if self.kept else None,
        }


def repro(name: str, *, events: Events, sets: Sequence[str] = (), keep: Path | None = None) -> Reproduced:
    """Build an image twice and compare; `keep` is a new directory for both builds.

    Raises what a build raises.
    """
    environment.check()
    if keep is not None and (keep.exists() or not keep.parent.is_dir()):
        raise UsageError(f"{keep} already exists, or its parent directory does not", hint="name a new directory")
    loaded = loader.load(name, paths.project_root(), sets, planning.problems)
    stages = Stages(events)
    with lease.held(), temporary.directory("repro", Path("/var/tmp")) as scratch:
        # The second build's user must be able to traverse it.
        scratch.chmod(0o711)
        held, plan = lock.of(loaded, stages)
        project = loader.absolute(paths.project_root())
        homes = [scratch / "one", scratch / "another" / "place"]
        for home in homes:
            home.mkdir(parents=True)
        other, note = surroundings.other(homes[1], project, loaded.path)
        if note:
            events.note(f"the second build runs as the same user: {note}")
        made, builds = [], []
        for number, around in enumerate((surroundings.usual(homes[0]), other), 1):
            with stages.stage(f"build {number}", "as another user" if around.user is not None else ""):
                began = time.time()
                _seed(plan, around, scratch / f"packages-{number}.log")
                made.append(_build(loaded, sets, held, around, project))
                builds.append(
                    {**around.to_json(), "directory": str(made[-1]), "seconds": round(time.time() - began, 1)}
                )
        with stages.stage("compare"):
            compared = tuple(_compare(loaded, made, scratch))
        report = None
        if not all(one.identical for one in compared):
            with stages.stage("diffoscope"):
                report = _diffoscope(compared, made, scratch / "diffoscope.log")
        if keep is not None:
            keep.mkdir()
            for path, target in zip(made, ("one", "other"), strict=True):
                copies.tree(path, keep / target)
    return Reproduced(loaded.recipe.name, compared, tuple(builds), note, report, keep)


def _seed(plan: planning.BuildPlan | None, around: Surroundings, log: Path) -> None:
    """Put the packages and the host's entries into a build's own cache, and give it to its user."""
    own = around.home / "cache"
    own.mkdir()
    for name in OF_THE_HOST:
        with contextlib.suppress(FileNotFoundError):
            shutil.copytree(cache.default().root / name, own / name, symlinks=True, ignore=shutil.ignore_patterns(".*"))
    # Only the appliance used now: the cache may hold others of former kernels and packages.
    quick = appliance.path(log)
    if quick is not None:
        (own / quick.parent.name).mkdir()
        copies.tree(quick, own / quick.parent.name / quick.name)
    wanted = plan.bootstrap if plan is not None else None
    if wanted is not None:
        with debs.held(wanted, cache.default(), log) as packages:
            shared = debs.shared_directory(cache.Cache(own), wanted)
            for package in packages:
                shutil.copyfile(package, shared / package.name)
    if around.user is not None:
        for path in (around.home, *around.home.rglob("*")):
            os.chown(path, around.user, around.user, follow_symlinks=False)


def _build(loaded: Loaded, sets: Sequence[str], held: Lock, around: Surroundings, project: Path) -> Path:
    """Build in the given environment; return the directory of the image."""
    output = around.home / "image"
    path = around.home / "packages.lock"
    path.write_text(lockfile.text(held))
    path.chmod(0o644)
    called = loaded.called if "/" not in loaded.called else str(loader.absolute(Path(loaded.called)))
    command = bounded.python("roost.pipeline.repro_worker", called, str(output), str(path), *sets)
    log = around.home.with_name(f"{around.home.name}.log")
    try:
        process.run(
            around.argv(command), deadline=DEADLINE, log=log, env=around.environment(project), cwd=around.home,
            what=f"cannot build {loaded.recipe.name} again", foreign=True,
        )  # fmt: skip
    except ToolError as error:
        raise ImageError(error.problem.what, tail=error.tail) from error
    return output


def _compare(loaded: Loaded, made: Sequence[Path], scratch: Path) -> list[Compared]:
    records = [manifest.read(path) for path in made]
    if any(record is None for record in records):
        raise ImageError(f"a build of {loaded.recipe.name} left no manifest")
    kinds = {file.name: file.format for record in records if record is not None for file in record.files}
    names = dict.fromkeys(
        [*kinds, *sorted(path.name for directory in made for path in directory.iterdir() if path.name not in ITS_OWN)]
    )
    found = []
    for name in names:
        sums = [_sum(directory / name, record, directory) for directory, record in zip(made, records, strict=True)]
        differs = None
        if None not in sums and sums[0] != sums[1]:
            with tempfile.TemporaryDirectory(dir=scratch) as place:
                differs = difference.of_files(
                    made[0] / name, made[1] / name, kinds.get(name, "text"), Path(place), scratch / "compare.log"
                )
        found.append(Compared(name, (sums[0], sums[1]), differs))
    return found


def _sum(path: Path, record: Manifest | None, directory: Path) -> str | None:
    """Return the current checksum of a file; the name of its build's directory is masked for the comparison."""
    if not path.is_file():
        return None
    if record is not None and path.name in {file.name for file in record.files}:
        return checksum.sha256(path)
    data = files.read_bytes(path, manifest.SIZE).replace(os.fsencode(directory), b"DIRECTORY")
    return hashlib.sha256(data).hexdigest()


def _diffoscope(compared: Sequence[Compared], made: Sequence[Path], log: Path) -> str | None:
    """Return diffoscope's output for the smaller files that differ, None if it is not installed."""
    if process.which("diffoscope") is None:
        return None
    reports = []
    for one in compared:
        pair = [directory / one.name for directory in made]
        if one.identical or None in one.sums:
            continue
        argv: list[str | Path] = ["diffoscope", "--text", "-", "--max-report-size", "200000", "--no-progress", *pair]
        try:
            reports.append(process.run(argv, deadline=900, capture=True, check=False, log=log).text)
        except ToolError as error:
            reports.append(f"{one.name}: {error.problem.what}")
    return process.tail("\n".join(reports), 400)
