"""The recipe's model: the contents of an image, frozen, every key checked.

Field names are the keys of a recipe file. Sizes are bytes, times seconds (`roost.recipe.quantities`).
The loader turns a validation error here into `file:line:column: what (hint)`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self
from uuid import UUID, uuid5

from pydantic import Field, StringConstraints, field_validator, model_validator
from pydantic.fields import FieldInfo

from roost.recipe.base import AbsolutePath, DiskFormat, Line, Model, Name
from roost.recipe.boot_test import BootTest
from roost.recipe.customize import CloudInit, Command, File, Job, Run, Services, User
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.os import SOURCES, Os
from roost.recipe.quantities import Size
from roost.recipe.source import Source
from roost.recipe.submit import Submit

MiB = 1 << 20

#: The namespace of the UUIDs of file systems and disks, so that the same recipe gives the same bytes.
NAMESPACE = UUID("6a2f0c36-6d3c-5d0c-9b5e-0c6f1d8e2a11")

FileSystem = Literal["ext4", "ext3", "ext2", "vfat", "squashfs", "erofs", "xfs", "btrfs", "swap"]
Placement = Literal["included", "external", "both"]


class Kernel(Model):
    """The kernel of kernels/*.yaml to use, where it goes, and how its initrd is made."""

    #: The name of a kernel in kernels/*.yaml. Default: `debian` in a tree installed from an archive, any other tree's
    #: own kernel, else `debian-cloud`.
    use: Name | None = None
    #: In the image with a boot loader (`included`), as files beside it (`external`), or `both`.
    placement: Placement = "included"
    #: `distribution` runs initramfs-tools in a tree from an archive, and keeps the initrd that any other tree has;
    #: `busybox` packs busybox and only the drivers needed. Default: the first that is available.
    initrd: Literal["distribution", "busybox"] | None = None
    #: The Debian suite that provides the kernel for a tree or tarball; default: the tree's own suite if it is Debian's,
    #: else bookworm.
    suite: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9.+-]*$")] | None = None
    #: Added to the kernel's command line, after root=, ro and the consoles; it has at most 2047 bytes, under xen 1023.
    parameters: tuple[Annotated[str, StringConstraints(pattern=r"^[!-~]+$")], ...] = ()


class Partition(Model):
    """A partition, or the whole of a disk without partitions."""

    #: The mount point in the guest; without it, the partition is not mounted.
    mount: AbsolutePath | None = None
    #: The file system to create; `swap` has no files.
    filesystem: FileSystem = "ext4"
    #: The free space required after filling; not with `size`.
    free: Size | None = Field(default=None, ge=0)
    #: The total size; not with `free`.
    size: Size | None = Field(default=None, ge=64 * 1024)
    #: The file system's label.
    label: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=16)] | None = None
    #: The file system's UUID; default: derived from the names of the recipe and the disk.
    uuid: UUID | None = None

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.free is not None and self.size is not None:
            raise ValueError("free and size cannot be used together: free grows with the content, size is fixed")
        if self.filesystem == "swap" and self.mount is not None:
            raise ValueError("swap is not mounted: leave mount out")
        if self.filesystem == "swap" and self.size is None:
            raise ValueError("swap needs a size")
        return self


class Disk(Model):
    """One disk: partitions, or one bare file system (then the keys of a partition are given here).

    The root disk of an existing image may have neither: it keeps the image's layout, and `size` enlarges it.
    """

    #: The file name without the extension; it must not contain `iso`.
    name: Name
    #: The format of the file. Xen always gets raw disks.
    format: DiskFormat = "raw"
    #: The compression of the clusters of a qcow2.
    compress: Literal["none", "zstd", "zlib"] = "none"
    #: The type of partition table.
    table: Literal["mbr", "gpt"] = "mbr"
    #: The partitions, in their order on the disk.
    partitions: tuple[Partition, ...] = ()
    #: For a disk without partitions: the file system to create.
    filesystem: FileSystem | None = None
    #: For a disk without partitions: the mount point in the guest.
    mount: AbsolutePath | None = None
    #: For a disk without partitions: the total size. For an existing image: the size to grow to.
    size: Size | None = Field(default=None, ge=64 * 1024)
    #: For a disk without partitions: the free space required after filling.
    free: Size | None = Field(default=None, ge=0)
    #: For a disk without partitions: the file system's label.
    label: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=16)] | None = None
    #: The device in vm_disk; default: vda, vdb … for kvm and xvda, xvdb … for xen, in the order of `disks`.
    device: Annotated[str, StringConstraints(pattern=r"^[a-z]+[0-9]*$")] | None = None
    #: The guest cannot write to the disk.
    readonly: bool = False
    #: `io`: the job's own disk, which the guest looks for. `seed`: the disk made by `cloud_init`.
    role: Literal["io", "seed"] | None = None
    #: For an existing image: the disk holds only the differences, with the image itself as its base.
    overlay: bool = False

    @field_validator("name")
    @classmethod
    def _no_iso(cls, value: str) -> str:
        # HTCondor's libvirt_simple_script.awk makes every disk with `iso` in its path a CD-ROM.
        if "iso" in value:
            raise ValueError("'iso' in a disk's name makes HTCondor attach it as a CD-ROM")
        return value

    @model_validator(mode="after")
    def _bare_or_partitioned(self) -> Self:
        if self.partitions and (self.filesystem or self.mount or self.size or self.free):
            raise ValueError(
                "a disk has partitions, or is one bare file system with filesystem, mount, size or free; not both"
            )
        if self.existing and (self.mount or self.free is not None or self.label):
            raise ValueError("a disk needs partitions, or a filesystem of its own")
        if self.overlay and not self.existing:
            raise ValueError("overlay is for the disk of an existing image, which has no partitions or filesystem here")
        if self.overlay and self.format != "qcow2":
            raise ValueError("an overlay is qcow2: a raw disk has no base")
        if self.role == "io" and (self.partitions or self.filesystem not in {"ext4", "vfat"}):
            raise ValueError("an io disk is one bare ext4 or vfat file system")
        return self

    @property
    def existing(self) -> bool:
        """Whether the disk keeps the layout of an existing image, because the recipe gives none."""
        return not self.partitions and self.filesystem is None

    @property
    def areas(self) -> tuple[Partition, ...]:
        """The file systems of the disk: its partitions, or the one bare file system; empty for an existing layout."""
        if self.partitions or self.existing:
            return self.partitions
        return (
            Partition(
                mount=self.mount,
                filesystem=self.filesystem or "ext4",
                size=self.size,
                free=self.free,
                label=self.label or (self.name[:16] if self.role == "io" else None),
            ),
        )


class Machine(Model):
    """The virtual machine: memory in bytes, CPUs, network, screen."""

    #: The memory of the machine, which the job requests (vm_memory, request_memory).
    memory: Size = Field(default=1024 * MiB, ge=32 * MiB)
    #: The number of processors (vm_vcpus, request_cpus).
    cpus: int = Field(default=1, ge=1, le=1024)
    #: The type of network (vm_networking_type), or none for a machine without a network card.
    network: Literal["none", "nat", "bridge", "user"] = "none"
    #: The network card's MAC address; `auto` gives each job its own. Default: libvirt chooses.
    mac: str | None = None
    #: A screen accessible by VNC; without it the machine has no graphics card.
    vnc: bool = False

    @field_validator("mac")
    @classmethod
    def _unicast(cls, value: str | None) -> str | None:
        if value is None or value == "auto":
            return value
        if not re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", value):
            raise ValueError(f"'{value}' is not an address: write auto, or six pairs such as 52:54:00:12:34:56")
        if int(value[:2], 16) & 1:
            raise ValueError(f"'{value}' is a multicast address, which libvirt refuses: make the first pair even")
        return value.lower()

    @model_validator(mode="after")
    def _mac_of_network(self) -> Self:
        if self.mac is not None and self.network == "none":
            raise ValueError("mac is the address of a network card: set network, or leave mac out")
        return self


class Recipe(Model):
    """A whole recipe, merged and resolved."""

    #: The image's name: of its directory, its release, its submit descriptions.
    name: Name
    #: One line for lists and catalogues.
    description: Line = ""
    #: The source of the root tree.
    os: Os
    #: The kernel, and where it goes.
    kernel: Kernel = Kernel()
    #: The guest's host name; default: roost.
    hostname: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$")] | None = None
    #: A time zone such as Europe/Berlin; the tree needs tzdata.
    timezone: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+/-]+$")] = "UTC"
    #: A locale such as de_DE.UTF-8; all but C.UTF-8 need the package locales.
    locale: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.@-]+$")] = "C.UTF-8"
    #: Files, directories and links to add to the tree, in this order.
    files: tuple[File, ...] = ()
    #: Accounts in addition to those of the tree.
    users: tuple[User, ...] = ()
    #: Units that start at boot, or do not.
    services: Services = Services()
    #: Commands run in the tree during the build, in this order, after all other steps; services are not started.
    run: tuple[Run, ...] = ()
    #: Commands that a machine runs once, at its first boot, before the job.
    first_boot: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = ()
    #: A NoCloud seed, on a separate small disk.
    cloud_init: CloudInit | None = None
    #: Remove identity and traces from the image: machine-id, host keys, logs, leases, passwords.
    seal: bool = True
    #: The machine's job; without one the machine keeps running.
    job: Job | None = None
    #: The disks, in the order of vm_disk; the one with / boots.
    disks: Annotated[tuple[Disk, ...], Field(min_length=1)]
    #: The virtual hardware that the job requests.
    machine: Machine = Machine()
    #: The hypervisors that the image is made for: kvm, xen.
    hypervisors: Annotated[tuple[Hypervisor, ...], Field(min_length=1)] = ("kvm",)
    #: Additions to the submit description that roost derives from the image.
    submit: Submit = Submit()
    #: What the test boot must show.
    boot_test: BootTest = BootTest()

    @field_validator("hypervisors")
    @classmethod
    def _hypervisors(cls, value: tuple[Hypervisor, ...]) -> tuple[Hypervisor, ...]:
        # Lists append: a recipe may repeat a hypervisor of its base.
        return tuple(dict.fromkeys(value))

    @model_validator(mode="after")
    def _one_root(self) -> Self:
        roots = [disk.name for disk in self.disks for area in disk.areas if area.mount == "/"]
        existing = [disk.name for disk in self.disks if disk.existing]
        if existing and not self.os.source.is_disk:
            raise ValueError(f"disk {existing[0]} needs partitions, or a filesystem of its own")
        if len(roots) + len(existing) != 1:
            listed = ", ".join([*roots, *existing]) or "none"
            raise ValueError(f"exactly one file system is mounted on /; here: {listed}")
        return self

    @property
    def busybox_initrd(self) -> bool:
        """Whether the initrd is, or may turn out to be, roost's own with busybox."""
        return self.kernel.initrd == "busybox" or (self.kernel.initrd is None and not self.os.source.installs)

    @property
    def busybox_mount(self) -> bool:
        """Whether the guest's mount(8) is, or may be, busybox's, which cannot mount by PARTUUID."""
        return self.os.source.busybox_mount

    @property
    def root_disk(self) -> Disk:
        """The disk whose file system is mounted on /, or that of an existing image, which contains its own."""
        return next(disk for disk in self.disks if disk.existing or any(area.mount == "/" for area in disk.areas))

    @property
    def edited(self) -> bool:
        """Whether the image is made by editing an existing one, not by writing a tree to new disks."""
        return self.root_disk.existing

    @property
    def commands(self) -> tuple[Command, ...]:
        """The commands of `run`, each with its options."""
        return tuple(Command(command=one) if isinstance(one, str) else one for one in self.run)

    @property
    def io_disk(self) -> Disk | None:
        """The disk with role io, if there is one."""
        return next((disk for disk in self.disks if disk.role == "io"), None)

    def uuid_of(self, *parts: str) -> UUID:
        """Return the UUID of a part of this image, always the same for the same names."""
        return uuid5(NAMESPACE, "/".join((self.name, *parts)))


def add_source(key: str, source: type[Source]) -> None:
    """Register a further source for `os`: `key`, with the keys of its model."""
    if key not in SOURCES:
        SOURCES[key] = source
        optional: Any = source | None
        Os.model_fields[key] = FieldInfo(annotation=optional, default=None)
        Os.model_rebuild(force=True)
        Recipe.model_rebuild(force=True)
