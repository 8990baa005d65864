"""The root file system of the throw-away pools: Debian 13 with HTCondor, libvirt and QEMU, made once and kept.

Its machine has what roost runs on, as an access point and as an execution point that builds images: the tools, and
roost's dependencies in `LIBRARIES`; roost itself is the checkout, which each pool sees at its own path. `ARCHIVE` has
the packages that a small image is made of, because a pool has no network. The root file system is only ever the lower
layer of overlays, so all pools share it; their configuration (`files/`) is above it. Its key covers what it is made
from; what the archive publishes later under the same names does not make it stale.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from filelock import FileLock

from roost.errors import HostError
from roost.host import paths, process
from roost.host.namespace import Namespace

PROJECT = Path(__file__).resolve().parents[2]
SUITE = "trixie"
PACKAGES = (
    "minicondor",
    "condor-vm-gahp",
    "libvirt-daemon",
    "libvirt-daemon-driver-qemu",
    "libvirt-clients",
    "qemu-system-x86",
    "qemu-utils",
    "gawk",  # libvirt_simple_script.awk
    "ca-certificates",
    # The rest is roost's: io disks are made in user namespaces, and read back;
    "uidmap",
    "e2fsprogs",
    "dosfstools",
    "fdisk",
    # images are built, verified and booted.
    "mmdebstrap",
    "grub-pc-bin",
    "cpio",
    "zstd",
    "python3-guestfs",
    "linux-image-cloud-amd64",  # libguestfs boots it
)
#: The packages of the recipe `smoke`, of the same suite: the kernel, and this.
BUSYBOX = "busybox-static"
ARCHIVE = "srv/archive"
#: Fills ARCHIVE in the root file system that is being made.
DOWNLOAD = f"""\
chroot "$1" sh -c 'mkdir -p /{ARCHIVE} && cd /{ARCHIVE} &&
apt-get -o APT::Sandbox::User=root download {BUSYBOX} linux-image-cloud-amd64 \
$(dpkg-query -W -f "\\${{Package}} " "linux-image-[0-9]*-cloud-amd64")'"""
#: roost's dependencies, for the root file system's own Python, which compiles them: who calls roost there cannot keep
#: what a call has compiled.
LIBRARIES = "opt/roost"
COMPILE = ("python3", "-m", "compileall", "-q", f"/{LIBRARIES}")
#: Who submits the jobs.
USER = "submitter"
UID = 20001


def dependencies() -> list[str]:
    """Return what roost needs of other packages, as pip takes it, and what a build needs besides."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    return sorted([*project["dependencies"], *project["optional-dependencies"]["sbom"]])


def key() -> str:
    """Return the name of this root file system in the cache."""
    digest = hashlib.sha256(
        repr((SUITE, PACKAGES, DOWNLOAD, COMPILE, USER, UID, os.uname().machine, dependencies())).encode()
    )
    return digest.hexdigest()[:32]


def directory() -> Path:
    """Return where this run's pools keep things: root file systems by key, and the running pools."""
    return paths.cache_root() / "pool"


def make() -> Path:
    """Return the root file system, made now if need be (a minute, 500 MB). Raises `HostError` without root."""
    if os.geteuid() != 0:
        raise HostError(
            "a throw-away HTCondor needs root: it has daemons and users of its own",
            hint="sudo .venv/bin/python -m pytest tests/pool; the other tests need no root",
        )
    final = directory() / key()
    if final.is_dir():
        return final
    directory().mkdir(parents=True, exist_ok=True)
    with FileLock(directory() / f".{final.name}.lock"):
        if not final.is_dir():
            for stale in directory().glob(f".{final.name}.making-*"):
                shutil.rmtree(stale)
            making = directory() / f".{final.name}.making-{os.getpid()}"
            try:
                _bootstrap(making, directory() / f"{final.name}.log")
                making.rename(final)
            finally:
                shutil.rmtree(making, ignore_errors=True)
    return final


def _bootstrap(root: Path, log: Path) -> None:
    process.require("mmdebstrap", "mmdebstrap")
    log.unlink(missing_ok=True)
    inside = Namespace(user=False)
    argv = ["mmdebstrap", "--quiet", "--mode=root", "--variant=apt", f"--include={','.join(PACKAGES)}"]
    argv += [f"--customize-hook={DOWNLOAD}", SUITE]
    process.run(
        inside.argv([*argv, root]), deadline=900, log=log, what="cannot make the pool's root file system", hint=str(log)
    )
    process.run(
        inside.argv(["chroot", root, "useradd", "--create-home", "--uid", str(UID), USER]), deadline=60, log=log
    )
    _install(root, log)
    # What cannot be compiled is compiled by nobody: some packages have templates of that name.
    process.run(inside.argv(["chroot", root, *COMPILE]), deadline=300, log=log, check=False)
    for name in ("sys", "proc", "dev", "run"):
        (root / name).mkdir(exist_ok=True)


def _install(root: Path, log: Path) -> None:
    """Install roost's dependencies with the host's pip for the root file system's Python: wheels, so nothing runs."""
    version = (root / "usr/bin/python3").readlink().name.removeprefix("python")
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-compile", "--only-binary=:all:"]
    argv += [f"--python-version={version}", f"--target={root / LIBRARIES}", *dependencies()]
    # Not through the process door: pip's settings (an index, certificates, a proxy) are in the environment.
    with log.open("ab") as file:
        done = subprocess.run(argv, stdout=file, stderr=file, timeout=900, check=False)
    if done.returncode != 0:
        raise HostError("cannot install roost's dependencies for the pool's Python", log=log)
    # A job finds them without being told where.
    packages = root / f"usr/local/lib/python{version}/dist-packages"
    packages.mkdir(parents=True, exist_ok=True)
    (packages / "roost.pth").write_text(f"/{LIBRARIES}\n")
