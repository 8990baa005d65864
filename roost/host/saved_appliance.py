"""The quick appliance, saved when it was up: restoring it takes less than a second, booting it five without KVM.

It is booted once with small empty disks, saved with QEMU's migration to a file, and kept in the directory of the
appliance. Every opening restores that state with its own disks in place of the empty ones; then the kernel drops
everything it knew about those, and libguestfs talks to its own daemon as usual. No image was ever attached to the saved
machine, so the reader stays independent of the disks and of their writers.

It is used only for reading: every restored kernel starts with the same state of its random number generator, and keys
made in an image must not depend on how soon it is seeded. It is used only without KVM: under KVM the state would depend
on the processor, and a boot is short. On any failure or difference from a boot, the reason is logged and the appliance
is booted as usual.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import shlex
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

from roost.errors import HostError
from roost.host import declared, guestfs_qemu, paths, process, qcow2, saved_machines, temporary
from roost.host.guestfs_process import Worker, started
from roost.host.saved_machines import DIRECTORY, BusyError, UnusableError

#: The QEMU of libguestfs on Debian and Ubuntu. With any other, no machine is saved.
_QEMU = Path("/usr/bin/qemu-system-x86_64")
#: The most disks of a saved machine: more are rare.
MOST = 6
#: Seconds for restoring, for the boot before saving, and for saving.
RESTORE, BOOT, SAVE = 20.0, 60.0, 30.0
#: Seconds that an opening must have left before it saves a machine.
LEISURE = 60.0
_BLANK = 1 << 20
#: Several openings of one process may need a machine at once: the first one saves it, the others wait for that.
_saving = threading.Lock()
_SECTOR = 512
#: Run in the appliance before it is saved, so that less is saved.
_SETTLE = "sync; echo 3 > /proc/sys/vm/drop_caches; echo settled"
#: Run in the restored appliance: new disks, time and random numbers. Prints the sectors of each disk.
_ADOPT = """\
set -e
exec 2>&1
echo {seed} > /dev/urandom
date -u -s @{now} > /dev/null
for device in /sys/class/scsi_device/*/device; do echo 1 > $device/rescan; done
blockdev --flushbufs --rereadpt {disks}
for disk in /sys/class/scsi_device/*/device/block/*; do read -r sectors < $disk/size; echo ${{disk##*/}} $sectors; done
"""


def restored(
    quick: Path, request: dict[str, Any], stack: contextlib.ExitStack, how: tuple[str, Path, float]
) -> tuple[Worker | None, Path | None]:
    """Return a worker with a restored appliance, to be closed by `stack`; None when it has to be booted.

    Then the second value is the machine that failed, to be given up if the appliance boots with these disks; otherwise
    the disks are at fault. `request` is the request that opens the disks, `how` the accelerator, the log and the
    deadline by time.monotonic. The first opening with a given number of disks makes the machine that later ones
    restore.
    """
    accelerator, log, ends = how
    place = _place(quick, request, accelerator)
    sizes = _sizes(request["disks"])
    if place is None or sizes is None:
        return None, None
    try:
        if not _kept(quick, request, place, how):
            return None, None
        with contextlib.ExitStack() as attempt:
            begin = time.monotonic()
            worker = attempt.enter_context(started(quick, accelerator, log, ends, place / "qemu"))
            worker.ask({**request, "verbose": False}, within=RESTORE)
            _adopt(worker, sizes, RESTORE - (time.monotonic() - begin))
            os.utime(place)
            stack.enter_context(attempt.pop_all())
            return worker, None
    except BusyError:
        return None, None
    except Exception as error:  # on any failure the appliance can be booted
        saved_machines.complain(str(error) or type(error).__name__, "the saved appliance", log)
        return None, place if time.monotonic() < ends else None


def prepare(quick: Path, request: dict[str, Any], how: tuple[str, Path, float]) -> None:
    """Save the machine that openings like `request` restore, if there is none yet; it opens no disk of `request`."""
    place = _place(quick, request, how[0])
    if place is not None:
        _kept(quick, request, place, how)


def _kept(quick: Path, request: dict[str, Any], place: Path, how: tuple[str, Path, float]) -> bool:
    """Return whether there is a machine, after saving it if there is time for that."""
    ends = how[2]
    # Who waits for a machine gets it sooner than by a boot of his own on the cores that the saving needs.
    if not _saving.acquire(timeout=max(0.0, ends - time.monotonic() - LEISURE)):
        return False
    try:
        if (place / guestfs_qemu.RECORD).exists():
            return True
        if ends - time.monotonic() < LEISURE or saved_machines.given_up(place):
            return False
        _save(quick, request, place, how)
        return True
    finally:
        _saving.release()


def kept() -> int:
    """Return how many machines are in the cache; zero when the cache is not a directory."""
    try:
        return len(list((paths.cache_root() / "appliance").glob(f"*/{DIRECTORY}/*/{guestfs_qemu.RECORD}")))
    except HostError:
        return 0


def _place(quick: Path, request: dict[str, Any], accelerator: str) -> Path | None:
    """Return the path of the machine for an opening, existing or not; None when none is used."""
    disks = request["disks"]
    plain = request.get("clock") is None and not request.get("network")
    if accelerator != "tcg" or not plain or not 1 <= len(disks) <= MOST or not all(disk["readonly"] for disk in disks):
        return None
    temporary.sweep(quick / DIRECTORY)
    try:
        place = quick / DIRECTORY / _key(quick, len(disks), int(request["memory"]))
        return None if saved_machines.given_up(place) else place
    except OSError:
        return None


def _key(quick: Path, disks: int, memory: int) -> str:
    """Return the digest of what a machine is made from, appliance aside. Raises `OSError` where there is no QEMU."""
    parts: list[object] = [str(quick), disks, memory, *saved_machines.identity(_QEMU)]
    parts.append(os.path.realpath(sys.executable))
    hashed = hashlib.sha256(repr(parts).encode() + _SETTLE.encode())
    hashed.update(Path(guestfs_qemu.__file__).read_bytes())
    return hashed.hexdigest()[:32]


def _sizes(disks: list[dict[str, Any]]) -> list[int] | None:
    """Return the number of sectors of each disk in the appliance; None when one is of a type that is not restored."""
    found = []
    for disk in disks:
        size = 0
        with contextlib.suppress(OSError, qcow2.NotQcow2Error), Path(disk["path"]).open("rb") as file:
            if disk["format"] == "raw":
                size = os.fstat(file.fileno()).st_size
            elif disk["format"] == "qcow2":
                size = qcow2.read(file.read(qcow2.HEAD)).size
        if not size:
            return None
        found.append(-(-size // _SECTOR))
    return found


def _adopt(worker: Worker, sizes: list[int], within: float) -> None:
    """Make the appliance take the disks as new ones; raise `UnusableError` when they are not those of the images."""
    if not (worker.directory / guestfs_qemu.RESTORED).exists():
        raise UnusableError("the machine was not restored")
    names = [f"sd{letter}" for letter in "abcdefgh"[: len(sizes)]]
    disks = " ".join(f"/dev/{name}" for name in names)
    script = _ADOPT.format(seed=secrets.token_hex(64), now=int(time.time()), disks=disks)
    worker.adopted = time.monotonic()
    output = worker.ask({"call": "debug", "args": ["sh", [script]]}, within=max(0.1, within))
    seen = [line.split(" ") for line in str(output).splitlines()]
    # The last disk is the appliance's own.
    if seen[:-1] != [[name, str(size)] for name, size in zip(names, sizes, strict=True)]:
        raise UnusableError(f"the restored machine has other disks: {process.tail(str(output))}")


def _save(quick: Path, request: dict[str, Any], place: Path, how: tuple[str, Path, float]) -> None:
    """Boot the appliance with empty disks, and save its state in `place`."""
    accelerator, log, ends = how
    with saved_machines.saving(place) as machine, declared.only(None):
        _prepare(machine, quick, log)
        blanks = [machine.parent / f"blank-{number}" for number in range(len(request["disks"]))]
        for blank in blanks:
            with blank.open("xb") as file:
                file.truncate(_BLANK)
        disks = [{"path": str(blank), "format": "raw", "readonly": True} for blank in blanks]
        with started(quick, accelerator, log, ends, machine / "qemu") as worker:
            worker.ask({**request, "disks": disks, "verbose": False}, within=min(BOOT, (ends - time.monotonic()) / 3))
            output = worker.ask({"call": "debug", "args": ["sh", [_SETTLE]]}, within=SAVE)
            if "settled" not in str(output):
                raise UnusableError("the appliance runs no commands")
            _migrate(worker.directory / guestfs_qemu.MONITOR, machine)
        arguments = json.loads((machine / guestfs_qemu.ARGUMENTS).read_text())
        record = {"arguments": arguments, "files": guestfs_qemu.sums(str(machine))}
        (machine / guestfs_qemu.RECORD).write_text(json.dumps(record))


def _prepare(machine: Path, quick: Path, log: Path) -> None:
    """Make the directory of a machine: its disk on top of the appliance's, and the script that replaces QEMU."""
    process.run(
        [
            *("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", (quick / "root").absolute()),
            machine / guestfs_qemu.DISK,
        ],
        deadline=30,
        log=log,
    )
    (machine / guestfs_qemu.DISK).chmod(0o600)
    shutil.copyfile(guestfs_qemu.__file__, machine / "guestfs_qemu.py")
    script = machine / "qemu"
    python = shlex.join([os.path.realpath(sys.executable), "-I", "-S", "-B"])
    call = f'exec {python} "${{own%/*}}/guestfs_qemu.py" {shlex.quote(str(_QEMU))} "$own" "$@"'
    # It is run through a link (`guestfs_process.started`).
    script.write_text(f'#!/bin/sh\nown=$(readlink -f -- "$0")\n{call}\n')
    script.chmod(0o700)


def _migrate(monitor: Path, machine: Path) -> None:
    """Make QEMU write its state into `machine` and exit.

    It is not stopped before: a machine restored from the state of a stopped one is stopped too.
    """
    # Imported here, since only saving needs them.
    import asyncio

    from qemu.qmp import QMPClient, QMPError

    from roost.host import migration

    async def migrate() -> None:
        client = QMPClient("saving the appliance")
        await client.connect(str(monitor))
        descriptor = os.open(machine / guestfs_qemu.STATE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            client.send_fd_scm(descriptor)
            await client.execute("getfd", {"fdname": "state"})
            if (error := await migration.save(client.execute, "fd:state", SAVE)) is not None:
                raise UnusableError(f"QEMU did not save the machine: {error}")
            await client.execute("quit")
        finally:
            os.close(descriptor)
            # QEMU may have closed the connection first.
            with contextlib.suppress(QMPError, OSError, EOFError):
                await client.disconnect()

    asyncio.run(asyncio.wait_for(migrate(), SAVE))
