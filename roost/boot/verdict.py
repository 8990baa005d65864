"""From evidence to a verdict: passed, or the phase in which it failed and one of eleven causes. Pure.

Only positive evidence passes: the guest's own result and its own power-off, or a login prompt; a guest that has merely
ended has proven nothing. The console is untrusted, and a job may print anything: where the hypervisor or a disk has
better evidence (QMP's SHUTDOWN, the job's status.json), that decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from roost.boot import proof
from roost.boot.evidence import Evidence
from roost.boot.watch import Phase
from roost.verify.evidence import FileSystem

Cause = Literal[
    "no-boot-loader",
    "no-root-driver",
    "no-root",
    "panic",
    "job-timeout",
    "job-failed",
    "halted",
    "rebooted",
    "expectation",
    "dirty-filesystem",
    "hypervisor",
]


#: A power-off by the job, its commands or the system, too early.
EARLY = "the guest powered itself off before its job had finished"
#: The kernel's timestamp (CONFIG_PRINTK_TIME).
_STAMP = re.compile(r"^\[ *\d+\.\d+\] ")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Passed, or the phase and the cause of the failure; `detail` is one sentence, `notes` are worth knowing."""

    passed: bool
    phase: Phase
    cause: Cause | None
    detail: str
    notes: tuple[str, ...] = ()


def judge(evidence: Evidence) -> Verdict:
    """Return the verdict. The first cause that explains the rest wins: a guest without a root also fails its job."""
    for rule in (_hypervisor, _boot_loader, _root, _end, _io_disk, _job, _disks, _expectations, _proof):
        if failure := rule(evidence):
            return failure
    return _passed(evidence)


def _failed(evidence: Evidence, cause: Cause, detail: str, phase: Phase | None = None) -> Verdict:
    return Verdict(False, phase or evidence.phase, cause, detail)


def _text(evidence: Evidence, kind: str) -> str:
    sign = evidence.serial.get(kind) or evidence.firmware.get(kind)
    return _STAMP.sub("", sign.text) if sign else ""


def _hypervisor(evidence: Evidence) -> Verdict | None:
    if evidence.refused is not None:
        return _failed(
            evidence, "hypervisor", f"the hypervisor does not start this machine: {evidence.refused}", "start"
        )
    if evidence.changed:
        return _failed(evidence, "hypervisor", f"{', '.join(evidence.changed)} changed while it was booted", "disks")
    if evidence.stop == "gone" and not evidence.reason:
        return _failed(evidence, "hypervisor", "QEMU exited by itself, without any output of the guest")
    if evidence.reason.startswith("host-") and evidence.stop == "ended":
        return _failed(evidence, "hypervisor", f"QEMU was ended from outside ({evidence.reason})")
    return None


def _boot_loader(evidence: Evidence) -> Verdict | None:
    if evidence.has_reached("kernel", "initrd", "init", "job", "power-off"):
        return None
    if evidence.goal == "any" and evidence.powered_off and evidence.written != ():
        return None
    error = _text(evidence, "loader-error")
    if "not-bootable" in evidence.firmware:
        why = _text(evidence, "not-bootable")
        # A kernel was found, but does not start.
        detail = why if "cannot start" in why else f"nothing to boot was found: {why}"
    elif error:
        detail = f"the boot loader started no kernel: {error}"
    elif evidence.has_reached("boot-loader"):
        detail = "the boot sector ran, but no kernel started"
    else:
        detail = "the firmware started nothing"
    if evidence.reason == "guest-reset":
        detail += "; then the machine was reset"
    return _failed(evidence, "no-boot-loader", detail)


def _root(evidence: Evidence) -> Verdict | None:
    """Judge a missing root: a kernel or an initrd gave up. A guest that reached init has found its root."""
    if evidence.has_reached("init", "job"):
        return None
    panic = _text(evidence, "panic")
    if evidence.stop == "initrd-timeout" and _mounted_nothing(evidence):
        # An initrd's last messages go to the last console of the command line, which may not be the recorded one.
        phase = evidence.phase_of()
        if evidence.root_disk_seen is False:
            return _failed(evidence, "no-root-driver", "the initrd mounted nothing: it never found a disk", phase)
        return _failed(evidence, "no-root", "the initrd mounted no root file system in time", phase)
    if "VFS" not in panic and not any(kind in evidence.serial for kind in ("no-root", "no-init", "initrd-shell")):
        return None
    reason = _text(evidence, "no-root") or _text(evidence, "no-init") or panic or _text(evidence, "initrd-shell")
    phase = evidence.phase_of("no-root", "no-init", "panic", "initrd-shell")
    if evidence.root_disk_seen is False and "no-init" not in evidence.serial:
        return _failed(evidence, "no-root-driver", f"the kernel never found the disk of its root: {reason}", phase)
    return _failed(evidence, "no-root", f"the kernel found the disk, but no root on it: {reason}", phase)


def _mounted_nothing(evidence: Evidence) -> bool:
    """Return whether a kernel that reports mounts reported none, and its initrd did not mention a root."""
    reported = any(kind in evidence.serial for kind in ("mounted", "no-root", "no-init", "initrd-shell", "panic"))
    return "disk-seen" in evidence.serial and not reported


def _end(evidence: Evidence) -> Verdict | None:
    """Judge how it ended: HTCondor sees only a power-off by the guest itself."""
    if evidence.powered_off:
        # A kernel that saves its predecessor's memory after a panic powers the machine off cleanly.
        panic = _text(evidence, "panic")
        return None if not panic or proof.finished(evidence) else _failed(evidence, "panic", panic)
    if failure := _collapsed(evidence):
        return failure
    if evidence.button:
        return None
    if evidence.goal == "job" or "job-started" in evidence.serial:
        return _unfinished(evidence)
    if "login" in evidence.serial:
        return None
    return _failed(evidence, "expectation", f"neither a login prompt nor a power-off: {_why(evidence)}")


def _collapsed(evidence: Evidence) -> Verdict | None:
    """Judge a panic, a reset, a halt: the goal can no longer be reached."""
    panic = _text(evidence, "panic")
    if not panic and (evidence.reason == "guest-panic" or any(one.name == "GUEST_PANICKED" for one in evidence.events)):
        panic = "the guest reported a panic"
    if panic:
        return _failed(evidence, "panic", panic, evidence.phase_of("panic"))
    if evidence.reason == "guest-reset":
        return _failed(evidence, "rebooted", "the guest reset the machine; HTCondor would let it boot for ever")
    halt = next((text for kind in ("halted", "power-down") if (text := _text(evidence, kind))), None)
    if evidence.stop == "dead" or halt:
        how = f"'{halt}', but the machine stays on" if halt else "all CPUs are halted"
        return _failed(evidence, "halted", how)
    return None


def _unfinished(evidence: Evidence) -> Verdict:
    if evidence.exits:
        return _failed(evidence, "halted", f"the job finished, but the machine stays on: {_why(evidence)}", "power-off")
    where = (
        "the job never ended" if evidence.has_reached("job") else f"the guest never reached its job: {evidence.phase}"
    )
    return _failed(evidence, "job-timeout", f"{where}; {_why(evidence)}")


def _why(evidence: Evidence) -> str:
    """Return why the watch stopped, for people."""
    notes = [text for kind in ("emergency", "out-of-memory", "unit-failed") if (text := _text(evidence, kind))]
    if not evidence.has_reached("job"):
        notes += [f"it waited {one.seconds:.0f} s for {one.what}" for one in evidence.waits[:2]]
    words = {"timeout": _deadline(evidence), "button-ignored": "it did not react to the power button"}
    return "; ".join([words.get(evidence.stop, evidence.stop.replace("-", " ")), *notes])


def _deadline(evidence: Evidence) -> str:
    """Return which deadline passed, and when."""
    if evidence.limit is None:
        return "the deadline passed"
    without = f"; for {evidence.starved:.0f} s the host had no core for it" if evidence.starved >= 1 else ""
    return f"no end after {evidence.ended:.0f} s (limit: {evidence.limited_by}{without})"


def _io_disk(evidence: Evidence) -> Verdict | None:
    """Judge whether the job was run, and used the io disk."""
    if reason := proof.not_run(evidence):
        return _failed(evidence, "job-failed", f"the job was not run: {reason}{_also(evidence)}", "job")
    if evidence.unused is not None and proof.finished(evidence):
        what = f"the job did not use the io disk {evidence.unused}: its inputs and results were on the root file system"
        return _failed(evidence, "job-failed", what, "job")
    return None


def _job(evidence: Evidence) -> Verdict | None:
    if evidence.goal != "job" and "job-started" not in evidence.serial and evidence.status is None:
        return _emergency(evidence)
    status = evidence.status or {}
    if status.get("timed_out") is True or "job-timed-out" in evidence.serial:
        return _failed(evidence, "job-timeout", "the job took longer than the recipe allows and was killed", "job")
    if not proof.finished(evidence):
        return _failed(evidence, "job-failed", f"{EARLY}{_also(evidence)}", evidence.phase_of())
    code = status.get("exit_code") if status.get("state") == "finished" else evidence.exits[-1]
    if code == evidence.exit_status and not isinstance(code, bool):
        return None
    signal = status.get("signal")
    known = (
        f"ended with exit status {code}" if isinstance(code, int) else "ended with an exit status that is not a number"
    )
    how = f"was killed by signal {signal}" if signal and isinstance(signal, int) else known
    if evidence.exit_status:
        how += f" instead of {evidence.exit_status}"
    return _failed(evidence, "job-failed", f"the job {how}{_also(evidence)}", "job")


def _emergency(evidence: Evidence) -> Verdict | None:
    """Judge an unknown guest whose init gave up: it did none of its work."""
    reason = _text(evidence, "emergency")
    if evidence.goal != "any" or not evidence.powered_off or not reason:
        return None
    return _failed(evidence, "job-failed", f"the guest did not come up: {reason}")


def _also(evidence: Evidence) -> str:
    notes = [text for kind in ("panic", "emergency", "out-of-memory", "unit-failed") if (text := _text(evidence, kind))]
    return f": {notes[0]}" if notes else ""


def _place(one: FileSystem) -> str:
    """Return the name of a file system: `ext of root.qcow2 partition 1`, without an unknown type."""
    where = f"{one.disk} partition {one.partition}" if one.partition else one.disk
    return where if one.type == "unknown" else f"{one.type} of {where}"


def _disks(evidence: Evidence) -> Verdict | None:
    dirty = [one for one in evidence.filesystems if one.clean is False and (evidence.powered_off or one.lost)]
    if not dirty:
        return None
    places = ", ".join(f"{_place(one)} ({one.seen})" for one in dirty)
    return _failed(evidence, "dirty-filesystem", f"not clean after the run: {places}", "disks")


def _expectations(evidence: Evidence) -> Verdict | None:
    unmet = [one for one in evidence.expectations if not one.met]
    if not unmet:
        return None
    phase: Phase = "disks" if all(one.on_disk for one in unmet) else evidence.phase
    return _failed(evidence, "expectation", "; ".join(f"{one.what}: {one.seen}" for one in unmet), phase)


def _proof(evidence: Evidence) -> Verdict | None:
    lacking = proof.missing(evidence)
    return _failed(evidence, "job-failed", lacking) if lacking else None


def _passed(evidence: Evidence) -> Verdict:
    notes: list[str] = []
    if not evidence.powered_off:
        notes.append("it did not power itself off: HTCondor would run it until it is removed")
        notes += ["it did not react to the power button"] if evidence.stop == "button-ignored" else []
        notes.append("file systems were not checked: the machine was cut off")
    notes += [f"{_place(one)}: {one.seen}" for one in evidence.filesystems if one.clean is None]
    notes += proof.notes(evidence)
    how = "powered itself off" if evidence.powered_off and not evidence.button else "reached its login prompt"
    if proof.finished(evidence):
        how = f"did its job and {how}"
    return replace(Verdict(True, evidence.phase, None, f"the guest {how}"), notes=tuple(notes))
