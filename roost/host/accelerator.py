"""The accelerator of libguestfs' appliance: KVM where a real kernel boots under it, else TCG; probed on demand."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Literal

Kind = Literal["kvm", "tcg"]


class ApplianceAccelerator:
    """An answer that may take seconds: threads share it, and the first caller that needs it waits for the probe."""

    def __init__(self, probe: Callable[[], Kind]) -> None:
        self._probe = probe
        self._lock = Lock()
        self._kind: Kind | None = None

    @property
    def kind(self) -> Kind:
        """The accelerator; raises what the probe raises."""
        return self.find()

    def find(self) -> Kind:
        """Return the accelerator. To save time, a thread can start the probe before the result is needed."""
        with self._lock:
            if self._kind is None:
                self._kind = self._probe()
            return self._kind


def known(kind: Kind) -> ApplianceAccelerator:
    """Return an accelerator that needs no probe."""
    return ApplianceAccelerator(lambda: kind)
