"""Check a kernel given as files before a build: its format, its parts, whether Xen can start it.

Only local files are examined, each within bounds; a URL is checked when it is fetched.
"""

from __future__ import annotations

import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

from roost.errors import Location, Problem
from roost.host import archive_words, bzimage, checksum, files
from roost.host.decompress import CorruptError
from roost.kernel import claims, contents, cpio
from roost.kernel.catalogue import KernelSpec, Part
from roost.kernel.files import below, opened
from roost.recipe.model import Recipe
from roost.recipe.words import shown

#: Limits within which the modules of the kernel's release must begin in the tar: names, and seconds.
MAX_NAMES, SECONDS = 5_000, 5.0


def problems(recipe: Recipe, spec: KernelSpec) -> list[Problem]:
    """Return the problems with the local files of a kernel; empty for a package or a URL."""
    image, found = _kernel(recipe, spec)
    release = image.release if image is not None and not found else None
    for name, look in (("modules", _modules), ("initrd", _initrd)):
        part = _path(spec, name)
        if part is not None:
            try:
                found += _sum(spec, name, part)
                found += look(spec, part, release)
            except OSError as error:
                found.append(_unreadable(spec, name, error))
    return found


def _path(spec: KernelSpec, name: str) -> Path | None:
    part: Part | None = spec.parts.get(name)
    return Path(spec.path).parent / part.path if part is not None and part.path is not None else None


def _unreadable(spec: KernelSpec, name: str, error: OSError) -> Problem:
    return Problem(files.unreadable(shown(spec.parts[name].path or ""), error), spec.where(name))


def _sum(spec: KernelSpec, name: str, path: Path) -> Iterator[Problem]:
    wanted = spec.parts[name].sha256
    if wanted is not None and (seen := checksum.sha256(path)) != wanted:
        yield Problem(f"{shown(spec.parts[name].path or '')} has sha256 {seen}, not {wanted}", spec.where(name))


def _kernel(recipe: Recipe, spec: KernelSpec) -> tuple[bzimage.BzImage | None, list[Problem]]:
    """Return the kernel's header, or None if it cannot be examined, and the problems."""
    path, where = _path(spec, "kernel"), spec.where("kernel")
    if path is None:
        return None, []
    try:
        with files.open_regular(path):
            image = bzimage.read(path)
        found = [*_sum(spec, "kernel", path)]
    except OSError as error:
        return None, [_unreadable(spec, "kernel", error)]
    if image is None:
        found.append(Problem("this is not an x86 kernel that a boot loader starts (bzImage)", where))
    elif "xen" in recipe.hypervisors:
        found += _under_xen(image, bzimage.starts_under_xen(path), where)
    return image, found


def _under_xen(image: bzimage.BzImage, starts: bool | None, where: Location | None) -> Iterator[Problem]:
    if starts is False:
        hint = "use another kernel, or `hypervisors: !replace [kvm]`"
        yield Problem(claims.no_xen_pv(image.release), where, hint)
    elif (packed := claims.packed_otherwise(image.release, image.compression)) is not None:
        yield Problem(packed, where)
    elif starts is None:
        yield Problem(f"cannot tell whether kernel {image.release} starts under xen: it cannot be unpacked", where)


def _modules(spec: KernelSpec, path: Path, release: str | None) -> Iterator[Problem]:
    where, until = spec.where("modules"), time.monotonic() + SECONDS
    try:
        with opened(path) as archive:
            for number, member in enumerate(archive):
                if release is None or below(member.name, release) is not None:
                    return
                if number >= MAX_NAMES or time.monotonic() > until:
                    return
    except (tarfile.TarError, CorruptError, EOFError, ValueError) as error:
        what = f"this is not a complete tar archive of modules: {archive_words.told(error)}"
        yield Problem(what, where, archive_words.AGAIN)
        return
    what = f"this has no modules of the kernel's release {release}" if release else "this tar is empty"
    yield Problem(what, where, f"they are looked for in a directory {release}" if release else None)


def _initrd(spec: KernelSpec, path: Path, release: str | None) -> Iterator[Problem]:
    where = spec.where("initrd")
    try:
        seen = contents.read(path)
    except cpio.BadInitrdError as error:
        yield Problem(shown(str(error), 200), where)
        return
    strange = sorted({*seen.releases, *filter(None, [seen.built_for])} - {release or ""})
    if release is not None and strange:
        what = f"the initrd has modules of {shown(', '.join(strange), 200)}, and the kernel is {release}"
        yield Problem(what, where, "rebuild the initrd for this kernel")
