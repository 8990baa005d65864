"""A catalogue with some images in it: versions that differ, a Xen side, an untested one, and hostile metadata."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from roost.publish import gate
from tests.publish import lab

#: What must never be more than text on a page.
HOSTILE = "<img src=x onerror=alert(1)><script>document.title='owned'</script>\"'&</script><!--"
CONSOLE = f"\x1b[31m{HOSTILE}\x1b]0;title\x07\n[    1.0] roost: job finished: exit 0\nreboot: Power down"
SECONDS = {"probe": 0.1, "firmware": 0.2, "boot-loader": 3.8, "kernel": 2.1, "initrd": 1.5, "power-off": 2.0}
RECIPE = """\
name: {name}
description: {description}
os:
  debian: {{suite: bookworm, variant: unpacked, packages: [busybox-static]}}
kernel: {{use: debian-cloud, initrd: busybox}}
job: {{command: /opt/job/run, timeout: 10min, then: poweroff}}
disks:
  - name: root
    format: raw
    partitions: [{{mount: /, filesystem: ext4, free: {free}}}]
  - {{name: io, filesystem: ext4, size: 16MiB, format: raw, role: io}}
machine: {{memory: 256MiB, cpus: 1, network: none}}
hypervisors: [{hypervisors}]
submit: {{transfer: files, return: [io]}}
"""


def facts(packages: Mapping[str, str], kernel: str, system: str) -> dict[str, Any]:
    """Return what a read-back says of a guest with these packages."""
    return {
        "packages": [
            {"name": name, "version": version, "architecture": "amd64", "state": "installed", "source": name}
            for name, version in packages.items()
        ],
        "packages_from": "/var/lib/dpkg/status",
        "os": {"PRETTY_NAME": system, "ID": "debian", "VERSION_ID": "12"},
        "kernels": [{"path": f"/boot/vmlinuz-{kernel}", "version": kernel, "initrds": []}],
    }


def publish(
    root: Path,
    url: str,
    name: str,
    version: str,
    *,
    packages: Mapping[str, str],
    description: str = "busybox that runs one job and powers off",
    kernel: str = "6.1.0-37-cloud-amd64",
    hypervisors: Sequence[str] = ("kvm", "xen"),
    free: str = "16MiB",
    seed: int = 0,
    tested: bool = True,
    console: str = CONSOLE,
    finished: str = "2026-11-20T17:37:40Z",
    seen: str = "42",
    system: str = "Debian GNU/Linux 12 (bookworm)",
) -> None:
    """Build, boot and publish a made-up image by the real gate."""
    recipe = RECIPE.format(
        name=name, description=json.dumps(description), free=free, hypervisors=", ".join(hypervisors)
    )
    (root / "recipes" / f"{name}.yaml").write_text(recipe)
    disks = {"root.raw": bytes([seed]) * 200_000, "io.raw": bytes(100_000)}
    directory = lab.built(root, name=name, files=disks, facts=facts(packages, kernel, system))
    if tested:
        expectations = [
            {"what": "console", "met": True, "seen": "job finished"},
            {"what": "/output/result.txt", "met": True, "seen": seen},
        ]
        lab.booted(directory, seconds=SECONDS, console=console, finished=finished, expectations=expectations)
    with patch.object(gate, "_tested", _as_once(gate._tested)):
        lab.publish(root, url, name=name, version=version, allow_untested=not tested)


def _as_once(now: Callable[..., gate.Tested]) -> Callable[..., gate.Tested]:
    """Return the judge of a side as it was before roost booted xen machines: catalogues are full of its verdicts."""

    def judge(build: Any, hypervisor: str, *more: Any) -> gate.Tested:
        if hypervisor == "xen":
            return gate.Tested("xen", "checked, not booted", cause="roost has not booted it under Xen")
        return now(build, hypervisor, *more)

    return judge


def fill(root: Path, url: str) -> None:
    """Publish three images: one in three versions for both hypervisors, one untested, one hostile."""
    common = {f"lib{number:03}": f"1.{number}-1" for number in range(120)}
    steps = [
        ("2026.09", {"openssl": "3.0.14-1", "perl": "5.36.0-7"}, "6.1.0-35-cloud-amd64", "16MiB"),
        ("2026.10", {"openssl": "3.0.15-1", "perl": "5.36.0-7"}, "6.1.0-35-cloud-amd64", "16MiB"),
        ("2026.11", {"openssl": "3.0.16-1", "python3-minimal": "3.11.2-1"}, "6.1.0-37-cloud-amd64", "32MiB"),
    ]
    for seed, (version, more, kernel, free) in enumerate(steps):
        publish(
            root,
            url,
            "analysis",
            version,
            packages={**common, **more},
            description="Debian 12 with the analysis stack: runs one job and powers off",
            kernel=kernel,
            free=free,
            seed=seed,
            finished=f"{version.replace('.', '-')}-20T17:37:40Z",
        )
    publish(root, url, "experiment", "2026.11", packages={"busybox": "1:1.35"}, hypervisors=["kvm"], tested=False)
    publish(
        root,
        url,
        "hostile",
        "2026.11",
        packages={"evil<b>": f"1{HOSTILE}", HOSTILE: "1"},
        description=HOSTILE,
        kernel=HOSTILE,
        hypervisors=["kvm"],
        seen=HOSTILE,
        system=HOSTILE,
    )
