"""The configuration of the domain that libvirt's xen driver makes of HTCondor's job (xl.cfg(5)), and its end. Pure.

HTCondor's script gives each disk its target and nothing else: a raw file, whatever its fourth field. libvirt passes the
target on unchanged, and the guest's name for it follows from Xen's own table (docs/xen-in-qemu.md): sda1 is xvda1.
xen_root gets lost on the way: the guest's command line is only xen_kernel_params. With `xen_kernel = included` pygrub
reads the first disk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.boot.backends import DirectKernel
from roost.condor.hardware import AttachedDisk, Hardware
from roost.condor.machine import VirtualMachine

#: Xen's reasons for the end of a domain (xen/include/public/sched.h) as QMP's terms, which the verdict reads; 4 is a
#: watchdog's.
REASONS: Mapping[int, str] = {
    0: "guest-shutdown",
    1: "guest-reset",
    2: "guest-suspend",
    3: "guest-panic",
    4: "guest-panic",
    5: "guest-reset",
}
#: The ports that report the domain's console and its end; docs/xen-in-qemu.md.
CONSOLE, CONTROL = "roost.console", "roost.control"
#: Names of the files that the first domain gets.
CONFIGURATION, KERNEL, INITRD = "domain.cfg", "vmlinuz", "initrd.img"
#: Where the first domain unpacks them, and the letter of the first disk that is passed through: its own root is vda,
#: the files are vdb.
DIRECTORY, FIRST = "/run/domain", "c"
#: The source location with which libxl and libxc start a message.
_SOURCE = re.compile(r"^\w+\.c:\d+: ?\w+: ")
#: libxc's message when a part of the domain does not fit into its memory (xg_dom_core.c, xc_dom_chk_alloc_pages).
_SMALL = re.compile(r"\bsegment \S+ too large\b")
#: Bytes of a tool's output that are kept.
_MOST = 400


def nodes(hardware: Hardware) -> dict[str, str]:
    """Return the first domain's name of each disk by its target: /dev/vdc and so on, in order."""
    letters = [chr(ord(FIRST) + number) for number in range(len(hardware.disks))]
    return {disk.target: f"/dev/vd{letter}" for disk, letter in zip(hardware.disks, letters, strict=True)}


@dataclass(frozen=True, slots=True)
class HostXen:
    """The Xen of this host: the program xl, and Xen's version, empty if unknown."""

    xl: str
    version: str = ""


@dataclass(frozen=True, slots=True)
class Names:
    """A host's names for the domain and its files: `disks` are xl's specifications, by target."""

    name: str
    disks: Mapping[str, str]
    kernel: DirectKernel | None


def target(disk: AttachedDisk, kind: str, path: str) -> str:
    """Return xl's specification of a disk: its format and its path, which comes last and may have any character."""
    return f"format={kind}, vdev={disk.target}, access={'ro' if disk.readonly else 'rw'}, target={path}"


def _inside(hardware: Hardware) -> Names:
    """Return the names used by the first domain in QEMU."""
    places = nodes(hardware)
    disks = {disk.target: target(disk, "raw", places[disk.target]) for disk in hardware.disks}
    directory = Path(DIRECTORY)
    kernel = DirectKernel(directory / KERNEL, directory / INITRD if hardware.initrd is not None else None)
    return Names("guest", disks, kernel)


def configuration(hardware: Hardware, names: Names | None = None) -> str:
    """Return the configuration of the domain for `xl create`, by default with the first domain's names."""
    names = names or _inside(hardware)
    lines = ['type = "pv"', f"name = {quoted(names.name)}", f"memory = {hardware.memory}", f"vcpus = {hardware.vcpus}"]
    if hardware.kernel is None:
        # Without -q pygrub draws a menu, but there is no terminal.
        lines += ['bootloader = "pygrub"', 'bootloader_args = [ "-q" ]']
    elif names.kernel is not None:
        lines.append(f"kernel = {quoted(str(names.kernel.kernel))}")
        lines += [f"ramdisk = {quoted(str(names.kernel.initrd))}"] if names.kernel.initrd is not None else []
        lines.append(f"cmdline = {quoted(hardware.cmdline or '')}")
    lines += ["disk = [", *(f"    {quoted(names.disks[disk.target])}," for disk in hardware.disks), "]"]
    # The ended domain is preserved: its reason and its console are read first.
    lines += [f'on_{how} = "preserve"' for how in ("poweroff", "reboot", "crash", "watchdog")]
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """Return a text as a string of xl's configuration language (tools/libs/util/libxlu_cfg.c)."""
    return '"' + "".join(_escaped(byte) for byte in text.encode("utf-8", "surrogateescape")) + '"'


def warnings(vm: VirtualMachine) -> tuple[str, ...]:
    """Return the warnings before a boot: what a job may request that a domain does not have."""
    if vm.hypervisor != "xen" or vm.network == "none":
        return ()
    return ("the test boot under Xen has no network card: a job that needs the network fails in it",)


def _escaped(byte: int) -> str:
    if chr(byte) in '"\\':
        return "\\" + chr(byte)
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}"


def reason(message: Mapping[str, Any]) -> str:
    """Return how a domain ended, in QMP's terms: only guest-shutdown is a power-off by the guest."""
    code = message.get("reason")
    return REASONS.get(code, f"guest-reason-{code}") if isinstance(code, int) else "guest-gone"


def not_started(message: Mapping[str, Any]) -> tuple[bool, str]:
    """Return whether the image is at fault for a domain that was not created (otherwise Xen refused it), and why.

    The reason is that of xl or pygrub, as reported by the first domain.
    """
    output, loader = _lines(message.get("said")), _lines(message.get("loader"))
    if any("bootloader" in line for line in output):
        # The last line of pygrub's traceback is the error.
        return True, f"pygrub: {loader[-1] if loader else 'it does not say why'}"
    invalid = [line for line in output if "no loader found" in line or "Invalid kernel" in line or "not a Xen" in line]
    if invalid:
        return True, f"Xen cannot start this kernel: {_message(invalid[-1])}"
    small = [line for line in output if _SMALL.search(line)]
    if small:
        return False, f"its memory is too small for its kernel and initrd: {_message(small[-1])}"
    errors = [line for line in output if "error" in line.lower()]
    cause = _message((errors or output or ["it does not say why"])[0])
    return False, f"xl create: {cause}"


def _message(line: str) -> str:
    """Return a message of libxl or libxc without its source location."""
    for mark in ("error: ", "panic: "):
        line = line.rpartition(mark)[2] or line
    return _SOURCE.sub("", line).strip()[:_MOST]


def _lines(text: object) -> list[str]:
    lines = text.splitlines() if isinstance(text, str) else []
    return ["".join(char if char.isprintable() else " " for char in line).strip()[:_MOST] for line in lines if line]
