"""Xen saved and restored: its guest sees this boot's time and disks, and a damaged state costs a start of Xen only."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from roost.boot import xen_saved
from roost.boot.xen_machine import FirstDomain
from roost.events import Silent, Stages
from roost.host import saved_machines
from roost.pipeline import boot, xen_dom0
from tests.images.calls import build

# A first boot builds Xen's first domain.
pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.timeout(1200)]

KiB = 1 << 10
RECIPE = """\
extends: [smoke.yaml]
name: clock
files:
  - path: /opt/job/run
    mode: "0755"
    content: |
      #!/bin/sh
      echo "clock: $(date +%s)"
      while read -r _ _ blocks name; do echo "disk: $name $blocks"; done </proc/partitions
"""
SUB = """\
universe       = vm
executable     = clock
vm_type        = xen
vm_memory      = {memory}
request_memory = {memory}
vm_disk        = {disks}
xen_kernel     = included
queue
"""


@dataclass(frozen=True)
class Seen:
    """What a guest saw: its disks with their KiB; how Xen came up, in its stage's words and QEMU's log."""

    disks: dict[str, int]
    stage: str
    log: str


class Words(Silent):
    """Keeps the words of the stage `xen`."""

    text = ""

    def begin(self, name: str, detail: str) -> None:
        """Record the start of a stage."""
        self.text = detail if name == "xen" else self.text


def _boot(directory: Path, disks: dict[str, Path], memory: int = 256) -> Seen:
    """Boot a description of these disks, by their targets."""
    named = ",".join(f"{path.name}:{target}:w:raw" for target, path in disks.items())
    (directory / "clock.sub").write_text(SUB.format(disks=named, memory=memory))
    events, begin = Words(), time.time()
    result = boot.boot(str(directory / "clock.sub"), events=events)
    end = time.time()
    assert result.passed, (result.verdict, result.console)
    assert result.version.startswith("Xen 4.17"), result.version
    logs = directory / "clock.boot/xen"
    console = (logs / "serial.log").read_text(errors="replace")
    (clock,) = re.findall(r"clock: (\d+)", console)
    assert begin - 1 <= int(clock) <= end + 1, (begin, clock, end)
    assert "Xen version" in (logs / "dom0.log").read_text(errors="replace")
    found = {name: int(blocks) for name, blocks in re.findall(r"disk: (xvd[a-z]) (\d+)", console)}
    return Seen(found, events.text, (logs / "qemu.log").read_text(errors="replace"))


def test_time_and_disks_are_those_of_this_boot_and_a_damaged_state_costs_a_start(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "recipes/clock.yaml").write_text(RECIPE)
    image = build("clock", cwd=project)
    # The first domain of the cache, in a directory without saved machines.
    first = xen_dom0.provide(Stages(Silent()))
    own = tmp_path / "dom0"
    own.mkdir()
    files = [own / path.name for path in (first.hypervisor, first.kernel, first.initrd, first.root)]
    for link in files:
        link.symlink_to(first.root.parent / link.name)
    monkeypatch.setattr(xen_dom0, "provide", lambda _stages: FirstDomain(*files))
    machines = own / saved_machines.DIRECTORY
    disks = {"xvda": image / "root.raw", "xvdb": image / "io.raw"}
    sizes = {target: path.stat().st_size // KiB for target, path in disks.items()}

    saved = _boot(image, disks)
    assert saved.disks == sizes
    assert "saved for later boots" in saved.stage
    (machine,) = machines.iterdir()
    # Another number of disks is another machine; other disks and somewhat more memory are not.
    odd = {"xvdb": image / "odd.raw", "xvdc": image / "io.raw"}
    with odd["xvdb"].open("xb") as file:
        file.truncate(77 * KiB)
    more = _boot(image, {**disks, **odd})
    assert more.disks == {"xvda": sizes["xvda"], "xvdb": 77, "xvdc": sizes["xvdb"]}
    assert len(list(machines.iterdir())) == 2
    restored = _boot(image, disks, memory=288)
    assert restored.disks == sizes
    assert "restored" in restored.stage
    assert "-incoming" in restored.log
    assert restored.log.count("\n$ ") == 0
    assert len(list(machines.iterdir())) == 2

    with (machine / xen_saved.STATE).open("r+b") as file:
        file.seek(20 << 20)
        file.write(b"damage")
    booted = _boot(image, disks)
    assert booted.disks == sizes
    assert "the saved machine of Xen is not used: the saved machine is damaged" in booted.log
    assert "-incoming" not in booted.log
    assert sorted(one.suffix for one in machines.iterdir()) == ["", ".unusable"]
