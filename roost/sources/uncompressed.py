"""Packages with uncompressed content: this saves a third of the work of an installation.

Each is kept in the cache under the sha256 of the package that apt verified and its own. Its members are those of the
package, byte for byte, except for the last: `data.tar` (deb(5)), which every dpkg reads.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from roost.host import capacity, checksum, process
from roost.host.pool import Pool
from roost.sources import debs
from roost.sources.bootstrap import Bootstrap
from roost.sources.packages import Package
from roost.store.cache import Cache, work_directory
from roost.store.entries import UNCOMPRESSED

DIRECTORY = "uncompressed"
#: ar(5): the magic of an archive; a member's header, the place of its size, and its end.
_MAGIC, _HEADER, _SIZE, _END = b"!<arch>\n", 60, slice(48, 58), b"`\n"
#: Bytes of a member that is not the content: control files, signatures.
_SMALL = 64 << 20
#: Seconds for one package.
_DEADLINE = 600


@contextmanager
def held(wanted: Bootstrap, cache: Cache, log: Path, which: Sequence[Package] | None = None) -> Iterator[list[Path]]:
    """Yield the packages of a selection, or `which` of them, in a temporary directory of their own.

    A package that cannot be decompressed, because the disk is full or the package is damaged, is there in its original
    form.
    """
    shared = cache.root / DIRECTORY
    shared.mkdir(parents=True, exist_ok=True)
    names = map(UNCOMPRESSED.fullmatch, os.listdir(shared))  # noqa: PTH208
    available = {found[1]: found for found in names if found}
    with work_directory() as work:
        mine = work / "packages"
        # apt requires one next to them.
        (mine / "partial").mkdir(parents=True)
        chosen = wanted.selection.packages if which is None else which
        with Pool(capacity.cores()) as pool:
            taken = [*pool.map(lambda one: _taken(shared, available.get(one.sha256), mine / one.file), chosen)]
            missing = [one for one, whole in zip(chosen, taken, strict=True) if not whole]
            if missing:
                with debs.held(wanted, cache, log, missing) as originals:
                    _add(pool, dict(zip(missing, originals, strict=True)), shared, mine, log)
        yield [mine / one.file for one in chosen]


def _taken(shared: Path, found: re.Match[str] | None, target: Path) -> bool:
    return found is not None and debs.taken(shared / found[0], target, found[2])


def _add(pool: Pool, originals: Mapping[Package, Path], shared: Path, mine: Path, log: Path) -> None:
    """Put packages into `mine`, uncompressed, and into the cache."""

    def add(one: Package) -> None:
        target = mine / one.file
        if not unpack(originals[one], target, log):
            target.unlink(missing_ok=True)
            debs.link(originals[one], target)
            return
        final = shared / f"{one.sha256}-{checksum.sha256(target)}.deb"
        # Under another name first: where links are not possible, a copy takes time.
        staged = target.with_name(f".{one.sha256}")
        debs.link(target, staged)
        staged.replace(final)

    # Large ones first, so that none runs alone at the end.
    list(pool.map(add, sorted(originals, key=lambda one: -originals[one].stat().st_size)))


def unpack(package: Path, target: Path, log: Path) -> bool:
    """Write a package with its content uncompressed to `target`; return whether that was possible."""
    try:
        with package.open("rb") as source, target.open("wb") as output:
            os.fchmod(output.fileno(), 0o644)
            return _copy(source, package, output, log)
    except (OSError, subprocess.TimeoutExpired) as error:
        with log.open("a") as file:
            file.write(f"roost: {package.name} stays compressed: {error}\n")
        return False


def _copy(source: IO[bytes], package: Path, output: IO[bytes], log: Path) -> bool:
    if source.read(len(_MAGIC)) != _MAGIC:
        return False
    output.write(_MAGIC)
    content = False
    while header := source.read(_HEADER):
        size = header[_SIZE].strip()
        if len(header) < _HEADER or header[-2:] != _END or not size.isdigit():
            return False
        if header.startswith(b"data.tar"):
            content = _write_content(header, package, output, log)
            if not content:
                return False
            source.seek(int(size), os.SEEK_CUR)
        else:
            data = source.read(int(size)) if int(size) <= _SMALL else b""
            if len(data) != int(size):
                return False
            output.write(header + data + b"\n" * (len(data) % 2))
        source.seek(int(size) % 2, os.SEEK_CUR)
    return content


def _write_content(header: bytes, package: Path, output: IO[bytes], log: Path) -> bool:
    """Write the last member: dpkg-deb supports all compressions."""
    begin = output.tell()
    output.write(header)
    output.flush()
    with process.spawn(["dpkg-deb", "--fsys-tarfile", package], log=log, stdout=output) as tool:
        if tool.wait(_DEADLINE) != 0:
            return False
    end = output.seek(0, os.SEEK_END)
    size = b"%-10d" % (end - begin - _HEADER)
    output.write(b"\n" * (end % 2))
    output.seek(begin)
    output.write(b"data.tar".ljust(16) + header[16:48] + size + header[58:])
    output.seek(0, os.SEEK_END)
    return len(size) == 10
