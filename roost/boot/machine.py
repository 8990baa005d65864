"""The interface between a test boot and the hypervisor: starting a machine, which yields its session.

`roost.boot.kvm` is QEMU with HTCondor's hardware, `roost.boot.xen` a domain of a real Xen. Evidence, verdict and report
do not depend on either.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol

from roost.boot.session import Session
from roost.boot.start import Listening


class Start(Protocol):
    """Starts a machine, stopped, and yields its session: console, events, end; it is gone when the block is left."""

    def __call__(
        self,
        listening: Listening,
        /,
    ) -> AbstractAsyncContextManager[Session]:
        """Start it. Raises `QemuError`, with the hypervisor's message, when it does not start."""
        ...
