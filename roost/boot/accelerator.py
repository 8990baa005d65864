"""Which accelerator can run Linux here: KVM only if a real kernel boots under it, and how slow TCG is.

There are hosts whose /dev/kvm opens, answers every question and then never boots Linux. So a kernel is booted:
no disk, no initrd, `panic=-1`; it has run when its own panic about the missing root arrives on the serial port.
The same boot under TCG is the control (the kernel is fit for it) and the measure by which deadlines are scaled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from roost.boot.console import Console
from roost.errors import HostError, UsageError
from roost.events import Events
from roost.host import bzimage, jsontext, paths, process
from roost.store.staging import write_atomically

State = Literal["works", "absent", "not-permitted", "refused", "hung", "no-kernel", "no-qemu"]
Accel = Literal["kvm", "tcg"]

DEVICE = Path("/dev/kvm")
#: Seconds for a kernel to boot under KVM; a slow nested KVM takes 3 to 5.
DEADLINE = 10.0
#: Seconds for the same boot under TCG; 3 to 7 on machines of today.
TCG_DEADLINE = 60.0
#: Seconds that this boot takes where KVM is quick: firmware, unpacking the kernel, its drivers, the panic. Deadlines
#: are written for such a machine and multiplied by (measured here / this).
REFERENCE_SECONDS = 1.0
#: The factor where nothing could be measured under TCG.
UNMEASURED_FACTOR = 10.0
#: HTCondor's guests get the host's CPU. TCG has none to pass through: `max` is the most it can emulate.
CPU: dict[Accel, str] = {"kvm": "host", "tcg": "max"}

QEMU = ("qemu-system-x86_64", "qemu-kvm", "/usr/libexec/qemu-kvm")


@dataclass(frozen=True, slots=True)
class Probe:
    """What KVM does here. `seen` says it in words, `fix` how to mend it; `seconds` of the boot, or of the wait."""

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
class Accelerator:
    """What a machine is run with. Deadlines are multiplied by `factor`; `measured` says that it is no guess.

    `kernel_seconds` is how long the kernel's own start took in that measurement, from its first line to its last:
    a guest whose kernel takes longer shares the host with others.
    """

    name: Accel
    cpu: str
    factor: float
    measured: bool
    probe: Probe | None
    kernel_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How booting a kernel went: whether it ran to its panic, after how many seconds, and what was said."""

    ran: bool
    started: bool
    seconds: float
    kernel_seconds: float
    status: int | None
    said: str
    console: str


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a kernel boots under TCG here: seconds in all, and of the kernel's own start."""

    seconds: float
    kernel_seconds: float


def qemu() -> str:
    """Return QEMU's program for x86. Raises `HostError` where there is none."""
    for name in QEMU:
        if found := process.which(name):
            return found
    raise HostError("qemu-system-x86_64 is not installed", hint="apt-get install qemu-system-x86")


def choose(
    accel: str, *, require_kvm: bool = False, kernel: Path | None = None, events: Events | None = None
) -> Accelerator:
    """Return the accelerator for `accel` (auto, kvm or tcg), and say so when it is not KVM.

    `kernel` is one to try with; without it one is looked for. Raises `HostError` when KVM is asked for
    (`kvm`, or `require_kvm`) and does not work, `UsageError` for any other word.
    """
    if accel not in ("auto", "kvm", "tcg"):
        raise UsageError(f"there is no accelerator '{accel}'", hint="auto, kvm or tcg")
    if accel == "tcg" and require_kvm:
        raise UsageError("--accel tcg and --require-kvm exclude each other")
    known = None if accel == "tcg" else probe(kernel)
    if known and known.usable:
        return Accelerator(
            "kvm", CPU["kvm"], max(1.0, known.seconds / REFERENCE_SECONDS), True, known, known.kernel_seconds or None
        )
    if known and (require_kvm or accel == "kvm"):
        raise HostError(f"KVM does not work here: {known.seen}", hint=known.fix)
    if known and events:
        events.note(f"no KVM: {known.seen}; using TCG, which emulates and is slow")
    measured = pace(kernel)
    if known and measured is None and known.state == "hung" and known.kernel:
        # The control failed too: the kernel proves nothing about KVM.
        known = replace(
            known, state="no-kernel", seen=f"{known.kernel} boots neither under KVM nor under TCG", fix=_NO_KERNEL
        )
        _forget("kvm")
    if measured is None:
        return Accelerator("tcg", CPU["tcg"], UNMEASURED_FACTOR, False, known)
    factor = round(max(1.0, measured.seconds / REFERENCE_SECONDS), 2)
    return Accelerator("tcg", CPU["tcg"], factor, True, known, measured.kernel_seconds or None)


_NO_KERNEL = "install a kernel to try with (apt-get install linux-image-cloud-amd64), or build an image first"
_ABSENT = (
    "enable virtualisation in the firmware and load kvm_intel or kvm_amd; in a virtual machine turn on nested"
    " virtualisation; in a container pass /dev/kvm in"
)
_NOT_PERMITTED = "join the group that owns it (usermod -aG kvm USER) and log in again"
_REFUSED = "load kvm_intel or kvm_amd; in a virtual machine ask for nested virtualisation with its host's CPU"
_HUNG = "nested virtualisation of this host is broken: its own host must mend it; roost uses TCG meanwhile"


def probe(
    kernel: Path | None = None, *, device: Path | None = None, deadline: float | None = None, fresh: bool = False
) -> Probe:
    """Return what KVM does here, within `deadline` (default DEADLINE) seconds and a little.

    What a boot has shown is remembered until the host boots again or QEMU or the device change; `fresh` tries
    again. `device` is another than /dev/kvm. Never raises for a host that lacks something: `state` says what.
    """
    device, deadline = device or DEVICE, deadline or DEADLINE
    try:
        program = qemu()
    except HostError as error:
        return Probe("no-qemu", str(error.problem.what), error.problem.hint, 0.0)
    if cannot := _open(device):
        return cannot
    memory = _memory("kvm", program, device)
    if not fresh and (known := _recall(memory)):
        with suppress(TypeError):
            return Probe(**{**known, "remembered": True})
    found = kernel or next(kernels(), None)
    if found is None:
        return Probe("no-kernel", "KVM is there, but no kernel to try it with", _NO_KERNEL, 0.0)
    result = _judge(_boot(program, "kvm", found, deadline), found, deadline)
    _remember(memory, asdict(result))
    return result


def _open(device: Path) -> Probe | None:
    try:
        os.close(os.open(device, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return Probe("absent", f"{device} does not exist", _ABSENT, 0.0)
    except PermissionError:
        return Probe("not-permitted", f"{device} may not be opened by this user", _NOT_PERMITTED, 0.0)
    except OSError as error:
        return Probe("absent", f"{device}: {error.strerror}", _ABSENT, 0.0)
    return None


def _judge(outcome: _Outcome, kernel: Path, deadline: float) -> Probe:
    seconds = round(outcome.seconds, 2)
    if outcome.ran:
        seen = f"{kernel.name} booted under KVM in {seconds:.1f} s"
        return Probe("works", seen, None, seconds, str(kernel), kernel_seconds=round(outcome.kernel_seconds, 2))
    if outcome.status is not None:
        # QEMU ended before the kernel did: its own words say why, the last line as a rule.
        lines = [line for line in outcome.said.splitlines() if "warning:" not in line]
        why = next((line for line in lines if "error" in line or "Could not" in line or "ailed" in line), "")
        why = why or (lines or outcome.console.splitlines() or [f"it ended with status {outcome.status}"])[-1]
        why = re.sub(r"^\S*qemu\S*: (?:error: )?", "", why)
        return Probe("refused", f"QEMU refuses KVM: {why}", _REFUSED, seconds, str(kernel))
    last = outcome.console.splitlines()[-1:] or [""]
    far = f"it came as far as '{last[0]}'" if outcome.started else "it never said a word"
    return Probe(
        "hung",
        f"{DEVICE} answers, but {kernel.name} did not boot within {deadline:g} s: {far}",
        _HUNG,
        seconds,
        str(kernel),
    )


def pace(kernel: Path | None = None) -> Pace | None:
    """Return how fast a kernel boots under TCG here, or None if none does; remembered like a probe."""
    program = qemu()
    memory = _memory("tcg", program, Path("/dev/null"))
    if known := _recall(memory):
        with suppress(KeyError, TypeError, ValueError):
            return Pace(float(known["seconds"]), float(known["kernel_seconds"]))
    found = kernel or next(kernels(), None)
    if found is None:
        return None
    outcome = _boot(program, "tcg", found, TCG_DEADLINE)
    if not outcome.ran:
        return None
    measured = Pace(round(outcome.seconds, 2), round(outcome.kernel_seconds, 2))
    _remember(memory, {**asdict(measured), "kernel": str(found)})
    return measured


def kernels() -> Iterator[Path]:
    """Yield kernels that may be tried: the host's own, those of built images, libguestfs' appliance's; newest first."""
    places = (
        (Path("/boot"), "vmlinuz-*"),
        (Path("/lib/modules"), "*/vmlinuz"),
        (paths.project_root() / "build", "*/vmlinuz*"),
        (Path("/var/tmp"), ".guestfs-*/appliance.d/kernel"),
    )
    for folder, pattern in places:
        for path in sorted(folder.glob(pattern), key=_modified, reverse=True):
            if is_kernel(path):
                yield path


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def is_kernel(path: Path) -> bool:
    """Return whether `path` is a readable x86 Linux kernel that root or this user wrote."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid not in (0, os.geteuid()):
                return False
            return bzimage.is_bzimage(file.read(1024))
    except OSError:
        return False


def probe_argv(program: str, accel: Accel, kernel: Path) -> list[str]:
    """Return QEMU's command line for the boot of a kernel with nothing but a serial port."""
    argv = [program, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", "512"]
    argv += ["-accel", accel, "-cpu", CPU[accel]]
    argv += ["-chardev", "stdio,id=serial,signal=off", "-serial", "chardev:serial"]
    return [*argv, "-kernel", str(kernel.absolute()), "-append", "console=ttyS0 panic=-1"]


def _boot(program: str, accel: Accel, kernel: Path, deadline: float) -> _Outcome:
    console = Console()
    start = time.monotonic()
    with (
        tempfile.TemporaryFile() as complaints,
        process.spawn(
            probe_argv(program, accel, kernel), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints
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
        said = process.tail(complaints.read(65536))
    first, last = console.signs.get("kernel"), console.signs.get("panic")
    kernel_seconds = last.seconds - first.seconds if first and last else 0.0
    return _Outcome(_has_run(console), console.size > 0, seconds, kernel_seconds, status, said, console.tail(5))


def _has_run(console: Console) -> bool:
    """Return whether the kernel came to the point where it looks for its root: all of its drivers have run."""
    return console.has("kernel") and console.has("panic") and "VFS" in console.signs["panic"].text


def _memory(kind: str, program: str, device: Path) -> Path:
    """Return the file that remembers what `kind` did: another boot, QEMU, device or user is another file."""
    binary, node = Path(program).stat(), device.stat()
    identity: list[Any] = [
        Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        [program, binary.st_size, binary.st_mtime_ns],
        [str(device), node.st_dev, node.st_ino, node.st_rdev, node.st_mode, node.st_uid, node.st_gid],
        os.geteuid(),
    ]
    name = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]
    return paths.cache_root() / "probe" / f"{kind}-{name}.json"


def _recall(memory: Path) -> dict[str, Any] | None:
    try:
        known = jsontext.read(memory)
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) else None


def _remember(memory: Path, content: dict[str, Any]) -> None:
    """Remember; a cache that cannot be written is no reason to fail."""
    with suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(memory, json.dumps(content, indent=1).encode() + b"\n")


def _forget(kind: str) -> None:
    with suppress(OSError, HostError):
        _memory(kind, qemu(), DEVICE).unlink()
