"""Access to libguestfs: disks are opened in a worker process, and every call has a deadline.

`Guest` has the calls (`guestfs_calls`); `guestfs_process` is the near side of the worker, `guestfs_worker` the far one.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.errors import HostError, ImageError, ToolError
from roost.host import appliance, process, saved_appliance, saved_machines
from roost.host.accelerator import Kind
from roost.host.guestfs_calls import Guest, Partition, Stat
from roost.host.guestfs_process import GuestfsError, Worker, interpreter, started

__all__ = [
    "Equipment",
    "Guest",
    "GuestfsError",
    "Partition",
    "Stat",
    "interpreter",
    "open_readonly",
    "open_writable",
    "prepare",
]

#: How often a quick appliance is started when its kernel names the disks in another order.
ORDERS = 5
#: MiB of memory of the appliance; enough to read file systems of any size.
MEMORY = 512
#: Several builds of one process may need the appliance at once: the first one makes it, the others wait for that.
_making = threading.Lock()


@dataclass(frozen=True, slots=True)
class Equipment:
    """What the appliance has besides the disks, for writers.

    `clock` (seconds since 1970) is the initial time of its clock, None for the present. `stock` selects libguestfs'
    full appliance, which also supports LVM; `network`, which needs it, adds a network.
    """

    clock: int | None = None
    stock: bool = False
    network: bool = False


@contextmanager
def open_readonly(
    images: Sequence[tuple[Path, str]],
    *,
    accelerator: Kind,
    log: Path,
    deadline: float = 300.0,
    stock: bool = False,
) -> Iterator[Guest]:
    """Open the disks of `images` ((path, format) each) read-only and yield them.

    `deadline` is for the whole block, in seconds. The appliance boots under KVM only if `accelerator` says that this
    was proven. A quick appliance that does not start is replaced by the stock one, whose whole boot is then in `log`;
    `stock` selects that one from the start, since it also supports LVM.
    """
    for image, _ in images:
        if not os.access(image, os.R_OK):
            raise ImageError(f"{image} cannot be read" if image.exists() else f"no such file: '{image}'")
    request = {"disks": _disks(images, readonly=True), "memory": MEMORY, "clock": None, "network": False}
    with _opened(request, accelerator, log, deadline, stock=stock) as guest:
        yield guest


def prepare(disks: int, *, accelerator: Kind, log: Path, deadline: float = 300.0) -> None:
    """Make the appliance that `open_readonly` of this number of disks uses, if it is not there yet."""
    quick = _appliance(log)
    if quick is not None:
        request = {"disks": [{"readonly": True}] * disks, "memory": MEMORY, "clock": None, "network": False}
        saved_appliance.prepare(quick, request, (accelerator, log, time.monotonic() + deadline))


@contextmanager
def open_writable(
    images: Sequence[tuple[Path, str]],
    *,
    accelerator: Kind,
    log: Path,
    deadline: float = 1800.0,
    readonly: Sequence[tuple[Path, str]] = (),
    equipment: Equipment = Equipment(),
) -> Iterator[Guest]:
    """Open disks as `open_readonly` does, but for writing: files of roost's own, never a source.

    Those of `readonly` follow and cannot be written. What is written is on the disks when the block is left without an
    exception.
    """
    for image, _ in images:
        if not os.access(image, os.R_OK | os.W_OK):
            raise ImageError(f"{image} cannot be written" if image.exists() else f"no such file: '{image}'")
    disks = _disks(images, readonly=False) + _disks(readonly, readonly=True)
    request = {"disks": disks, "memory": MEMORY, "clock": equipment.clock, "network": equipment.network}
    with _opened(request, accelerator, log, deadline, stock=equipment.stock or equipment.network) as guest:
        yield guest
        guest.unmount_all()
        guest.shut_down()


def _disks(images: Sequence[tuple[Path, str]], *, readonly: bool) -> list[dict[str, Any]]:
    return [
        {"path": str(image.absolute()), "format": image_format, "readonly": readonly} for image, image_format in images
    ]


def _appliance(log: Path) -> Path | None:
    with _making:
        return appliance.path(log)


@contextmanager
def _opened(request: dict[str, Any], accelerator: str, log: Path, deadline: float, *, stock: bool) -> Iterator[Guest]:
    ends = time.monotonic() + deadline
    with contextlib.ExitStack() as stack:
        quick = None if stock else _appliance(log)
        how = (accelerator, log, ends)
        worker, failed, broken, ordered = None, None, False, True
        if quick is not None:
            worker, failed = saved_appliance.restored(quick, request, stack, how)
            if worker is None:
                worker, broken = _quick(quick, request, stack, how)
        if worker is None:
            worker, ordered = stack.enter_context(started(None, accelerator, log, ends)), False
            _launch_stock(worker, request, log)
            if quick is not None and broken:
                # The stock appliance starts with these disks, so the quick one was at fault.
                appliance.give_up(quick)
        if failed is not None:
            saved_machines.give_up(failed)
        # The quick appliance does not start when its kernel names the disks in another order than libguestfs.
        yield Guest(worker, ordered=ordered)


def _quick(
    quick: Path, request: dict[str, Any], stack: contextlib.ExitStack, how: tuple[str, Path, float]
) -> tuple[Worker | None, bool]:
    """Return a worker whose quick appliance is up, to be closed by `stack`; or None, and whether it is broken.

    One that stops because its kernel named the disks in another order is started again: the order is random each time.
    """
    accelerator, log, ends = how
    for _ in range(ORDERS):
        before = log.stat().st_size if log.exists() else 0
        attempt = contextlib.ExitStack()
        try:
            worker = attempt.enter_context(started(quick, accelerator, log, ends))
            worker.ask({**request, "verbose": False}, within=(ends - time.monotonic()) / 3)
            stack.enter_context(attempt)
            return worker, False
        except (GuestfsError, ToolError):
            attempt.close()
            if not _log_contains(log, before, appliance.OUT_OF_ORDER):
                return None, True
        except BaseException:
            attempt.close()
            raise
    return None, False


def _log_contains(log: Path, start: int, words: str) -> bool:
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(start)
        return words.encode() in file.read(1 << 20)
    return False


def _launch_stock(worker: Worker, request: dict[str, Any], log: Path) -> None:
    try:
        worker.ask({**request, "verbose": True})
    except GuestfsError as refused:
        tail = process.tail(log.read_bytes()[-16384:]) if log.exists() else ""
        raise HostError(
            "libguestfs does not start",
            hint="`libguestfs-test-tool` shows why; `inv doctor` says what is missing",
            log=log,
            tail=tail,
        ) from refused
