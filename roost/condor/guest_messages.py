"""Messages of the guest's kernel on its console that say why a job never ends or fails."""

from __future__ import annotations

from roost.condor.reasons import reason

GUEST = (
    reason("guest-reboots", r"reboot: (?:machine restart|Restarting system)",
            "HTCondor starts a guest that reboots again and again, so the job never ends",
            "the guest rebooted instead of powering off: by reboot, or after a panic with panic=N",
            "end the job with /sbin/poweroff; leave panic=N out of the kernel's command line; add periodic_remove for "
            "jobs that take too long", "docs/vm-universe.md, section 6: on_reboot is restart"),
    reason("guest-out-of-memory", r"out of memory: kill(?:ed)? process|\boom-kill|invoked oom-killer|oom_reaper",
            "the guest ran out of memory and its kernel killed a process", "the work needs more than vm_memory",
            "ask for more vm_memory (machine.memory in the recipe), or add swap", "Linux, mm/oom_kill.c",
            "memory-request"),
)  # fmt: skip
