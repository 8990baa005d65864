"""What the first build and the first test boot on a host wait for, prepared while a shared layer is made.

Making a layer keeps one core busy, and nothing else can start before it is done. Meanwhile libguestfs' appliance is
booted and saved, and the speed of emulation is measured: both are cached for the host.
"""

from __future__ import annotations

import contextlib

from roost.boot import accelerator
from roost.host import guestfs, temporary
from roost.pipeline import context
from roost.recipe.loader import Loaded


def prepare(loaded: Loaded) -> None:
    """Prepare for images with the disks of a recipe. Errors are left to the steps that need what is not ready."""
    with contextlib.suppress(Exception), temporary.directory("ahead") as logs:
        # The builds need the appliance before the test boots need the measurement.
        guestfs.prepare(len(loaded.recipe.disks), accelerator=context.accelerator().kind, log=logs / "appliance.log")
    if "kvm" in loaded.recipe.hypervisors:
        with contextlib.suppress(Exception):
            accelerator.choose("auto")
