"""A small family of images for `inv factory --dag`: two variants, one recipe that cannot be built, one with a mistake.

A pool has no network. The packages that the images are made of are in its root file system; here they become an archive
as anybody would publish one, which the session serves on loopback.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from tests.apt_repository import Key, publish
from tests.images.calls import PROJECT
from tests.pool import rootfs, ten
from tests.pool.job import Job

ADDRESS, PORT = "127.0.0.1", 8765
BASE = f"""\
extends: smoke.yaml
hypervisors: !replace [kvm]
os: {{debian: {{suite: {rootfs.SUITE}, mirror: "http://{ADDRESS}:{PORT}/"}}}}
boot_test: {{timeout: 5min}}
"""
RECIPES = {
    "pair": f"{BASE}name: pair\nmatrix: {{hostname: [one, two]}}\n",
    # What is in it does not fit, as a job finds out.
    "tight": f"""{BASE}name: tight
disks: !replace
  - name: root
    format: qcow2
    partitions: [{{mount: /, filesystem: ext4, size: 4MiB}}]
  - {{name: io, filesystem: ext4, size: 16MiB, format: raw, role: io}}
""",
    # A mistake, known before anything is written.
    "typo": f"{BASE}name: typo\nmachine: {{memory: 256MB and a bit}}\n",
}
VARIANTS = ("pair-one", "pair-two")


def make(directory: Path) -> Job:
    """Write project, archive and session into the empty `directory`; return the session."""
    own = directory / "project"
    for name in ("recipes", "kernels"):
        shutil.copytree(PROJECT / name, own / name)
    for name, text in RECIPES.items():
        (own / "recipes" / f"{name}.yaml").write_text(text)
    archive, key = directory / "archive", Key()
    archive.mkdir()
    for deb in (rootfs.make() / rootfs.ARCHIVE).glob("*.deb"):
        # apt-get writes the epoch of a version into the name, archives do not.
        shutil.copy2(deb, archive / re.sub(r"_[0-9]+%3a", "_", deb.name))
    publish(archive, key, rootfs.SUITE, "main", Codename=rootfs.SUITE)
    (directory / "archive.gpg").write_bytes(key.binary)
    return ten.session(directory, "nightly")
