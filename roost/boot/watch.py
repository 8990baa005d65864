"""When to end a test boot: which phase the guest is in, how long each may take, what is over already. Pure.

A guest that has failed is known long before its time is over: a panic, a halt, a shell in the initrd, a firmware
without anything to boot. Deadlines are for the silent ones. They are written for KVM on a quick machine and scaled
by the accelerator's measured factor; waits that go by the clock (a boot menu, initramfs-tools' 30 s for the root,
systemd's 90 s for a unit to stop) are not scaled.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from roost.boot.console import Console, Sign
from roost.boot.monitor import Event

#: What ends a boot that is expected to end: its job and its own power-off, a login prompt, or (nothing known of the
#: image) whichever comes first.
Goal = Literal["job", "login", "any"]
Phase = Literal["start", "firmware", "boot-loader", "kernel", "initrd", "init", "job", "power-off", "disks"]

#: Seconds per phase: scaled, and by the clock. init and job have all of the test boot's timeout.
LIMITS: dict[str, tuple[float, float]] = {
    "firmware": (10, 10),
    "boot-loader": (30, 60),
    "kernel": (30, 20),
    "initrd": (30, 75),
    "power-off": (20, 100),
}
#: A boot loader that neither reads nor speaks for so long has nothing to load; menus wait for 5 to 10 s.
LOADER_IDLE = (1.0, 20.0)
#: How long to look on after a sign of the end, for the rest of the story.
PATIENCE: dict[str, tuple[float, float]] = {
    "not-bootable": (0.2, 0.5),
    "panic": (1.0, 3.0),
    "no-root": (1.0, 4.0),
    "no-init": (1.0, 4.0),
    "initrd-shell": (1.0, 4.0),
    "halted": (0.2, 2.0),
    "power-down": (1.0, 5.0),
    "loader-error": (1.0, 12.0),
}
#: A job may print the words of a panic; only silence afterwards makes them true.
JOB_PATIENCE = (3.0, 15.0)
#: A host that is shared is given at most so many times the time.
SLOWEST = 5.0
#: CPUs that sleep with interrupts off never wake up again.
DEAD = 2.0
#: After the power button (HTCondor's eviction): in all, and for a guest that does not say a word about it.
BUTTON = (20.0, 100.0)
BUTTON_SILENT = (3.0, 12.0)
#: How long an unknown image may sit at its login prompt before the button is pressed.
LOGIN_GRACE = (10.0, 10.0)


#: Why the watch ends a machine that QEMU has paused because the host did not store what the guest wrote.
UNSTORED = "unstored"


@dataclass(frozen=True, slots=True)
class BootPlan:
    """What is awaited: the goal, the whole time in seconds under KVM, the accelerator's factor.

    `stays` says that the job does not power the machine off: the power button is pressed when it is done.
    `kernel_seconds` is what the kernel's start took when the factor was measured. `bound` is the whole time by the
    clock, in place of `timeout`.
    """

    goal: Goal
    timeout: float
    factor: float
    stays: bool = False
    kernel_seconds: float | None = None
    bound: float | None = None

    def paced(self, phases: Sequence[tuple[Phase, float]]) -> BootPlan:
        """Return the plan for a guest whose kernel took longer to start than the one measured: it shares the host.

        The plan stays as it is until the kernel's phase is over, and for a guest that was quicker.
        """
        begins = dict(phases)
        after = [begin for name, begin in phases if name in ("initrd", "init", "job", "power-off")]
        if not self.kernel_seconds or "kernel" not in begins or not after:
            return self
        slower = (after[0] - begins["kernel"]) / self.kernel_seconds
        return replace(self, factor=self.factor * min(max(slower, 1.0), SLOWEST))

    def limit(self, pair: tuple[float, float]) -> float:
        """Return the seconds that a pair of (scaled, by the clock) stands for here."""
        return pair[0] * self.factor + pair[1]

    @property
    def whole(self) -> float:
        """The seconds that the whole boot may take."""
        return self.timeout * self.factor if self.bound is None else self.bound


@dataclass(frozen=True, slots=True)
class Action:
    """What to do next: wait, press the power button, ask the initrd's shell, or stop and why."""

    kind: Literal["wait", "button", "ask", "stop"]
    why: str = ""


WAIT = Action("wait")


@dataclass(slots=True)
class Watch:
    """What was seen beside the console: filled by whoever drives the session, read by `decide`."""

    paging_at: float | None = None
    dead_since: float | None = None
    reads: int = 0
    read_at: float = 0.0
    button_at: float | None = None
    asked_at: float | None = None


def timeline(
    serial: dict[str, Sign], firmware: dict[str, Sign], paging_at: float | None = None
) -> tuple[tuple[Phase, float], ...]:
    """Return the phases that the guest reached, each with its begin in seconds; never empty, times never fall."""
    groups: tuple[tuple[Phase, Iterable[Sign | None]], ...] = (
        ("boot-loader", (firmware.get("boot-sector"), firmware.get("direct-kernel"))),
        ("kernel", (serial.get("kernel"), serial.get("kernel-line"))),
        ("initrd", (serial.get("initrd"),)),
        ("init", (serial.get("init"), serial.get("login"))),
        ("job", (serial.get("job-started"),)),
        ("power-off", (serial.get("job-finished") or _first(serial, "shutting-down", "power-down", "halted"),)),
    )
    phases: list[tuple[Phase, float]] = [("firmware", 0.0)]
    for name, signs in groups:
        times = [sign.seconds for sign in signs if sign is not None]
        if name == "kernel" and paging_at is not None:
            times.append(paging_at)
        if times:
            phases.append((name, max(phases[-1][1], min(times))))
    return tuple(phases)


def _first(signs: dict[str, Sign], *kinds: str) -> Sign | None:
    found = [signs[kind] for kind in kinds if kind in signs]
    return min(found, key=lambda sign: sign.seconds) if found else None


def decide(plan: BootPlan, serial: Console, firmware: Console, events: list[Event], watch: Watch, now: float) -> Action:
    """Return what to do at `now` seconds after the start."""
    if why := _ended(events):
        return Action("stop", why)
    phases = timeline(serial.signs, firmware.signs, watch.paging_at)
    phase, since = phases[-1]
    plan = plan.paced(phases)
    if now >= plan.whole:
        return Action("stop", "timeout")
    if action := _over(plan, serial, firmware, watch, phase, now):
        return action
    if watch.dead_since is not None and now - watch.dead_since >= DEAD and phase != "firmware":
        return Action("stop", "dead")
    if watch.button_at is None and _arrived(plan, serial, now):
        return Action("button")
    late = _late(plan, serial, watch, phase, since, now)
    return Action("stop", late) if late else WAIT


def _ended(events: Sequence[Event]) -> str | None:
    """Return why the machine does not run any more, or None while it does."""
    if any(event.name in ("SHUTDOWN", "GUEST_PANICKED") for event in events):
        return "ended"
    return UNSTORED if any(event.unstored is not None for event in events) else None


def _late(plan: BootPlan, serial: Console, watch: Watch, phase: Phase, since: float, now: float) -> str | None:
    """Return which deadline has passed, or None."""
    if watch.button_at is not None:
        silent = now - max(watch.button_at, serial.last_byte or 0.0) >= plan.limit(BUTTON_SILENT)
        return "button-ignored" if silent or now - watch.button_at >= plan.limit(BUTTON) else None
    if phase == "boot-loader" and now - max(since, watch.read_at, serial.last_byte or 0.0) >= plan.limit(LOADER_IDLE):
        return "loader-idle"
    if phase in LIMITS and now - since >= plan.limit(LIMITS[phase]):
        return f"{phase}-timeout"
    return None


def _over(plan: BootPlan, serial: Console, firmware: Console, watch: Watch, phase: Phase, now: float) -> Action | None:
    """Return what the signs of the end ask for, once there was time for what follows them."""
    if phase in ("firmware", "boot-loader") and _since(firmware, "not-bootable", now) >= plan.limit(
        PATIENCE["not-bootable"]
    ):
        return Action("stop", "not-bootable")
    early = phase in ("kernel", "initrd")
    if early and serial.has("initrd-shell") and watch.asked_at is None:
        return Action("ask")
    kinds = {
        "loader-error": phase in ("firmware", "boot-loader"),
        "no-root": early,
        "no-init": early,
        "initrd-shell": early,
        "panic": True,
        "halted": True,
        "power-down": True,
    }
    for kind, counts in kinds.items():
        patience = JOB_PATIENCE if phase == "job" else PATIENCE[kind]
        # Only a console that has fallen silent has told its last.
        quiet = now - max(serial.last_byte or 0.0, watch.asked_at or 0.0)
        if counts and min(_since(serial, kind, now), quiet if kind != "halted" else now) >= plan.limit(patience):
            return Action("stop", kind)
    return None


def _since(console: Console, kind: str, now: float) -> float:
    return now - console.signs[kind].seconds if kind in console.signs else -1.0


def _arrived(plan: BootPlan, serial: Console, now: float) -> bool:
    """Return whether the guest has reached its goal, and will not power off by itself."""
    if plan.goal == "job":
        return plan.stays and serial.has("job-finished") and not serial.missing
    if serial.has("job-started") and not serial.has("job-finished"):
        return False
    if plan.goal == "login":
        return serial.has("login") and not serial.missing
    return _since(serial, "login", now) >= plan.limit(LOGIN_GRACE)
