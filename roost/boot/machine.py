"""What a test boot needs of a machine, whichever hypervisor runs it: its start; then a session tells the rest.

`roost.boot.kvm` is QEMU with HTCondor's hardware, `roost.boot.xen` a domain of a real Xen. Evidence, verdict and report
know neither.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from roost.boot.session import Session
from roost.boot.start import Listening


class Start(Protocol):
    """Starts a machine, stopped, and gives its session: console, events, end; it is gone when the block is left."""

    def __call__(
        self,
        listening: Listening,
        /,
    ) -> AbstractAsyncContextManager[Session]:
        """Start it. Raises `QemuError`, in its own words, when the hypervisor does not start it."""
        ...
