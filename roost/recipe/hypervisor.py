"""What virtual machines run under: the names that recipes and submit descriptions have for it."""

from __future__ import annotations

from typing import Literal

Hypervisor = Literal["kvm", "xen"]
