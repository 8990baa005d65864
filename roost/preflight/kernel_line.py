"""The kernel's command line: parameters that do not reach the kernel, and more of them than it takes."""

from __future__ import annotations

from collections.abc import Iterator

from roost.errors import Problem
from roost.recipe.cmdline import RESERVE, command_line, refusal, too_long
from roost.recipe.loader import Loaded

#: An existing image's root is known once it is edited; it is as long as this one, or longer.
_ANY_ROOT = "root=UUID=00000000-0000-0000-0000-000000000000"


def problems(loaded: Loaded) -> Iterator[Problem]:
    """Yield every parameter that grub.cfg cannot pass on, and a problem if the whole line is too long."""
    recipe = loaded.recipe
    by_grub = recipe.kernel.placement != "external"
    if by_grub and not recipe.edited:
        # The boot loader of an existing image is its own; a kernel beside the image has condor.placement's check.
        for number, parameter in enumerate(recipe.kernel.parameters):
            refused = refusal(parameter, pygrub="xen" in recipe.hypervisors)
            if refused is not None:
                yield loaded.problem(("kernel", "parameters", number), *refused)
    # Beside the image, each hypervisor has a line of its own, and that of xen the lower limit.
    alone = ("xen",) if "xen" in recipe.hypervisors else recipe.hypervisors
    line = command_line(recipe, recipe.hypervisors if by_grub else alone, _ANY_ROOT)
    refused = too_long(recipe, line, RESERVE if by_grub else 0)
    if refused is not None:
        yield loaded.problem(("kernel", "parameters"), *refused)
