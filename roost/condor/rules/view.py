"""One job of a description as the rules see it: expanded commands, disks, transfers, the boot disk."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from roost.condor.submit.description import Description, Job
from roost.condor.submit.expression import as_bool
from roost.condor.submit.macros import Expander
from roost.condor.submit.source_text import Traced, is_quoted
from roost.condor.vm_disk import DiskItem, scan
from roost.errors import Location


@dataclass(frozen=True, slots=True)
class Command:
    """A command with its expanded value, never empty. `unknown`: part of the value is decided at submit time."""

    name: str
    value: Traced

    @property
    def text(self) -> str:
        """The expanded value."""
        return self.value.text

    @property
    def where(self) -> Location:
        """The location where the value begins."""
        return self.value.at()

    @property
    def unknown(self) -> bool:
        """Whether part of the value is only known at submit time, or ($$) when a machine is matched."""
        return self.value.unknown or "$$(" in self.text


@dataclass(frozen=True, slots=True)
class Transfer:
    """One item of transfer_input_files: as written, and its name in the sandbox."""

    text: str
    where: Location

    @property
    def is_url(self) -> bool:
        """Whether a file transfer plugin fetches it."""
        return "://" in self.text

    @property
    def scheme(self) -> str:
        """The URL's scheme in lower case, or an empty string."""
        return self.text.partition("://")[0].lower() if self.is_url else ""

    @property
    def is_contents(self) -> bool:
        """Whether the contents of a whole directory are transferred (`dir/`)."""
        return self.text.endswith("/") and not self.is_url

    @property
    def name(self) -> str:
        """The basename; a URL's query is cut off."""
        path = self.text.partition("?")[0].partition("#")[0] if self.is_url else self.text
        return path.rstrip("/").rpartition("/")[2]


@dataclass
class JobView:
    """One job as the rules see it: expanded commands, disks, transfers."""

    description: Description
    job: Job
    expander: Expander
    cache: dict[str, Command | None] = field(default_factory=dict)

    def get(self, *names: str) -> Command | None:
        """Return the first of these commands that has a value, or None. Aliases come after the name."""
        for name in names:
            if name not in self.cache:
                entry = self.job.entry(name)
                value = self.expander.expand(entry.value).strip() if entry else None
                # "vm_memory = $(X)" may expand to nothing, or be unknown.
                self.cache[name] = Command(name, value) if entry and value and (value.text or value.unknown) else None
                if entry:
                    self.expander.used.add(name.lower())
            if self.cache[name]:
                return self.cache[name]
        return None

    def constant(self, *names: str) -> bool:
        """Return whether the first of these commands that is set has no macro, so that all jobs have the same value."""
        entry = next((entry for name in names if (entry := self.job.entry(name))), None)
        varies = entry is not None and self.job.queue is not None and entry.name in self.job.queue.variables
        return entry is not None and not varies and "$" not in entry.value.text

    def place_of(self, name: str) -> Location:
        """Return the location of a command, even an empty one; else the end of the description."""
        entry = self.job.entry(name)
        if entry:
            return entry.where
        if self.job.queue:
            line = self.job.queue.line.at()
            return Location(line.file, line.line, 1)
        return self.description.end

    def boolean(self, *names: str) -> bool:
        """Return a boolean command as condor_submit evaluates it; false when unset, wrong or unknown."""
        command = self.get(*names)
        return command is not None and not command.unknown and as_bool(command.text) is True

    @cached_property
    def is_vm(self) -> bool:
        """Whether the job is for the vm universe, or may be because part of the text is not known."""
        universe = self.get("universe", "JobUniverse")
        if universe is None:
            return self.description.incomplete
        return universe.unknown or universe.text.lower() == "vm" or universe.text.startswith("13")

    @cached_property
    def hypervisor(self) -> str | None:
        """`kvm` or `xen`, or None when vm_type is neither."""
        vm_type = self.get("vm_type", "JobVMType")
        kind = vm_type.text.lower() if vm_type and not vm_type.unknown else ""
        return kind if kind in ("kvm", "xen") else None

    @cached_property
    def disks(self) -> tuple[DiskItem, ...]:
        """The items of vm_disk that are not empty, with offsets into its value."""
        command = self.get("vm_disk")
        if not command or not self.hypervisor:
            return ()
        return tuple(item for item in scan(command.text) if item.text)

    @cached_property
    def usable_disks(self) -> tuple[DiskItem, ...]:
        """The disks with a file, a device and a permission; others never reach libvirt."""
        return tuple(item for item in self.disks if len(item.fields) in (3, 4) and all(f.text for f in item.fields[:3]))

    @cached_property
    def boot_disk(self) -> DiskItem | None:
        """The disk that the firmware or pygrub tries to boot, if any.

        libvirt sorts the disks of one bus by letter and leaves different buses in vm_disk's order; HTCondor's
        script makes every path with `iso` a CD, and CDs are not booted.
        """
        disks = [item for item in self.usable_disks if not is_cd(item)]
        if not disks:
            return None
        first = bus_of(disks[0])
        same = [item for item in disks if bus_of(item) == first]
        return min(same, key=lambda item: (len(item.fields[1].text), item.fields[1].text))

    def disk_place(self, offset: int) -> Location:
        """Return the location of offset `offset` in vm_disk's value."""
        command = self.get("vm_disk")
        return command.value.at(offset) if command else self.place_of("vm_disk")

    @cached_property
    def transfers(self) -> tuple[Transfer, ...]:
        """The items of transfer_input_files; enclosing double quotes are removed, as by HTCondor 24.12."""
        return _listed(self.get("transfer_input_files", "TransferInput"))

    @cached_property
    def outputs(self) -> tuple[Transfer, ...]:
        """The items of transfer_output_files."""
        return _listed(self.get("transfer_output_files", "TransferOutput"))

    @cached_property
    def transfers_known(self) -> bool:
        """Whether the description determines all names in the sandbox."""
        command = self.get("transfer_input_files", "TransferInput")
        contents = any(transfer.is_contents for transfer in self.transfers)
        kept = self.boolean("preserve_relative_paths") and any("/" in transfer.text for transfer in self.transfers)
        return not (command and command.unknown) and not contents and not kept and self.makes_inputs is None

    @cached_property
    def makes_inputs(self) -> str | None:
        """The attribute that names a program which can put files into the sandbox before the machine starts, if any.

        Such programs are +PreCmd (HTCondor manual, vm universe) and the prepare hooks that +HookKeyword selects.
        """
        return self._set("MY.PreCmd", "MY.HookKeyword", "hook_keyword")

    @cached_property
    def makes_outputs(self) -> str | None:
        """The attribute that names a program which can leave files in the sandbox, before or after the machine."""
        return self.makes_inputs or self._set("MY.PostCmd")

    def _set(self, *names: str) -> str | None:
        command = self.get(*names)
        empty = command is None or command.text.lower() in ("", '""', "undefined")
        return None if empty or command is None else command.name.replace("MY.", "+")

    @cached_property
    def sandbox(self) -> frozenset[str]:
        """The names that transfer_input_files puts into the sandbox."""
        return frozenset(transfer.name for transfer in self.transfers)

    def transferred(self, path: str) -> bool:
        """Return whether a file of this name is in the sandbox (HTCondor compares basenames)."""
        return path.rpartition("/")[2] in self.sandbox

    def maybe_transferred(self, path: str) -> bool:
        """Return whether a file of this name is, or could be, in the sandbox."""
        return not self.transfers_known or self.transferred(path)


def is_cd(item: DiskItem) -> bool:
    """Return whether HTCondor's script makes this disk a CD-ROM."""
    return "iso" in item.fields[0].text


def bus_of(item: DiskItem) -> str:
    """Return the bus prefix of a disk's device: vd, sd, hd, xvd, or an empty string."""
    match = re.match(r"[a-z]*?d(?=[a-z])", item.fields[1].text)
    return match.group() if match else ""


def _listed(command: Command | None) -> tuple[Transfer, ...]:
    if not command:
        return ()
    value = command.value
    if is_quoted(value.text):
        value = value.cut(1, len(value.text) - 1)
    return tuple(Transfer(part.text, part.at()) for part in _parts(value) if part.text)


def _parts(value: Traced) -> Iterator[Traced]:
    start = 0
    for piece in value.text.split(","):
        yield value.cut(start, start + len(piece)).strip()
        start += len(piece) + 1
