"""What libguestfs' appliance runs under: KVM where a real kernel boots under it, else TCG; probed once, when asked."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Literal

Kind = Literal["kvm", "tcg"]


class ApplianceAccelerator:
    """An answer that may take seconds to get: threads share it, and the first that asks waits for the probe."""

    def __init__(self, probe: Callable[[], Kind]) -> None:
        self._probe = probe
        self._lock = Lock()
        self._kind: Kind | None = None

    @property
    def kind(self) -> Kind:
        """The answer; raises what the probe raises."""
        return self.find()

    def find(self) -> Kind:
        """Return the answer. What takes seconds can be done in a thread, before it is asked for."""
        with self._lock:
            if self._kind is None:
                self._kind = self._probe()
            return self._kind


def known(kind: Kind) -> ApplianceAccelerator:
    """Return an accelerator that needs no probe."""
    return ApplianceAccelerator(lambda: kind)
