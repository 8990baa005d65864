"""The root file system of the throw-away pools: Debian 13 with HTCondor, libvirt and QEMU, made once and kept.

It is only ever the lower layer of overlays, so all pools share it; their configuration (`files/`) is above it. Its key
covers what it is made from; what the archive publishes later under the same names does not make it stale.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

from filelock import FileLock

from roost.errors import HostError
from roost.host import paths, process
from roost.host.namespace import Namespace

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
)
#: Who submits the jobs.
USER = "submitter"
UID = 20001


def key() -> str:
    """Return the name of this root file system in the cache."""
    digest = hashlib.sha256(repr((SUITE, PACKAGES, USER, UID, os.uname().machine)).encode())
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
    argv = ["mmdebstrap", "--quiet", "--mode=root", "--variant=apt", f"--include={','.join(PACKAGES)}", SUITE]
    process.run(
        inside.argv([*argv, root]), deadline=900, log=log, what="cannot make the pool's root file system", hint=str(log)
    )
    process.run(
        inside.argv(["chroot", root, "useradd", "--create-home", "--uid", str(UID), USER]), deadline=60, log=log
    )
    for name in ("sys", "proc", "dev", "run"):
        (root / name).mkdir(exist_ok=True)
