"""Hypervisors: their names in recipes and submit descriptions."""

from __future__ import annotations

from typing import Literal

Hypervisor = Literal["kvm", "xen"]
