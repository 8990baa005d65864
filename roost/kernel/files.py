"""A kernel that is not a package: its files are fetched and verified, then installed into a tree.

The modules are an untrusted tar. Only files and directories in the directory of this kernel's release are extracted,
each by its name, and neither a name nor a link can lead outside.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, cast

from roost.errors import ImageError, Problem, RecipeError
from roost.events import Events
from roost.host import archive_words, bounded, bzimage, checksum, files, namespace, process, rooted
from roost.host.decompress import CorruptError, LookaheadReader, Unpacked, compression
from roost.host.files import unreadable
from roost.kernel import depmod, facts, initrd
from roost.kernel.catalogue import KernelSpec
from roost.kernel.drivers import Modules
from roost.kernel.facts import Facts
from roost.kernel.inspect import KernelFiles
from roost.store import download
from roost.store.cache import Cache

#: The path of busybox in a tree without init (roost.sources.bootable).
BUSYBOX = "usr/lib/roost/busybox"
#: Limits of a kernel's modules, above those of any distribution: bytes and names.
MAX_UNPACKED = 4 << 30
MAX_NAMES = 200_000


@dataclass(frozen=True, slots=True)
class Parts:
    """The files of a kernel on this machine, and their sha256 by role: kernel, modules, initrd."""

    spec: KernelSpec
    files: dict[str, Path]
    sums: dict[str, str]

    @property
    def image(self) -> bzimage.BzImage:
        """The kernel's header, which was verified before."""
        found = bzimage.read(self.files["kernel"])
        assert found is not None
        return found


def fetch(spec: KernelSpec, cache: Cache, events: Events) -> Parts:
    """Return the files of a kernel, downloaded if they have a URL; raise `RecipeError` with all problems."""
    files: dict[str, Path] = {}
    sums: dict[str, str] = {}
    problems: list[Problem] = []
    for name, part in spec.parts.items():
        where = spec.where(name)
        try:
            if part.url is not None:
                files[name] = download.fetch(part.url, part.sha256 or "", cache, events, where=where)
                sums[name] = part.sha256 or ""
                continue
            files[name] = Path(spec.path).parent / (part.path or "")
            sums[name] = checksum.sha256(files[name])
            if part.sha256 not in {None, sums[name]}:
                problems.append(Problem(f"{part.path} has sha256 {sums[name]}, not {part.sha256}", where))
        except RecipeError as error:
            problems += error.problems
        except OSError as error:
            problems.append(Problem(unreadable(part.path or "", error), where))
    if not problems and bzimage.read(files["kernel"]) is None:
        problems.append(Problem("this is not an x86 kernel that a boot loader starts (bzImage)", spec.where("kernel")))
    if problems:
        raise RecipeError(problems)
    return Parts(spec, files, sums)


def look(parts: Parts) -> Facts:
    """Return the facts of a kernel's files; its modules are listed, not unpacked."""
    path = parts.files["kernel"]
    release = parts.image.release
    names: list[str] = []
    builtin = ""
    if "modules" in parts.files:
        with opened(parts.files["modules"]) as archive:
            for member in archive:
                relative = below(member.name, release)
                if relative is not None and ".ko" in relative.name:
                    names.append(str(relative))
                elif relative is not None and str(relative) == "modules.builtin" and member.isfile():
                    content = archive.extractfile(member)
                    builtin = content.read(facts.LIMIT).decode("utf-8", "replace") if content is not None else ""
    pv = facts.xen_pv(None, lambda: bzimage.starts_under_xen(path))
    return facts.of(parts.image, path.stat().st_size, Modules.listed(builtin, names), pv)


def install(parts: Parts, tree: Path, *, kind: str | None, wanted: Sequence[str], epoch: int, log: Path) -> KernelFiles:
    """Install a kernel into a tree: /boot/vmlinuz-RELEASE, its modules, its initrd; return their paths.

    The kernel's own initrd is used if it has one. Otherwise `kind` selects how it is made: `busybox` (with the modules
    `wanted`) or `distribution` (by the tree's initramfs-tools); a kernel without modules gets no initrd.
    """
    release = parts.image.release
    boot = rooted.resolve(tree, "boot")
    boot.mkdir(parents=True, exist_ok=True)
    _copy(parts.files["kernel"], boot / f"vmlinuz-{release}")
    target = boot / f"initrd.img-{release}"
    target.unlink(missing_ok=True)
    if "modules" in parts.files:
        directory = rooted.resolve(tree, f"lib/modules/{release}")
        if directory.exists():
            shutil.rmtree(directory)
        directory.mkdir(parents=True)
        _unpack(parts, directory, release, epoch)
        depmod.index(directory.parents[2], release, tree, log)
    if "initrd" in parts.files:
        _copy(parts.files["initrd"], target)
    elif "modules" in parts.files and kind == "busybox":
        own = rooted.resolve(tree, BUSYBOX) if rooted.is_file(tree, BUSYBOX) else None
        initrd.make(tree, release, initrd.Payload(wanted, epoch, own), target, log)
    elif "modules" in parts.files:
        _by_distribution(tree, release, log)
    return KernelFiles(release, f"/boot/vmlinuz-{release}", f"/boot/{target.name}" if target.exists() else None)


def _copy(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)


def _by_distribution(tree: Path, release: str, log: Path) -> None:
    if not rooted.is_file(tree, "usr/sbin/update-initramfs"):
        raise ImageError(
            "the tree has no initramfs-tools to make an initrd with", hint="write `kernel: {initrd: busybox}`"
        )
    inside = replace(namespace.current(), network=False)
    process.run(
        inside.argv(bounded.command_line(tree, "/usr/sbin/update-initramfs", "-c", "-k", release)),
        deadline=900,
        log=log,
        env=bounded.SELF,
        what=f"cannot make the initrd of kernel {release}",
    )


def _unpack(parts: Parts, directory: Path, release: str, epoch: int) -> None:
    """Unpack the modules of one release from the tar into `directory`."""
    where, names, size = parts.spec.where("modules"), 0, 0
    try:
        with opened(parts.files["modules"]) as archive:
            for member in archive:
                relative = below(member.name, release)
                if relative is None or not (member.isfile() or member.isdir()):
                    continue
                names, size = names + 1, size + member.size
                if names > MAX_NAMES or size > MAX_UNPACKED:
                    raise RecipeError([Problem("this is larger than the modules of any kernel once unpacked", where)])
                _place(archive, member, directory / relative, epoch)
    except (tarfile.TarError, CorruptError) as error:
        what = f"this is not a complete tar archive of modules: {archive_words.told(error)}"
        raise RecipeError([Problem(what, where, archive_words.AGAIN)]) from error
    except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
        what = "this is not a tar archive of modules: a name in it is of a file and of a directory"
        raise RecipeError([Problem(what, where)]) from error
    if not names:
        what = f"this has no modules of the kernel's release {release}"
        raise RecipeError([Problem(what, where, f"they are looked for in a directory {release}")])


def below(name: str, release: str) -> PurePosixPath | None:
    """Return a name of the tar relative to the directory of the release; None outside of it."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts or release not in parts or "\0" in name:
        return None
    at = parts.index(release)
    return PurePosixPath(*parts[at + 1 :]) if at == 0 or parts[at - 1] == "modules" else None


def _place(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path, epoch: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.isdir():
        target.mkdir(exist_ok=True)
        return
    content = archive.extractfile(member)
    assert content is not None
    with target.open("wb") as file:
        shutil.copyfileobj(content, file)
    os.utime(target, (min(epoch, int(member.mtime)),) * 2)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Yield a tar, plain or in any compression used for kernels."""
    with files.open_regular(path) as file:
        head = file.read(16)
        file.seek(0)
        stream = LookaheadReader(Unpacked(LookaheadReader(file))) if compression(head) else LookaheadReader(file)
        with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r|") as archive:
            yield archive
