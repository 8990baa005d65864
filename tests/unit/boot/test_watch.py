"""When a test boot ends: at once for what is over, by a deadline for what is silent."""

from __future__ import annotations

import pytest

from roost.boot.console import FIRMWARE, Console, Sign
from roost.boot.monitor import Event, parse_registers
from roost.boot.watch import UNSTORED, BootPlan, Phase, Watch, decide, timeline

PLAN = BootPlan("job", 60.0, 1.0)
KERNEL = "[    0.000000] Linux version 6.1\n"
BOOTED = "SeaBIOS (version 1)\nBooting from 0000:7c00\n"


def _until(serial: str, plan: BootPlan = PLAN, firmware: str = BOOTED, watch: Watch | None = None) -> tuple[str, float]:
    """Return what ends a boot whose console says all of `serial` in its first second, and when."""
    console, debug = Console(), Console(FIRMWARE)
    debug.feed(firmware.encode(), 0.2)
    console.feed(serial.encode(), 1.0)
    console.settle(1.3)
    watch = watch or Watch()
    now = 1.5
    while now < 4000:
        action = decide(plan, console, debug, [], watch, now)
        if action.kind == "stop":
            return action.why, now
        if action.kind == "ask":
            watch.asked_at = now
        if action.kind == "button":
            watch.button_at = now
        now += 0.5
    return "never", now


def test_a_silent_job_has_all_the_time() -> None:
    assert _until(KERNEL + "roost: job started\n") == ("timeout", 60.0)


def test_deadlines_scale_with_the_factor() -> None:
    assert _until(KERNEL + "roost: job started\n", BootPlan("job", 60.0, 7.0)) == ("timeout", 420.0)


def test_a_host_that_is_shared_gives_more_time() -> None:
    plan = BootPlan("job", 60.0, 2.0, kernel_seconds=1.0)
    assert plan.paced((("firmware", 0.0), ("kernel", 1.0), ("init", 4.0))).factor == 6.0
    assert plan.paced((("firmware", 0.0), ("kernel", 1.0), ("init", 1.5))).factor == 2.0
    assert plan.paced((("firmware", 0.0), ("kernel", 1.0))).factor == 2.0
    assert plan.paced((("firmware", 0.0), ("kernel", 1.0), ("job", 900.0))).factor == 10.0


def test_load_does_not_extend_a_deadline_twice() -> None:
    plan = BootPlan("job", 60.0, 2.0, kernel_seconds=1.0)
    phases = timeline({"kernel": Sign("kernel", 1.0, ""), "init": Sign("init", 5.0, "")}, {})
    assert plan.paced(phases, 1.5).factor == 5.0
    assert plan.paced(phases, 9.0).factor == 2.0
    # A guest that was slow to start because others had the cores, and is idle since.
    serial, watch = Console(), Watch(starved=3.0, starved_kernel=3.0)
    serial.feed(KERNEL.encode(), 1.0)
    serial.feed(b"roost: job started\n", 5.0)
    last = next(at for at in range(6, 4000) if decide(plan, serial, Console(FIRMWARE), [], watch, at).kind == "stop")
    assert last == 123


def test_seconds_without_a_core_belong_to_the_phase_in_which_they_were() -> None:
    watch = Watch()
    firmware: tuple[tuple[Phase, float], ...] = (("firmware", 0.0),)
    started: tuple[tuple[Phase, float], ...] = (*firmware, ("kernel", 2.0))
    up: tuple[tuple[Phase, float], ...] = (*started, ("init", 5.0))
    watch.starve(1.0, 1.0, firmware)
    assert (watch.starved, watch.starved_kernel) == (1.0, 0.0)
    watch.starve(2.0, 3.0, started)
    assert watch.starved_kernel == 0.5
    watch.starve(3.0, 4.0, started)
    assert watch.starved_kernel == 1.5
    watch.starve(5.0, 6.0, up)
    watch.starve(9.0, 10.0, up)
    assert (watch.starved, watch.starved_kernel) == (9.0, 2.5)


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (BootPlan("job", 60.0, 3.74), "boot_test.timeout 60 s x 3.7"),
        (BootPlan("login", 60.0, 1.0), "boot_test.timeout 60 s"),
        (BootPlan("any", 120.0, 10.0), "120 s x 10.0"),
        (BootPlan("job", 60.0, 3.74, bound=40.0), "40 s"),
    ],
)
def test_a_limit_says_what_it_is_made_of(plan: BootPlan, words: str) -> None:
    assert plan.limited_by == words


def test_time_without_a_core_of_the_host_does_not_count() -> None:
    booting = "SeaBIOS (version 1)\nBooting from 0000:7c00\n"
    assert _until("", firmware=booting) == ("loader-idle", 22.0)
    assert _until("", firmware=booting, watch=Watch(starved=10.0)) == ("loader-idle", 32.0)
    job = KERNEL + "roost: job started\n"
    assert _until(job, watch=Watch(starved=30.0)) == ("timeout", 90.0)
    # A guest that hangs ends all the same.
    assert _until(job, watch=Watch(starved=3990.0)) == ("timeout", 300.0)
    # A bound is kept.
    assert _until(job, BootPlan("job", 60.0, 1.0, bound=40.0), watch=Watch(starved=30.0)) == ("timeout", 40.0)


def test_what_is_over_ends_at_once() -> None:
    for line, why in (
        ("Kernel panic - not syncing: x", "panic"),
        ("reboot: System halted", "halted"),
        ("reboot: Power down", "power-down"),
        ("Gave up waiting for root file system device.", "no-root"),
    ):
        stopped, when = _until(f"{KERNEL}{line}\n")
        assert stopped == why
        assert when < 10


def test_the_initrds_shell_is_asked_first() -> None:
    watch = Watch()
    assert (
        _until(KERNEL + "ALERT!  UUID=1 does not exist.  Dropping to a shell!\n(initramfs) ", watch=watch)[0]
        == "no-root"
    )
    assert watch.asked_at is not None


def test_firmware_and_loader_have_deadlines_of_their_own() -> None:
    assert _until("", firmware="No bootable device.\n")[1] < 3
    assert _until("", firmware="")[0] == "firmware-timeout"
    why, when = _until("")
    assert (why, when < 30) == ("loader-idle", True)
    assert _until("error: unknown filesystem.\ngrub rescue> ")[0] == "loader-error"


def test_a_silent_kernel_is_not_an_idle_loader() -> None:
    """A guest without a serial console: its CPU runs with paging, so an operating system is up."""
    long = BootPlan("any", 600.0, 1.0)
    assert _until("", long, watch=Watch(paging_at=5.0))[0] == "kernel-timeout"


END = "---[ end Kernel panic - not syncing: x ]---\n"


def test_a_kernel_that_says_its_last_line_is_not_waited_for() -> None:
    slow = BootPlan("job", 60.0, 10.0)
    begin = f"{KERNEL}Kernel panic - not syncing: x\n"
    assert _until(begin + END, slow) == ("panic", 2.5)
    why, when = _until(begin, slow)
    assert (why, when > 13) == ("panic", True)


@pytest.mark.parametrize("end", ["", END])
def test_a_job_that_prints_a_panic_is_given_time(end: str) -> None:
    why, when = _until(f"{KERNEL}roost: job started\nKernel panic - not syncing: printed\n{end}")
    assert (why, when > 18) == ("panic", True)


def test_dead_processors_end_it() -> None:
    watch = Watch()
    for now in (2.0, 3.0, 4.0):
        assert _until(KERNEL, PLAN, watch=watch)[0] != "dead"
        watch.rests(now, dead=True)
    assert _until(KERNEL, watch=watch)[0] == "dead"
    watch.rests(5.0, dead=False)
    assert _until(KERNEL, watch=watch)[0] != "dead"


def test_one_poll_proves_no_death_however_late_the_next_is() -> None:
    watch = Watch()
    watch.rests(2.0, dead=True)
    assert _until(KERNEL, watch=watch)[0] != "dead"


def test_without_a_job_the_button_is_pressed_at_the_login() -> None:
    watch = Watch()
    why, when = _until(KERNEL + "host login: ", BootPlan("login", 120.0, 1.0), watch=watch)
    assert watch.button_at == 1.5
    assert (why, when < 30) == ("button-ignored", True)


def test_an_unknown_image_may_still_go_off_by_itself() -> None:
    watch = Watch()
    _until(KERNEL + "host login: ", BootPlan("any", 120.0, 1.0), watch=watch)
    assert watch.button_at is not None
    assert watch.button_at >= 20


def test_a_shutdown_ends_it() -> None:
    events = [Event(1.0, "SHUTDOWN", {"reason": "guest-shutdown"})]
    assert decide(PLAN, Console(), Console(FIRMWARE), events, Watch(), 1.1).why == "ended"


def test_the_timeline_never_runs_backwards() -> None:
    console, debug = Console(), Console(FIRMWARE)
    debug.feed(b"Booting from 0000:7c00\n", 4.0)
    console.feed(b"[    0.000000] Linux version 6\n", 3.0)
    console.feed(b"roost: job started\n", 9.0)
    phases = timeline(console.signs, debug.signs)
    assert [name for name, _ in phases] == ["firmware", "boot-loader", "kernel", "job"]
    assert [begin for _, begin in phases] == sorted(begin for _, begin in phases)


REGISTERS = """
CPU#0
RAX=0000000000000000 RBX=0000000000000000
RIP=ffffffff8d2a3b0e RFL=00000{flags} [---] CPL=0 II=0 A20=1 SMM=0 HLT={halted}
CR0=80050033 CR2=00007f2e2f5c6000 CR3=0000000002a10000 CR4=00000006f0
"""


def test_registers_tell_a_dead_machine_from_an_idle_one() -> None:
    dead = parse_registers(REGISTERS.format(flags="046", halted=1))
    idle = parse_registers(REGISTERS.format(flags="246", halted=1))
    assert dead is not None and dead.dead and dead.paging
    assert idle is not None and not idle.dead
    both = parse_registers(REGISTERS.format(flags="046", halted=1) + REGISTERS.format(flags="246", halted=0))
    assert both is not None and not both.dead
    assert parse_registers("Unknown command") is None


def test_a_guest_whose_writes_the_host_cannot_store_is_ended_at_once() -> None:
    full = {"action": "stop", "operation": "write", "nospace": True, "reason": "No space left on device"}
    event = Event(2.0, "BLOCK_IO_ERROR", full)
    action = decide(PLAN, Console(), Console(FIRMWARE), [event], Watch(), 2.1)
    assert (action.kind, action.why, event.unstored) == ("stop", UNSTORED, "No space left on device")
    # What the guest is told of is its own affair.
    told = Event(2.0, "BLOCK_IO_ERROR", {**full, "action": "report"})
    assert decide(PLAN, Console(), Console(FIRMWARE), [told], Watch(), 2.1).kind == "wait"
