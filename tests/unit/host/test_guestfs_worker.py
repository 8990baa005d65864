"""The log of libguestfs' worker."""

from __future__ import annotations

import importlib.util
import sys
import types
from pathlib import Path

import pytest

from roost.host import guestfs_process


def test_a_line_of_the_appliance_that_comes_in_pieces_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a busy host the console comes letter by letter, and what it reports is looked for in the log."""
    library = types.ModuleType("guestfs")
    library.EVENT_APPLIANCE, library.EVENT_TRACE = 16, 64  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "guestfs", library)
    found = importlib.util.spec_from_file_location(
        "worker_of_test", Path(guestfs_process.__file__).with_name("guestfs_worker.py")
    )
    assert found is not None and found.loader is not None
    worker = importlib.util.module_from_spec(found)
    found.loader.exec_module(worker)
    for event, text in (
        (64, "launch"),
        (16, "roost: d"),
        (16, "isks out of"),
        (16, b" order\nmore"),
        (64, "close"),
        (16, ""),
    ):
        worker._log(event, 0, text, [])
    assert capsys.readouterr().err == "launch\nroost: disks out of order\nmore\nclose\n"
