"""Whether KVM runs Linux here, and how fast TCG does: a real kernel is booted, and the result is cached.

On some hosts /dev/kvm opens and answers every query, but never boots Linux. So a kernel is booted: no disk, no initrd,
`panic=-1`; it has run when its own panic about the missing root arrives on the serial port.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from roost.boot import host_kernels, probe_memory, qemu
from roost.boot.console import Console
from roost.boot.qemu import Accel
from roost.errors import HostError
from roost.host import process

#: Several boots of one process may ask at once: the first one probes, the others take its result.
_probing = threading.Lock()

State = Literal["works", "absent", "not-permitted", "refused", "hung", "no-kernel", "no-qemu"]

DEVICE = Path("/dev/kvm")
#: Seconds for a kernel to boot under KVM; a slow nested KVM takes 3 to 5.
DEADLINE = 10.0
#: Seconds for the same boot under TCG; 3 to 7 on current machines.
TCG_DEADLINE = 60.0

NO_KERNEL = "install a kernel to try with (apt-get install linux-image-cloud-amd64), or build an image first"
_ABSENT = (
    "enable virtualization in the firmware and load kvm_intel or kvm_amd; in a virtual machine turn on nested"
    " virtualization; in a container pass /dev/kvm in"
)
_NOT_PERMITTED = (
    "join the group that owns it (usermod -aG kvm USER) and log in again; rootless Podman keeps the group with"
    " --group-add keep-groups"
)
_REFUSED = "load kvm_intel or kvm_amd; in a virtual machine ask for nested virtualization with its host's CPU"
_HUNG = "nested virtualization of this host is broken: its own host must fix it; roost uses TCG meanwhile"


@dataclass(frozen=True, slots=True)
class Probe:
    """The state of KVM here. `seen` describes it, `fix` is how to fix it; `seconds` of the boot, or of the wait."""

    state: State
    seen: str
    fix: str | None
    seconds: float
    kernel: str | None = None
    remembered: bool = False
    kernel_seconds: float = 0.0

    @property
    def usable(self) -> bool:
        """Whether a real kernel has booted under KVM."""
        return self.state == "works"


@dataclass(frozen=True, slots=True)
class _Outcome:
    """The result of booting a kernel: whether it ran to its panic, after how many seconds, and its output."""

    ran: bool
    started: bool
    seconds: float
    kernel_seconds: float
    status: int | None
    output: str
    console: str


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a kernel boots under TCG here: seconds in total, and of the kernel's own start."""

    seconds: float
    kernel_seconds: float


def probe(
    kernel: Path | None = None, *, device: Path | None = None, deadline: float | None = None, fresh: bool = False
) -> Probe:
    """Return the state of KVM here, within `deadline` (default DEADLINE) seconds and a little.

    The result is cached until the host reboots or QEMU or the device change; `fresh` probes again. `device` replaces
    /dev/kvm. Never raises for what a host lacks: `state` has the reason.
    """
    with _probing:
        return _probe(kernel, device or DEVICE, deadline or DEADLINE, fresh)


def _probe(kernel: Path | None, device: Path, deadline: float, fresh: bool) -> Probe:
    try:
        program = qemu.program()
    except HostError as error:
        return Probe("no-qemu", str(error.problem.what), error.problem.hint, 0.0)
    if cannot := _open(device):
        return cannot
    memory = probe_memory.place("kvm", program, device)
    if not fresh and (known := probe_memory.recall(memory)):
        with suppress(TypeError):
            return Probe(**{**known, "remembered": True})
    found = kernel or next(host_kernels.kernels(), None)
    if found is None:
        return Probe("no-kernel", "KVM exists, but there is no kernel to test it with", NO_KERNEL, 0.0)
    result = _judge(_boot(program, "kvm", found, deadline), found, deadline)
    probe_memory.remember(memory, asdict(result))
    return result


def _open(device: Path) -> Probe | None:
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return Probe("absent", f"{device} does not exist", _ABSENT, 0.0)
    except PermissionError:
        return Probe("not-permitted", f"{device} cannot be opened by this user", _NOT_PERMITTED, 0.0)
    except OSError as error:
        return Probe("absent", f"{device}: {error.strerror}", _ABSENT, 0.0)
    return None


def _judge(outcome: _Outcome, kernel: Path, deadline: float) -> Probe:
    seconds = round(outcome.seconds, 2)
    if outcome.ran:
        seen = f"{kernel.name} booted under KVM in {seconds:.1f} s"
        return Probe("works", seen, None, seconds, str(kernel), kernel_seconds=round(outcome.kernel_seconds, 2))
    if outcome.status is not None:
        # QEMU ended before the kernel did: the last line of its output is usually the reason.
        lines = [line for line in outcome.output.splitlines() if "warning:" not in line]
        why = next((line for line in lines if "error" in line or "Could not" in line or "ailed" in line), "")
        why = why or (lines or outcome.console.splitlines() or [f"it ended with status {outcome.status}"])[-1]
        why = re.sub(r"^\S*qemu\S*: (?:error: )?", "", why)
        return Probe("refused", f"QEMU refuses KVM: {why}", _REFUSED, seconds, str(kernel))
    last = outcome.console.splitlines()[-1:] or [""]
    far = f"it got as far as '{last[0]}'" if outcome.started else "no output"
    return Probe(
        "hung",
        f"{DEVICE} answers, but {kernel.name} did not boot within {deadline:g} s: {far}",
        _HUNG,
        seconds,
        str(kernel),
    )


def forget(device: Path) -> None:
    """Remove the cached result of KVM."""
    with suppress(HostError, OSError):
        probe_memory.forget(probe_memory.place("kvm", qemu.program(), device))


def pace(kernel: Path | None = None) -> Pace | None:
    """Return how fast a kernel boots under TCG here, or None if none does; cached like a probe."""
    with _probing:
        return _pace(kernel)


def _pace(kernel: Path | None) -> Pace | None:
    program = qemu.program()
    memory = probe_memory.place("tcg", program, Path("/dev/null"))
    if known := probe_memory.recall(memory):
        with suppress(KeyError, TypeError, ValueError):
            return Pace(float(known["seconds"]), float(known["kernel_seconds"]))
    found = kernel or next(host_kernels.kernels(), None)
    if found is None:
        return None
    outcome = _boot(program, "tcg", found, TCG_DEADLINE)
    if not outcome.ran:
        return None
    measured = Pace(round(outcome.seconds, 2), round(outcome.kernel_seconds, 2))
    probe_memory.remember(memory, {**asdict(measured), "kernel": str(found)})
    return measured


def argv(program: str, accel: Accel, kernel: Path) -> list[str]:
    """Return QEMU's command line for the boot of a kernel with nothing but a serial port."""
    words = [program, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", "512"]
    words += ["-accel", accel, "-cpu", qemu.CPU[accel]]
    words += ["-chardev", "stdio,id=serial,signal=off", "-serial", "chardev:serial"]
    return [*words, "-kernel", str(kernel.absolute()), "-append", "console=ttyS0 panic=-1"]


def _boot(program: str, accel: Accel, kernel: Path, deadline: float) -> _Outcome:
    console = Console()
    start = time.monotonic()
    with (
        tempfile.TemporaryFile() as complaints,
        process.spawn(
            argv(program, accel, kernel), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints
        ) as machine,
    ):
        assert machine.stdout is not None
        descriptor = machine.stdout.fileno()
        status: int | None = None
        while (left := start + deadline - time.monotonic()) > 0 and not _has_run(console):
            if not select.select([descriptor], [], [], left)[0]:
                break
            data = os.read(descriptor, 65536)
            if not data:
                with suppress(subprocess.TimeoutExpired):
                    status = machine.wait(max(0.1, start + deadline - time.monotonic()))
                break
            console.feed(data, time.monotonic() - start)
        seconds = time.monotonic() - start
        console.close(seconds)
        complaints.seek(0)
        output = process.tail(complaints.read(65536))
    first, last = console.signs.get("kernel"), console.signs.get("panic")
    kernel_seconds = last.seconds - first.seconds if first and last else 0.0
    return _Outcome(_has_run(console), console.size > 0, seconds, kernel_seconds, status, output, console.tail(5))


def _has_run(console: Console) -> bool:
    """Return whether the kernel reached the point where it looks for its root: all of its drivers have run."""
    return console.has("kernel") and console.has("panic") and "VFS" in console.signs["panic"].text
