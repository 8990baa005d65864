"""Which appliance opens disks: the quick one, again when its disks were out of order, or the stock one when it must."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from roost.errors import ToolError
from roost.host import appliance, guestfs

UP, ORDER, BROKEN, SILENT = "up", "disks out of order", "broken", "silent"


class Host:
    """A host whose quick appliance starts as `starts` says, once each; `opened` has the appliances that were up."""

    def __init__(self, quick: Path, *starts: str) -> None:
        self.quick, self.starts, self.opened = quick, list(starts), list[str]()

    @contextmanager
    def started(self, fixed: Path | None, _accelerator: str, log: Path, _ends: float) -> Iterator[Host.Worker]:
        """Stand in for `guestfs_process.started`."""
        yield Host.Worker(self, fixed, log)

    class Worker:
        """A worker that only starts."""

        def __init__(self, host: Host, fixed: Path | None, log: Path) -> None:
            self.host, self.fixed, self.log = host, fixed, log

        def ask(self, _request: dict[str, Any], within: float | None = None) -> None:
            """Start, or not."""
            how = UP if self.fixed is None else self.host.starts.pop(0)
            if how == SILENT:
                raise ToolError("libguestfs did not answer in time", argv=["libguestfs"], returncode=None)
            if how != UP:
                with self.log.open("a") as file:
                    file.write(appliance.OUT_OF_ORDER if how == ORDER else how)
                raise guestfs.GuestfsError("libguestfs: the appliance closed the connection")
            self.host.opened.append("stock" if self.fixed is None else "quick")


def opened(host: Host, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Open no disk at all on this host; return which appliance was up."""
    monkeypatch.setattr(guestfs, "started", host.started)
    monkeypatch.setattr(appliance, "path", lambda _log: host.quick)
    with guestfs.open_readonly([], accelerator="tcg", log=folder / "log"):
        return host.opened


@pytest.mark.parametrize(
    ("starts", "up", "given_up"),
    [
        ((UP,), "quick", False),
        ((ORDER, ORDER, UP), "quick", False),
        # Chance, however often: the next opening has another.
        ((ORDER,) * guestfs.ORDERS, "stock", False),
        ((BROKEN,), "stock", True),
        ((SILENT,), "stock", True),
        ((ORDER, BROKEN), "stock", True),
    ],
)
def test_an_appliance_is_given_up_for_a_fault_and_not_for_the_order_of_disks(
    starts: tuple[str, ...], up: str, given_up: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = tmp_path / "quick"
    quick.mkdir()
    host = Host(quick, *starts)
    assert opened(host, tmp_path, monkeypatch) == [up]
    assert not host.starts
    assert (quick / "unusable").exists() == given_up


def test_an_appliance_that_was_given_up_is_tried_again_after_an_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supermin, kernel = tmp_path / "supermin.d", tmp_path / "vmlinuz"
    supermin.mkdir()
    kernel.touch()
    found = appliance.HostKernel("6.1", kernel, tmp_path)
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(appliance, "supermin_directory", lambda: supermin)
    monkeypatch.setattr(appliance, "readable_kernel", lambda: found)
    made = tmp_path / "cache/appliance" / appliance._key(found, supermin)
    made.mkdir(parents=True)
    (made / "README.fixed").touch()
    assert appliance.path() == made
    appliance.give_up(made)
    assert appliance.path() is None
    before = time.time() - appliance.GIVEN_UP - 1
    os.utime(made / "unusable", (before, before))
    assert appliance.path() == made
    appliance.give_up(made)
    assert appliance.path() is None


@pytest.mark.parametrize(("adopted", "again"), [(None, True), (1.0, True), (3.0, False)])
def test_tables_are_read_again_unless_they_were_read_since_the_disks_were_written(
    adopted: float | None, again: bool
) -> None:
    class Worker:
        def __init__(self) -> None:
            self.adopted, self.asked = adopted, list[str]()

        def ask(self, request: dict[str, Any], within: float | None = None) -> Any:
            self.asked.append(request["call"])
            return ["/dev/sda"] if request["call"] == "list_devices" else ""

    worker = Worker()
    guestfs.Guest(worker, ordered=True).reread(2.0)  # type: ignore[arg-type]
    assert ("debug" in worker.asked) is again
