"""The bill of materials of real images is what dpkg lists in them."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from roost.host import namespace, paths
from roost.store import manifest
from tests.images.calls import build

FORMAT = "${binary:Package}\\t${Package}\\t${Architecture}\\t${Version}\\t${source:Package}\\t${source:Version}\\n"
Row = tuple[str, str, str, str, str]


def components(directory: Path) -> list[Row]:
    """Return name, architecture, version, source and its version of each component."""
    document = json.loads((directory / "sbom.cdx.json").read_text())
    rows = []
    for one in document["components"]:
        properties = {entry["name"]: entry["value"] for entry in one["properties"]}
        rows.append(
            (
                one["name"],
                properties["roost:dpkg:architecture"],
                one.get("version", ""),
                properties["roost:dpkg:source"],
                properties["roost:dpkg:source-version"],
            )
        )
    return sorted(rows)


def listed(text: str) -> list[Row]:
    """Return the rows of `dpkg-query -W -f FORMAT`."""
    rows = [line.split("\t") for line in text.splitlines() if line.count("\t") == 5]
    return sorted((row[1], row[2], row[3], row[4], row[5]) for row in rows)


def test_components_are_what_the_trees_own_dpkg_lists(debian_12: Path, tmp_path: Path) -> None:
    record = manifest.read(debian_12)
    assert record is not None
    tar = paths.cache_root() / "rootfs" / record.keys["rootfs"] / "tree.tar"
    tree = tmp_path / "tree"
    tree.mkdir()
    inside = namespace.current()
    unpack = ["tar", "-x", "-p", "--exclude=./dev/*", "--exclude=./usr/lib/modules", "--exclude=./boot"]
    subprocess.run(inside.argv([*unpack, "-C", tree, "-f", tar]), check=True)
    done = subprocess.run(
        inside.argv(["chroot", tree, "/usr/bin/dpkg-query", "-W", "-f", FORMAT]),
        capture_output=True,
        text=True,
        check=True,
    )
    subprocess.run(inside.argv(["rm", "-rf", tree]), check=True)
    assert len(listed(done.stdout)) > 50
    assert components(debian_12) == listed(done.stdout)
    data = (debian_12 / "sbom.cdx.json").read_bytes()
    assert record.facts["sbom_sha256"] == hashlib.sha256(data).hexdigest()


def test_a_tree_without_dpkg_says_what_was_unpacked_into_it(smoke: Path) -> None:
    document = json.loads((smoke / "sbom.cdx.json").read_text())
    found = {one["name"]: one.get("version") for one in document["components"]}
    kernels = [name for name in found if name.startswith("linux-image-")]
    assert set(found) == {"busybox-static", *kernels}
    assert len(kernels) == 1
    assert all(found.values())
    about = {one["name"]: one["value"] for one in document["metadata"]["component"]["properties"]}
    assert about["roost:packages-from"] == "/var/lib/dpkg/status.d"


@pytest.mark.slow
def test_components_are_what_dpkg_says_in_the_running_guest(
    project: Path, tmp_path: Path, qemu: Callable[..., str]
) -> None:
    script = f"""#!/bin/sh\nexec dpkg-query -W -f '{FORMAT}' > "$ROOST_OUTPUT/packages.txt"\n"""
    (project / "recipes" / "files" / "list").write_text(script)
    (project / "recipes" / "listed.yaml").write_text(
        "extends: [base/debian.yaml]\n"
        "name: listed\n"
        "os: {debian: {suite: bookworm, packages: [nano]}}\n"
        "files: [{path: /opt/list, source: files/list, mode: '0755'}]\n"
        "run: [dpkg --remove nano]\n"
        "job: {command: /opt/list, then: poweroff}\n"
    )
    directory = build("listed", cwd=project)
    io = tmp_path / "io-after.raw"
    qemu(directory / "root.qcow2", directory / "io.raw", io=io)
    seen = subprocess.run(
        ["debugfs", "-R", "cat /output/packages.txt", str(io)], capture_output=True, text=True, check=True
    ).stdout
    assert len(listed(seen)) > 50
    assert components(directory) == listed(seen)
    document = json.loads((directory / "sbom.cdx.json").read_text())
    assert [one["name"] for one in document["components"] if one["scope"] == "excluded"] == ["nano"]
