"""The steps of `inv kernels`: the catalogue with the facts about each kernel, and extraction from images."""

from __future__ import annotations

import contextlib
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from roost.errors import ImageError, Problem, RoostError, UsageError, problems_json
from roost.events import Events, Stages
from roost.existing import extract as extraction
from roost.existing import image_file
from roost.existing.extract import ExtractedKernel
from roost.host import archive_words, bzimage, causes, paths, process, temporary
from roost.host import files as host_files
from roost.kernel import catalogue, facts, files, records
from roost.kernel.catalogue import KernelSpec
from roost.kernel.drivers import Modules
from roost.kernel.facts import Facts
from roost.kernel.records import Record
from roost.pipeline.context import accelerator
from roost.recipe.debian import Debian
from roost.sources import archive, debs, solver
from roost.sources.bootstrap import Bootstrap
from roost.store import cache, lease, manifest, staging
from roost.store.cache import Cache

#: The suites listed for a package when its description names none.
SUITES = ("bookworm", "trixie")


def listing(names: Sequence[str], events: Events, *, fetch: bool = False) -> dict[str, Any]:
    """Return the kernels of the catalogue (all, or those named) by suite, with verified or claimed facts.

    The network is not used, unless `fetch` is set: then each is downloaded and inspected.
    """
    project, store = paths.project_root(), cache.default()
    problems: list[Problem] = []
    if names:
        chosen = [catalogue.load(name, project) for name in dict.fromkeys(names)]
    else:
        chosen, problems = catalogue.load_all(project)
    if fetch:
        for spec in chosen:
            _fetch(spec, store, events)
    built = [
        found for directory in sorted((project / "build").glob("*")) if (found := _manifest(directory)) is not None
    ]
    rows = [
        {"name": spec.name, "description": spec.description, "suites": _suites(spec, store, built)} for spec in chosen
    ]
    return {
        "kernels": rows,
        "problems": [str(problem) for problem in problems],
        # In the form that the errors of all tasks have.
        "error": problems_json(problems) if problems else None,
    }


def _manifest(directory: Path) -> dict[str, Any] | None:
    record = manifest.read(directory)
    return {"name": record.name, "inputs": dict(record.inputs), "facts": dict(record.facts)} if record else None


def _suites(spec: KernelSpec, store: Cache, built: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    if spec.files is not None:
        found = _of_files(spec, store) or records.recall(store, spec, None)
        return [records.seen(found) if found else records.claimed(spec, None)]
    of_images = [found for record in built if (found := records.of_manifest(record, spec)) is not None]
    rows = []
    for suite in sorted(
        {*records.suites(store, spec), *(spec.compression or SUITES), *(one.suite for one in of_images)} - {None}
    ):
        noted = records.recall(store, spec, suite)
        best = records.newest([*([noted] if noted else []), *(one for one in of_images if one.suite == suite)])
        rows.append(records.seen(best) if best else records.claimed(spec, suite))
    return rows


def _of_files(spec: KernelSpec, store: Cache) -> Record | None:
    """Return the facts from the files of a kernel, if they are on this machine."""
    for part in spec.parts.values():
        if part.url is not None and store.get("downloads", part.sha256 or "") is None:
            return None
    with contextlib.suppress(RoostError, OSError):
        return Record(
            None, files.look(files.fetch(spec, store, Stages().events)), f"the files of kernels/{spec.name}.yaml"
        )
    return None


def _fetch(spec: KernelSpec, store: Cache, events: Events) -> None:
    """Download a kernel and record its facts: from its files, or its package of each claimed suite."""
    if spec.files is not None:
        files.fetch(spec, store, events)
        return
    stages = Stages(events)
    for suite in spec.compression or SUITES:
        with stages.stage("kernel", f"{spec.name} of {suite}"), temporary.directory("kernels") as name:
            log = Path(name) / "fetch.log"
            source = Debian(suite=suite, variant="unpacked")
            index = archive.index(source, store, log, events)
            bootstrap = Bootstrap(source, spec.package(source.architecture), "busybox", (), index, None)
            wanted = solver.selected(bootstrap, store, log)
            with debs.held(wanted, store, log) as packages:
                for package in packages:
                    found = of_package(package)
                    if found is not None:
                        records.remember(store, spec, suite, found, f"the package {package.name}")
                        break
                else:
                    raise ImageError(f"no package of {', '.join(wanted.packages)} in {suite} holds a kernel")


def of_package(package: Path) -> Facts | None:
    """Return the facts of the kernel in a Debian package, or None when it has none."""
    try:
        return _of_package(package)
    except (tarfile.TarError, EOFError) as error:
        causes.check(error)
        # Not the cache's fault: a package whose checksum differs from the archive's index is downloaded again.
        hint = "the file in the archive is damaged: choose another kernel or another mirror"
        why = archive_words.told(error)
        raise ImageError(f"{package.name} is not a complete Debian package: {why}", hint=hint) from error


def _of_package(package: Path) -> Facts | None:
    names: list[str] = []
    texts: dict[str, str] = {}
    with temporary.directory("kernels") as directory:
        kernel = Path(directory) / "vmlinuz"
        for member, read in _members(package):
            name = member.name.removeprefix("./")
            if member.isfile() and name.startswith("boot/vmlinuz-"):
                kernel.write_bytes(read(bzimage.MAX_PACKED))
            elif member.isfile() and (name.startswith("boot/config-") or name.endswith("/modules.builtin")):
                texts[name.rpartition("/")[2].partition("-")[0]] = read(facts.LIMIT).decode("utf-8", "replace")
            elif ".ko" in name:
                names.append(name)
        image = bzimage.read(kernel) if kernel.is_file() else None
        if image is None:
            return None
        pv = facts.xen_pv(texts.get("config"), lambda: bzimage.starts_under_xen(kernel))
        modules = Modules.listed(texts.get("modules.builtin", ""), names)
        return facts.of(image, kernel.stat().st_size, modules, pv)


def _members(package: Path) -> Iterator[tuple[tarfile.TarInfo, Callable[[int], bytes]]]:
    """Yield the files of a package, each with a function that reads its first bytes."""
    with process.spawn(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE) as tool:
        assert tool.stdout is not None
        with tarfile.open(fileobj=tool.stdout, mode="r|") as content:
            for member in content:

                def read(limit: int, member: tarfile.TarInfo = member) -> bytes:
                    file = content.extractfile(member)
                    return file.read(limit) if file is not None else b""

                yield member, read


def extract(image: Path, directory: Path, version: str | None, events: Events) -> ExtractedKernel:
    """Extract the kernel and the initrd of an existing image (qcow2 or raw) into a new directory."""
    try:
        unfit = host_files.unfit(image)
    except OSError as error:
        raise UsageError(host_files.unreadable(image, error, "image")) from error
    if unfit is not None:
        raise UsageError(f"{image} is {unfit}", hint="copy it into a file: qemu-img convert -O qcow2 DEVICE FILE")
    # A qcow2 that names other files of this host, and any file that is not a disk, is refused before a tool opens it.
    kind = image_file.look(image).format
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(f"{directory} exists and is not an empty directory", hint="name a new one")
    stages = Stages(events)
    log = paths.cache_root() / "log" / "extract.log"
    log.unlink(missing_ok=True)
    with (
        lease.held(),
        staging.passing_lock(directory, lambda: events.note(f"waiting for {directory}")),
        staging.staged(directory) as target,
        stages.stage("extract", f"{image.name}, {kind}"),
    ):
        found = extraction.extract(image, kind, target, version, accelerator=accelerator().kind, log=log)
    return found.moved(directory)
