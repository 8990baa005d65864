"""The busybox initrd's init, as far as a shell can run it here."""

from __future__ import annotations

import subprocess

from roost.kernel.initrd import INIT


def test_the_wait_for_a_root_goes_by_the_clock_however_slow_a_look_is() -> None:
    begin, end = INIT.index("device=\n"), INIT.index("\ndone\n", INIT.index("device=\n")) + len("\ndone\n")
    wait = INIT[begin:end]
    assert "-lt 10 " in wait
    look = "findfs() { sleep 0.7; return 1; }"
    script = f"root=UUID=x\n{look}\n{wait.replace('-lt 10 ', '-lt 2 ')}echo none:$device\n"
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "none:\n"
    found = script.replace("sleep 0.7; return 1;", "echo /dev/xvda1;")
    done = subprocess.run(["sh", "-c", found], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == "none:/dev/xvda1\n"
