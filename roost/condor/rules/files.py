"""Rules about the files that a description names: format, backing file, state, size, mode.

They are applied by `roost.condor.disk_images`, where the files are available.
"""

from __future__ import annotations

from roost.condor.rules.model import Effect, Severity, Stage, rule

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_OK, _HASVM = Effect.OK, Effect.HASVM_FALSE
_IMAGE = "docs/vm-universe.md, section 4, error 12: what is not a clean image of the declared format is a libvirt error"

FILE_MISSING = rule(
    "file-missing", _W, _OK, hint="submit from the directory that has it; a missing input holds the job (code 13)",
    source="docs/vm-universe.md, section 3: condor_submit does not check whether files exist",
)  # fmt: skip
FILE_UNREADABLE = rule(
    "file-unreadable", _E, Effect.HELD, stage=Stage.INPUT, hint="chmod 0644",
    source="docs/vm-universe.md, section 3: publish disks with mode 0644; condor-pool: mode 0000 holds with code 13",
)  # fmt: skip
FILE_READONLY = rule(
    "file-readonly", _E, _HASVM, hint="chmod 0644, or declare the disk r",
    source="docs/condor-pool.md: a disk with mode 0444 and `w` is refused by QEMU",
)  # fmt: skip
FILE_EMPTY = rule(
    "file-empty", _W, _OK, hint="build the disk again", source="a disk of no bytes holds nothing to boot or to mount"
)
BACKING_MISSING = rule(
    "backing-missing", _E, _HASVM, hint="add the backing file to transfer_input_files",
    source="docs/vm-universe.md, section 3: list every qcow2 backing file; a missing one fails",
)  # fmt: skip
BACKING_ABSOLUTE = rule(
    "backing-absolute", _E, _HASVM, hint="qemu-img rebase -u -b NAME -F FORMAT, with a relative name",
    source="docs/vm-universe.md, section 3: a relative backing file works, an absolute one fails",
)  # fmt: skip
BACKING_FORMAT = rule(
    "backing-format", _W, _OK, hint="qemu-img rebase -u -b NAME -F FORMAT",
    source="docs/vm-universe.md, section 3: qemu-img create -b needs -F; libvirt probes no format",
)  # fmt: skip
BACKING_MISMATCH = rule(
    "backing-mismatch", _E, _HASVM, hint="qemu-img rebase -u -b NAME -F FORMAT, with the format of the base",
    source="docs/vm-universe.md, section 3: libvirt and QEMU open a base as the format that the overlay says",
)  # fmt: skip
BACKING_LOOP = rule("backing-loop", _E, _HASVM, hint="build the overlay again, on its base", source=_IMAGE)
FILE_KIND = rule(
    "file-kind", _E, _HASVM, hint="name the disk's file",
    source="QEMU, block/file-posix.c: a disk of driver file is a regular file",
)  # fmt: skip
ENCRYPTED = rule("encrypted", _E, _HASVM, hint="convert it to a plain qcow2: nobody can give the key", source=_IMAGE)
CORRUPT = rule("image-corrupt", _E, _HASVM, hint="qemu-img check -r all, or build it again", source=_IMAGE)
DIRTY = rule("image-dirty", _W, _OK, hint="qemu-img check -r all", source=_IMAGE)
DATA_FILE = rule("data-file", _E, _HASVM, hint="convert it to a qcow2 of one file", source=_IMAGE)
REQUEST_DISK_THIN = rule(
    "request-disk-thin", _W, _OK, hint="give request_disk at least the sum of the virtual sizes",
    source="docs/vm-universe.md, section 1: request_disk defaults to file sizes and vm_memory; a thin image grows",
)  # fmt: skip
REQUEST_DISK_SMALL = rule(
    "request-disk-small", _W, _OK, hint="give request_disk at least the sum of the virtual sizes",
    source="docs/vm-universe.md, section 1: emit request_disk from virtual sizes",
)  # fmt: skip
NOT_CHECKED = rule("file-not-checked", _N, _OK, hint="apt-get install qemu-utils", source="qemu-img was not run")
