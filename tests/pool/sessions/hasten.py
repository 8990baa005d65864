"""Has HTCondor look at guests that have ended: by itself it does a minute after the start of each at the earliest.

condor_suspend does: a guest that is gone cannot be suspended, and then HTCondor looks what became of it, from half a
minute after its start. What the job, DAGMan and roost make of that is what they make of an end that HTCondor finds by
itself.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from pathlib import Path

from tests.pool.sessions.access_point import call, pids, say

#: Where the pool's LIBVIRT_XML_SCRIPT leaves the ad and the console of each guest.
DOMAINS = Path("/var/log/domains")


class Hasten:
    """Hastens jobs, each guest of them once: those whose names in their run match the regular expression `jobs`."""

    def __init__(self, jobs: str) -> None:
        self.jobs = jobs
        self.seen: set[str] = set()

    def begun(self) -> int:
        """Return how many guests have begun to boot."""
        return len(self._guests(self.jobs))

    def ended(self) -> None:
        """Have HTCondor look at the guests that have powered off."""
        for id_, console in self._guests(self.jobs):
            if id_ in self.seen or b"reboot: Power down" not in console.read_bytes() or pids(f"guest={console.stem}"):
                continue
            say(f"the guest of {id_} has ended")
            self._look(id_)

    def kill(self, job: str) -> bool:
        """Kill the guest of a job once that has begun; HTCondor takes it for a machine that ended. Return whether."""
        for id_, console in self._guests(re.escape(job)):
            if b"roost: job started" not in console.read_bytes():
                continue
            found = pids(f"guest={console.stem}")
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            say(f"killed the guest of {id_}: {found}")
            self._look(id_)
            return bool(found)
        return False

    def _guests(self, jobs: str) -> list[tuple[str, Path]]:
        """Return the ids of jobs whose guests have begun to boot, and the guests' consoles."""
        name = re.compile(f'^RoostJob = "(?:{jobs})"$', re.MULTILINE)
        # HTCondor calls a domain USER_HOST_CLUSTER.PROCESS.
        return [
            (ad.stem.rpartition("_")[2], ad.with_suffix(".console"))
            for ad in sorted(DOMAINS.glob("*.ad"))
            if ad.with_suffix(".console").is_file() and name.search(ad.read_text())
        ]

    def _look(self, id_: str) -> None:
        self.seen.add(id_)
        # It may have looked by itself in between.
        call("condor_suspend", id_, check=False)
