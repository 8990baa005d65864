"""Which accelerator can run Linux here: KVM only if a real kernel boots under it, and how slow TCG is.

`probe` boots a kernel under KVM. The same boot under TCG is the control (it shows that the kernel is fit for the test)
and the measure by which deadlines are scaled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from roost.boot import probe as probes
from roost.boot.probe import Probe
from roost.boot.qemu import CPU, Accel, has_ring
from roost.errors import HostError, UsageError
from roost.events import Events

#: Seconds that this boot takes where KVM is fast: firmware, unpacking the kernel, its drivers, the panic. Deadlines are
#: written for such a machine and multiplied by (measured here / this).
REFERENCE_SECONDS = 1.0
#: The factor where TCG could not be measured.
UNMEASURED_FACTOR = 10.0


@dataclass(frozen=True, slots=True)
class Accelerator:
    """The accelerator of a machine. Deadlines are multiplied by `factor`; `measured` is false for an estimate.

    `kernel_seconds` is how long the kernel's own start took in that measurement, from its first line to its last: a
    guest whose kernel takes longer shares the host with others.
    """

    name: Accel
    cpu: str
    factor: float
    measured: bool
    probe: Probe | None
    kernel_seconds: float | None = None
    #: Whether QEMU accesses the files of disks through io_uring(7), see `qemu.has_ring`.
    ring: bool = False


def choose(
    accel: str, *, require_kvm: bool = False, kernel: Path | None = None, events: Events | None = None
) -> Accelerator:
    """Return the accelerator for `accel` (auto, kvm or tcg), and note it when it is not KVM.

    `kernel` is the one to try with; by default one is looked for. Raises `HostError` when KVM is asked for (`kvm`, or
    `require_kvm`) and does not work, `UsageError` for any other value of `accel`.
    """
    if accel not in ("auto", "kvm", "tcg"):
        raise UsageError(f"no such accelerator: '{accel}'", hint="auto, kvm or tcg")
    if accel == "tcg" and require_kvm:
        raise UsageError("--accel tcg and --require-kvm cannot be used together")
    known = None if accel == "tcg" else probes.probe(kernel)
    if known and known.usable:
        return Accelerator(
            "kvm", CPU["kvm"], max(1.0, known.seconds / REFERENCE_SECONDS), True, known, known.kernel_seconds or None
        )
    if known and (require_kvm or accel == "kvm"):
        raise HostError(f"KVM does not work here: {known.seen}", hint=known.fix)
    if known and events:
        events.note(f"no KVM: {known.seen}; using TCG, which emulates and is slow")
    measured = probes.pace(kernel)
    if known and measured is None and known.state == "hung" and known.kernel:
        # The control failed too: the kernel proves nothing about KVM.
        known = replace(
            known, state="no-kernel", seen=f"{known.kernel} boots neither under KVM nor under TCG", fix=probes.NO_KERNEL
        )
        probes.forget(probes.DEVICE)
    ring = has_ring()
    if measured is None:
        return Accelerator("tcg", CPU["tcg"], UNMEASURED_FACTOR, False, known, ring=ring)
    factor = round(max(1.0, measured.seconds / REFERENCE_SECONDS), 2)
    return Accelerator("tcg", CPU["tcg"], factor, True, known, measured.kernel_seconds or None, ring)
