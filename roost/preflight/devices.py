"""Device names in the recipe's fstab, grub.cfg or kernel parameters: each hypervisor uses different ones.

docs/xen-in-qemu.md, devices a PV guest sees: xvda and so on, never sda, hda or vda; under kvm never xvda.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from roost.condor.placement import devices
from roost.customize import fstab_reader
from roost.errors import Problem
from roost.preflight.placed import Placed, content_key, placed, text
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.loader import Loaded
from roost.recipe.words import shown

_DEVICE = re.compile(r"/dev/(xvd|vd|sd|hd|nvme|mmcblk)[a-z0-9]+")
_PARAMETER = re.compile(r"(?:root|resume|real_root)=(/dev/\S+)")
_FSTAB = "/etc/fstab"
#: Files of GRUB and pygrub: the lines with a kernel's command line, and the device names in them.
_LOADERS = re.compile(r"/boot/grub2?/(?:grub\.cfg|menu\.lst|grub\.conf)|/boot/(?:extlinux/)?extlinux\.conf")
_COMMAND = re.compile(r"(?:^|[\s{;])(?:linux(?:16|efi)?|kernel|append)\s(.*)", re.IGNORECASE)
#: Names by the bus of a disk; a disk of a Xen PV guest is on none.
_BY_BUS = re.compile(r"/dev/disk/by-(?:path|id)/(?:pci|acpi|virtio|ata|scsi|usb|nvme)-\S+")


def problems(loaded: Loaded) -> list[Problem]:
    """Return every device name that does not exist in a machine of the recipe."""
    everything = placed(loaded)
    return [*_parameters(loaded), *_fstab(loaded, everything), *_loaders(loaded, everything)]


def _parameters(loaded: Loaded) -> Iterator[Problem]:
    for number, parameter in enumerate(loaded.recipe.kernel.parameters):
        named = _PARAMETER.fullmatch(parameter)
        wrong = _wrong(loaded, named[1]) if named else None
        if wrong is None and parameter.startswith("root=") and _sets_root(loaded):
            wrong = "roost sets root= itself"
        if wrong:
            hint = "leave it out: roost names the root by its UUID" if parameter.startswith("root") else "use UUID="
            yield loaded.problem(("kernel", "parameters", number), f"{shown(parameter)}: {wrong}", hint)


def _sets_root(loaded: Loaded) -> bool:
    """Return whether grub.cfg is roost's own; the read-back then refuses another root= in it."""
    recipe = loaded.recipe
    given = any(_LOADERS.fullmatch(one.path) for one in recipe.files)
    return not recipe.edited and recipe.kernel.placement != "external" and not given


def _fstab(loaded: Loaded, everything: Sequence[Placed]) -> Iterator[Problem]:
    for one in everything:
        if one.path != _FSTAB or one.kind != "file":
            continue
        for line in fstab_reader.read(text(loaded, one)):
            wrong = _wrong(loaded, line.source)
            if wrong:
                what = f"line {line.number} of {_FSTAB} mounts {shown(line.source)}: {wrong}"
                yield loaded.problem(content_key(loaded, one), what, "write UUID= or LABEL=")


def _loaders(loaded: Loaded, everything: Sequence[Placed]) -> Iterator[Problem]:
    if loaded.recipe.edited:
        # There such names are replaced.
        return
    for one in everything:
        if one.kind != "file" or not _LOADERS.fullmatch(one.path):
            continue
        for number, line in enumerate(text(loaded, one).splitlines(), 1):
            command = _COMMAND.search(line) if not line.lstrip().startswith("#") else None
            for word in command[1].split() if command else ():
                named = _PARAMETER.fullmatch(word.strip("\"'"))
                wrong = _wrong(loaded, named[1]) if named else None
                if wrong:
                    what = f"line {number} of {shown(one.path)} has {shown(word)}: {wrong}"
                    yield loaded.problem(content_key(loaded, one), what, "write root=UUID= or root=LABEL=")


def _wrong(loaded: Loaded, path: str) -> str | None:
    """Return why a device does not exist, or None if it does under every hypervisor of the recipe."""
    if "xen" in loaded.recipe.hypervisors and _BY_BUS.fullmatch(path):
        return "under xen there is no such name: the guest's disks are not on a bus"
    found = _DEVICE.fullmatch(path)
    if found is None:
        return None
    for hypervisor in loaded.recipe.hypervisors:
        seen = _prefixes(loaded, hypervisor)
        if found[1] not in seen:
            return (
                f"under {hypervisor} the guest has no {shown(path)}, but {' and '.join(f'/dev/{one}a' for one in seen)}"
            )
    return None


def _prefixes(loaded: Loaded, hypervisor: Hypervisor) -> list[str]:
    """Return the prefixes of the guest's disk names; IDE and SCSI disks are both sdX in Linux."""
    if hypervisor == "xen":
        return ["xvd"]
    prefixes = [re.match(r"[a-z]{2}", device) for device in devices(loaded.recipe, hypervisor).values()]
    seen = {"sd" if found[0] == "hd" else found[0] for found in prefixes if found and found[0] in {"vd", "sd", "hd"}}
    return sorted(seen) or ["vd"]
