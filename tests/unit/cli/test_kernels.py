"""The list of kernels: a table, or on a terminal that is too narrow for it two lines each."""

from __future__ import annotations

from typing import Any

from roost.cli import kernels

DRIVERS = {"virtio": "module", "ide": "absent", "ahci": "module", "scsi": None, "nvme": "builtin", "xen": "claimed"}
SEEN: dict[str, Any] = {
    "suite": "bookworm", "version": "6.1.192-2", "compression": "lz4", "size": 13 << 20, "drivers": DRIVERS,
    "xen_pv": True, "seen": True, "from": "the image sim", "filesystems": {"ext4": "module", "xfs": "absent"},
}  # fmt: skip
UNSEEN = {**SEEN, "suite": None, "version": None, "compression": None, "size": None, "xen_pv": None}
RESULT = {"kernels": [{"name": "cloud", "suites": [SEEN, UNSEEN]}], "problems": ["kernels/x.yaml:1:1: wrong"]}


def test_a_wide_terminal_and_a_file_have_a_table() -> None:
    for width in (None, 120):
        lines = kernels._listed(RESULT, width).splitlines()
        assert lines[0].split("  ")[0] == "kernel" and len(lines[1]) > 80
        assert lines[1].startswith(
            "cloud   bookworm  6.1.192-2  lz4     13 MiB  module  no   module  ?     built in  claimed"
        )
        assert lines[-1] == "kernels/x.yaml:1:1: wrong"


def test_a_narrow_one_has_two_lines_for_each() -> None:
    lines = kernels._listed(RESULT, 60).splitlines()
    assert lines[:4] == [
        "cloud bookworm: version 6.1.192-2, packed lz4, 13 MiB, xen pv yes",
        "  module: virtio, ahci; no: ide; ?: scsi; built in: nvme; claimed: xen",
        "cloud",
        "  module: virtio, ahci; no: ide; ?: scsi; built in: nvme; claimed: xen",
    ]
    assert "  cloud bookworm: ext4; seen in the image sim" in lines and lines[-1] == "kernels/x.yaml:1:1: wrong"
