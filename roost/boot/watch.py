"""When to end a test boot: the guest's phase, the deadline of each phase, signs of an early end. Pure.

The failure of a guest is usually known long before its deadline: a panic, a halt, a shell in the initrd, a firmware
without anything to boot. Deadlines are for silent failures. They are written for KVM on a fast machine and scaled by
the accelerator's measured factor; waits in wall time (a boot menu, initramfs-tools' 30 s for the root, systemd's 90 s
for a unit to stop) are not scaled. Time for which the host had no core for the guest does not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from roost.boot.console import Console, Sign
from roost.boot.monitor import Event

#: What completes a boot: its job and its own power-off, a login prompt, or, for an unknown image, whichever comes
#: first.
Goal = Literal["job", "login", "any"]
Phase = Literal["start", "firmware", "boot-loader", "kernel", "initrd", "init", "job", "power-off", "disks"]

#: Seconds per phase: scaled, and wall time. init and job have the whole timeout of the test boot.
LIMITS: dict[str, tuple[float, float]] = {
    "firmware": (10, 10),
    "boot-loader": (30, 60),
    "kernel": (30, 20),
    "initrd": (30, 75),
    "power-off": (20, 100),
}
#: A boot loader without reads and output for this long has nothing to load; menus wait for 5 to 10 s.
LOADER_IDLE = (1.0, 20.0)
#: How long to continue after a sign of the end, to record what follows.
PATIENCE: dict[str, tuple[float, float]] = {
    "not-bootable": (0.2, 0.5),
    "panic": (1.0, 3.0),
    "panic-end": (0.1, 0.5),
    "no-root": (1.0, 4.0),
    "no-init": (1.0, 4.0),
    "initrd-shell": (1.0, 4.0),
    "halted": (0.2, 2.0),
    "power-down": (1.0, 5.0),
    "loader-error": (1.0, 12.0),
}
#: A job may print the text of a panic; only silence afterwards confirms it.
JOB_PATIENCE = (3.0, 15.0)
#: On a shared host, the time is extended at most by this factor.
SLOWEST = 5.0
#: CPUs that sleep with interrupts off never wake up again.
DEAD = 2.0
#: After the power button (HTCondor's eviction): in total, and for a guest that prints nothing about it.
BUTTON = (20.0, 100.0)
BUTTON_SILENT = (3.0, 12.0)
#: How long an unknown image may stay at its login prompt before the button is pressed.
LOGIN_GRACE = (10.0, 10.0)

#: The phases that begin when the kernel's is over.
_AFTER_KERNEL = frozenset({"initrd", "init", "job", "power-off"})
#: The reason for ending a machine that QEMU has paused because the host did not store the guest's writes.
UNSTORED = "unstored"


@dataclass(frozen=True, slots=True)
class BootPlan:
    """What to wait for: the goal, the total time in seconds under KVM, the accelerator's factor.

    `stays` means that the job does not power the machine off: the power button is pressed when it is done.
    `kernel_seconds` is what the kernel's start took when the factor was measured. `bound` is the total wall time,
    replacing `timeout`.
    """

    goal: Goal
    timeout: float
    factor: float
    stays: bool = False
    kernel_seconds: float | None = None
    bound: float | None = None

    def paced(self, phases: Sequence[tuple[Phase, float]], starved: float = 0.0) -> BootPlan:
        """Return the plan for a guest whose kernel took longer to start than the one measured: it shares the host.

        The plan does not change before the kernel's phase is over, or for a guest that was faster. `starved` are the
        seconds of that phase in which the host had no core for the guest: where deadlines leave such seconds out
        (`counted`), the same load must not extend them twice.
        """
        begins = dict(phases)
        after = [begin for name, begin in phases if name in _AFTER_KERNEL]
        if not self.kernel_seconds or "kernel" not in begins or not after:
            return self
        slower = (after[0] - begins["kernel"] - starved) / self.kernel_seconds
        return replace(self, factor=self.factor * min(max(slower, 1.0), SLOWEST))

    def limit(self, pair: tuple[float, float]) -> float:
        """Return the seconds for a pair of (scaled, wall time) here."""
        return pair[0] * self.factor + pair[1]

    @property
    def whole(self) -> float:
        """Return the seconds that the whole boot may take."""
        return self.timeout * self.factor if self.bound is None else self.bound

    @property
    def limited_by(self) -> str:
        """Return what `whole` is made of, such as "boot_test.timeout 60 s x 3.7"; for people."""
        if self.bound is not None:
            return f"{self.bound:.0f} s"
        # An image without a recipe has no such key.
        key = "" if self.goal == "any" else "boot_test.timeout "
        return f"{key}{self.timeout:g} s x {self.factor:.1f}" if self.factor > 1 else f"{key}{self.timeout:g} s"

    def is_over(self, now: float, starved: float) -> bool:
        """Return whether the whole boot has had its time, at `now` seconds after the start. A bound is wall time."""
        return (counted(now, starved) if self.bound is None else now) >= self.whole


def counted(now: float, starved: float) -> float:
    """Return the seconds after the start that count towards deadlines: without the `starved` ones.

    At most four fifths are left out: a guest that hangs on a busy host ends, too.
    """
    return max(now - starved, now / SLOWEST)


@dataclass(frozen=True, slots=True)
class Action:
    """What to do next: wait, press the power button, ask the initrd's shell, or stop, with the reason."""

    kind: Literal["wait", "button", "ask", "stop"]
    why: str = ""


WAIT = Action("wait")


@dataclass(slots=True)
class Watch:
    """What was seen besides the console: filled by the driver of the session, read by `decide`.

    `starved` is for how many seconds since the start the guest was ready to run, and the host had no core for it, as
    of `looked_at`; `starved_kernel` are those of the kernel's phase. `dead_since` and `dead_until` are the first and
    the last of the polls in a row that found all CPUs asleep forever.
    """

    paging_at: float | None = None
    dead_since: float | None = None
    dead_until: float = 0.0
    reads: int = 0
    read_at: float = 0.0
    button_at: float | None = None
    asked_at: float | None = None
    starved: float = 0.0
    starved_kernel: float = 0.0
    looked_at: float = 0.0

    def rests(self, now: float, *, dead: bool) -> None:
        """Record whether a poll of the CPUs found all of them asleep forever."""
        self.dead_since = (self.dead_since or now) if dead else None
        self.dead_until = now

    def starve(self, starved: float, now: float, phases: Sequence[tuple[Phase, float]]) -> None:
        """Record the seconds without a core until `now`; those since the last call were spread evenly."""
        begin = dict(phases).get("kernel", now)
        end = min((at for name, at in phases if name in _AFTER_KERNEL), default=now)
        within = max(0.0, min(end, now) - max(begin, self.looked_at))
        if now > self.looked_at:
            self.starved_kernel += max(0.0, starved - self.starved) * within / (now - self.looked_at)
        self.starved, self.looked_at = starved, now


def timeline(
    serial: dict[str, Sign], firmware: dict[str, Sign], paging_at: float | None = None
) -> tuple[tuple[Phase, float], ...]:
    """Return the phases that the guest reached, each with its begin in seconds; never empty, times never decrease."""
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
    plan = plan.paced(phases, watch.starved_kernel)
    if plan.is_over(now, watch.starved):
        return Action("stop", "timeout")
    now = counted(now, watch.starved)
    if action := _over(plan, serial, firmware, watch, phase, now):
        return action
    if watch.dead_since is not None and watch.dead_until - watch.dead_since >= DEAD and phase != "firmware":
        return Action("stop", "dead")
    if watch.button_at is None and _arrived(plan, serial, now):
        return Action("button")
    late = _late(plan, serial, watch, phase, since, now)
    return Action("stop", late) if late else WAIT


def _ended(events: Sequence[Event]) -> str | None:
    """Return why the machine no longer runs, or None while it does."""
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
    """Return the action for the signs of the end, once there was time for what follows them."""
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
        # A job may print this, too.
        "panic-end": phase != "job",
        "panic": True,
        "halted": True,
        "power-down": True,
    }
    for kind, counts in kinds.items():
        patience = JOB_PATIENCE if phase == "job" else PATIENCE[kind]
        # A console may print more until it has fallen silent.
        quiet = now - max(serial.last_byte or 0.0, watch.asked_at or 0.0)
        if counts and min(_since(serial, kind, now), quiet if kind != "halted" else now) >= plan.limit(patience):
            return Action("stop", kind.removesuffix("-end"))
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
