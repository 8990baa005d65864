"""The main job as a user sees it: recipe, image, submit description, boot; and what goes wrong on the way."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from roost.host import namespace
from tests.images.calls import PROJECT, roost

pytestmark = pytest.mark.images


def _sums(directory: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.iterdir())
        if path.is_file() and path.suffix in {".qcow2", ".raw"}
    }


def _ad(directory: Path) -> dict[str, Any]:
    program = (
        "import htcondor, json, sys\n"
        "ad = next(iter(htcondor.Submit(open('kvm.sub').read()).jobs(count=1, clusterid=1)))\n"
        "print(json.dumps({key: str(ad.lookup(key)).strip(chr(34)) for key in ad.keys()}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=directory,
        env={**os.environ, "CONDOR_CONFIG": "/dev/null"},
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


#: The test boot of debian-12 is below.
LONG = [pytest.param(name, marks=pytest.mark.slow) for name in ("debian-12", "debian-13")]


@pytest.mark.parametrize("name", ["smoke", *LONG])
def test_a_plain_qemu_boots_it_and_it_does_its_job(
    name: str, qemu: Callable[..., str], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    ran = roost("build", name, "--json")
    assert ran.code == 0, ran.err
    directory = Path(ran.answer["folder"])
    root = next(path for path in (directory / "root.qcow2", directory / "root.raw") if path.exists())
    console = qemu(root)
    assert "roost: job started" in console
    assert re.search(r"roost: job finished: exit 0", console)
    assert "reboot: Power down" in console


def test_the_test_boot_passes_and_leaves_the_image_as_it_was(debian_12: Path) -> None:
    before = _sums(debian_12)
    ran = roost("boot", "debian-12", "--json")
    assert ran.code == 0, ran.err
    assert ran.answer["passed"] is True
    assert ran.answer["cause"] is None
    # The raw root is the xen side's.
    booted = {disk["name"]: disk["sha256"] for disk in ran.answer["disks"]}
    assert booted == {name: digest for name, digest in before.items() if name != "root.raw"}
    assert _sums(debian_12) == before
    assert json.loads((debian_12 / "boot" / "kvm.json").read_text())["passed"] is True


@pytest.mark.parametrize("name", ["smoke", "debian-12"])
def test_condor_submits_own_parser_takes_the_submit_description(name: str) -> None:
    directory = Path(roost("build", name, "--json").answer["folder"])
    ad = _ad(directory)
    files = {file["name"]: file for file in json.loads((directory / "manifest.json").read_text())["files"]}
    disks = [item.split(":") for item in ad["VMPARAM_vm_Disk"].split(",")]
    assert ad["JobVMType"] == "kvm"
    assert int(ad["JobVMMemory"]) > 0
    assert ad["JobVM_VCPUS"] == ad["RequestCpus"]
    assert int(ad["RequestMemory"]) >= int(ad["JobVMMemory"])
    assert int(ad["RequestDisk"]) * 1024 >= sum(files[disk[0]]["virtual"] for disk in disks)
    assert {disk[0] for disk in disks} == set(ad["TransferInput"].split(","))
    assert all((directory / disk[0]).is_file() for disk in disks)
    assert ad["JobVMNetworking"].lower() == "false"
    assert (ad["ShouldTransferFiles"], ad["WhenToTransferOutput"]) == ("YES", "ON_EXIT")


def test_nothing_changed_is_under_a_second(debian_12: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = roost("build", "debian-12", "--json")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ran.answer["cached"] is True
    # By processor time: others may keep the machine busy. `inv bench` has the figure; here nothing was built, no more.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 3


def test_a_changed_file_does_not_bootstrap_again(debian_12: Path, project: Path) -> None:
    (project / "recipes" / "debian-12.yaml").open("a").close()
    recipe = project / "recipes" / "changed.yaml"
    recipe.write_text("extends: [debian-12.yaml]\nname: changed\nfiles:\n  - {path: /etc/motd, content: changed}\n")
    ran = roost("build", "changed", "--json", cwd=project)
    assert ran.code == 0, ran.err
    assert ran.answer["cached"] is False
    assert "bootstrap" not in ran.answer["seconds"]


FIVE = """\
name: five
descripton: x
os: {debian: {suite: bookworm, pakages: [a]}}
files:
  - {path: /x, content: a, mode: 0755}
  - {path: relative, content: a}
disks:
  - {name: root, partitions: [{mount: /, free: 12 parsecs}]}
"""


def test_five_mistakes_are_five_located_errors(project: Path) -> None:
    (project / "recipes" / "five.yaml").write_text(FIVE)
    ran = roost("build", "five", cwd=project)
    assert ran.code == 2
    located = re.findall(r"^recipes/five\.yaml:(\d+):(\d+): (.+)$", ran.err, re.MULTILINE)
    assert [int(line) for line, _column, _text in located] == [2, 3, 5, 6, 8], ran.err
    assert "description" in located[0][2]
    assert "packages" in located[1][2]
    assert not (project / "build").exists() or not list((project / "build").iterdir())


def _leftovers(project: Path) -> list[str]:
    build = project / "build"
    return [path.name for path in build.iterdir() if not path.name.endswith(".lock")] if build.exists() else []


@pytest.fixture
def silent_mirror() -> Iterator[str]:
    """Yield the address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/debian"


def _recipe(project: Path, **debian: object) -> None:
    (project / "recipes" / "broken.yaml").write_text(
        f"extends: [base/debian.yaml]\nname: broken\njob: {{command: 'true'}}\n"
        f"os: {{debian: {json.dumps({'suite': 'bookworm', **debian})}}}\n"
    )


def test_a_mirror_that_does_not_answer_is_one_clear_error(project: Path, silent_mirror: str) -> None:
    _recipe(project, mirror=silent_mirror)
    start = time.monotonic()
    ran = roost("build", "broken", cwd=project)
    assert ran.code != 0
    assert time.monotonic() - start < 120
    assert silent_mirror in ran.err
    assert "Traceback" not in ran.err
    assert _leftovers(project) == []


def test_a_package_that_does_not_exist_is_named(project: Path, debian_12: Path) -> None:
    _recipe(project, packages=["no-such-package-anywhere"])
    ran = roost("build", "broken", cwd=project)
    assert ran.code in {1, 2}
    assert "no-such-package-anywhere" in ran.err
    assert "Traceback" not in ran.err
    assert _leftovers(project) == []


def test_a_full_disk_is_one_clear_error_and_leaves_nothing(project: Path, debian_12: Path) -> None:
    (project / "recipes" / "big.yaml").write_text("extends: [debian-12.yaml]\nname: big\nhostname: big\n")
    (project / "build").mkdir(exist_ok=True)
    program = (
        f"mount -t tmpfs -o size=64m none {project}/build && cd {project} &&"
        f" {sys.executable} -P -m roost build big; code=$?; ls -A build; exit $code"
    )
    done = subprocess.run(
        namespace.current().argv(["sh", "-c", program]),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=PROJECT,
    )
    assert done.returncode in {1, 3}, done.stderr
    assert "Traceback" not in done.stderr
    assert "No space left" in done.stderr or "full" in done.stderr
    assert [name for name in done.stdout.split() if not name.endswith(".lock")] == []


class _NotFound(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_a_mirror_without_the_suite_is_one_clear_error(project: Path) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _NotFound)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        _recipe(project, mirror=f"http://127.0.0.1:{server.server_port}/debian")
        ran = roost("build", "broken", cwd=project)
    finally:
        server.shutdown()
        server.server_close()
    assert ran.code in {1, 2, 3}
    assert "bookworm" in ran.err
    assert "Traceback" not in ran.err
    assert _leftovers(project) == []
