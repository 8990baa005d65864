"""The variant `unpacked`: a tree made of a few unpacked packages, with busybox as its init.

No dpkg, no maintainer scripts, no libc unless a package brings it: an image of tens of megabytes that boots in seconds.
All files belong to root.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from roost.errors import ImageError
from roost.host import bounded, causes, namespace, process
from roost.kernel import depmod, initrd, inspect
from roost.sources.bootstrap import Bootstrap
from roost.store.cache import work_directory

#: Since Debian 12 these are links into usr; packages of either layout unpack through them.
MERGED = ("bin", "sbin", "lib", "lib64")
DIRECTORIES = {
    "dev": 0o755, "etc": 0o755, "mnt": 0o755, "proc": 0o555, "root": 0o700, "run": 0o755, "sys": 0o555, "tmp": 0o1777,
    "var": 0o755, "var/lib": 0o755, "var/log": 0o755, "var/tmp": 0o1777, "boot": 0o755, "home": 0o755, "opt": 0o755,
}  # fmt: skip
FILES = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    "etc/group": "root:x:0:\nnogroup:x:65534:\n",
    "etc/shadow": "root:*::0:99999:7:::\nnobody:*::0:99999:7:::\n",
    "etc/machine-id": "",
    "etc/hostname": "roost\n",
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}


class BrokenPackageError(ImageError):
    """A downloaded package is damaged."""

    def __init__(self, package: Path, log: Path, tail: str) -> None:
        super().__init__(
            f"{package.name} is not a complete package", hint="is it complete in the archive?", log=log, tail=tail
        )
        self.package = package


def make(wanted: Bootstrap, epoch: int, tar: Path, packages: Sequence[Path], log_dir: Path) -> None:
    """Write the canonical tar of a tree made of `packages` to `tar`; no time in it is later than `epoch`."""
    log = log_dir / "unpack.log"
    with work_directory() as work:
        tree = work / "tree"
        unpack(packages, tree, work, log)
        _base_files(tree)
        _applets(tree, log)
        if wanted.kernel is not None:
            _kernel(wanted, epoch, tree, log)
        for pattern in wanted.debian.exclude:
            for path in sorted(tree.glob(pattern.removeprefix("/")), reverse=True):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        pack(tree, ["."], epoch, tar, log)


def unpack(packages: Sequence[Path], tree: Path, work: Path, log: Path, *, register: bool = True) -> None:
    """Unpack packages of the archive into the new directory `tree`; with `register` record them in it."""
    inside = namespace.current()
    tree.mkdir()
    for name in MERGED:
        (tree / "usr" / name).mkdir(parents=True)
        (tree / name).symlink_to(f"usr/{name}")
    for package in packages:
        content = work / "package.tar"
        with content.open("wb") as file:
            begin = log.stat().st_size if log.exists() else 0
            with process.spawn(["dpkg-deb", "--fsys-tarfile", package], log=log, stdout=file) as tool:
                code = tool.wait(300)
        if code != 0:
            output = log.read_bytes()[begin:].decode("utf-8", "replace")
            cause = causes.behind_words(output, code)
            if cause is not None:
                raise causes.host_error(cause, f"cannot unpack {package.name}", log=log, tail=process.tail(output))
            raise BrokenPackageError(package, log, process.tail(output))
        process.run(
            inside.argv(["tar", "-x", "--keep-directory-symlink", "--numeric-owner", "-p", "-C", tree, "-f", content]),
            deadline=300,
            log=log,
            what=f"cannot unpack {package.name}",
        )
        content.unlink()
        if register:
            _register(tree, package, log)


def _register(tree: Path, package: Path, log: Path) -> None:
    """Record the unpacked package in the tree, for its bill of materials and for scanners: dpkg never runs here."""
    control = process.run(["dpkg-deb", "--field", package], deadline=60, capture=True, log=log).text
    name = next((line[8:].strip() for line in control.splitlines() if line.startswith("Package:")), "")
    if not name or "/" in name:
        raise ImageError(f"{package.name} does not say which package it is", log=log)
    directory = tree / "var/lib/dpkg/status.d"
    directory.mkdir(parents=True, exist_ok=True)
    # dpkg's state of a package whose files are present and whose scripts did not run (dpkg(1), PACKAGE STATES).
    (directory / name).write_text(f"{control.rstrip()}\nStatus: install ok unpacked\n")


def _base_files(tree: Path) -> None:
    for name, mode in DIRECTORIES.items():
        (tree / name).mkdir(exist_ok=True)
        (tree / name).chmod(mode)
    for name, text in FILES.items():
        (tree / name).write_text(text)
    (tree / "etc/shadow").chmod(0o640)


def _applets(tree: Path, log: Path) -> None:
    busybox = next((path for path in (tree / "usr/bin/busybox",) if path.is_file()), None)
    if busybox is None:
        raise ImageError("a tree that is only unpacked needs busybox", hint="add busybox-static to os.debian.packages")
    inside = replace(namespace.current(), network=False)
    listed = process.run(
        inside.argv(bounded.command_line(tree, "/usr/bin/busybox", "--list-full")),
        deadline=60,
        capture=True,
        log=log,
        env=bounded.SELF,
        foreign=True,
    ).text
    for applet in listed.split():
        link = tree / "usr" / applet.removeprefix("usr/")
        if not link.is_symlink() and not link.exists() and link.parent.is_dir():
            link.symlink_to("/usr/bin/busybox")
    init = tree / "usr/sbin/init"
    if not init.exists() and not init.is_symlink():
        init.symlink_to("/usr/bin/busybox")


def _kernel(wanted: Bootstrap, epoch: int, tree: Path, log: Path) -> None:
    found = inspect.newest(tree)
    depmod.index(tree / "usr", found.version, tree, log)
    if wanted.initrd == "busybox":
        payload = initrd.Payload(wanted.drivers, epoch)
        initrd.make(tree, found.version, payload, tree / f"boot/initrd.img-{found.version}", log)


def pack(tree: Path, names: Sequence[str], epoch: int, tar: Path, log: Path) -> None:
    """Write the canonical tar of some names below `tree`, all owned by root."""
    process.run(
        namespace.current().argv(
            [
                "tar", "-c", "--format=pax", "--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime",
                "--sort=name", "--numeric-owner", "--owner=0", "--group=0", f"--mtime=@{epoch}", "--clamp-mtime",
                "--xattrs", "-C", tree, "-f", tar, "--", *names,
            ]
        ),
        deadline=300,
        log=log,
        env={"TZ": "UTC"},
        what="cannot pack the tree",
    )  # fmt: skip
