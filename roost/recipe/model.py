"""The recipe's model: what an image is made of, frozen, every key checked.

Field names are the keys of a recipe file. Sizes are bytes, times seconds (`roost.recipe.quantities`).
The loader turns a validation error here into `file:line:column: what (hint)`.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self
from uuid import UUID, uuid5

from pydantic import Field, StringConstraints, field_validator, model_validator

from roost.recipe.base import AbsolutePath, Line, Model, Name, octal_mode
from roost.recipe.boot_test import BootTest
from roost.recipe.quantities import Duration, Size

MiB = 1 << 20

#: UUIDs of file systems and disks are derived from names under this one, so that the same recipe gives the same bytes.
NAMESPACE = UUID("6a2f0c36-6d3c-5d0c-9b5e-0c6f1d8e2a11")

Hypervisor = Literal["kvm", "xen"]
FileSystem = Literal["ext4", "ext3", "ext2", "vfat", "squashfs", "erofs", "xfs", "btrfs", "swap"]
DiskFormat = Literal["raw", "qcow2"]
Placement = Literal["included", "external", "both"]


class Debian(Model):
    """Source `debian`: a tree installed by mmdebstrap from a signed archive."""

    suite: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9.+-]*$")]
    #: `full` installs and configures; `unpacked` only unpacks the packages named (no dpkg, no maintainer scripts).
    variant: Literal["full", "unpacked"] = "full"
    packages: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9+.:~=/-]*$")], ...] = ()
    components: tuple[Name, ...] = ("main",)
    #: None is mmdebstrap's default for the suite: the archive, its updates and its security archive.
    mirror: Annotated[str, StringConstraints(pattern=r"^(https?|file|copy)://?[^\s\"'<>]+$")] | None = None
    architecture: Literal["amd64"] = "amd64"
    #: Paths of packages that are left out of the tree (dpkg's path-exclude patterns).
    exclude: tuple[AbsolutePath, ...] = ()


class Tree(Model):
    """Source `tree`: a folder that becomes the root file system."""

    path: str


class Tarball(Model):
    """Source `tarball`: a tar archive of a root tree, plain or packed, or a container image (docker save, OCI)."""

    path: str | None = None
    url: Annotated[str, StringConstraints(pattern=r"^(https?|file)://[^\s\"'<>]+$")] | None = None
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")] | None = None

    @field_validator("url")
    @classmethod
    def _no_secret(cls, value: str | None) -> str | None:
        if value is not None and "@" in value.split("://", 1)[1].split("/", 1)[0]:
            raise ValueError("a recipe holds no passwords: fetch the file yourself and name its path")
        return value

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        named = [key for key in ("path", "url") if getattr(self, key) is not None]
        if len(named) != 1:
            raise ValueError(f"a source has exactly one of path, url; here: {', '.join(named) or 'none'}")
        if self.url is not None and self.sha256 is None:
            raise ValueError("what comes by url needs its sha256: add it")
        return self


class ExistingImage(Tarball):
    """Source `image`: a qcow2 or raw image that exists; edited on a copy, never in place."""

    format: DiskFormat | None = None


class Os(Model):
    """Where the root tree comes from: exactly one of the sources."""

    debian: Debian | None = None
    tree: Tree | None = None
    tarball: Tarball | None = None
    image: ExistingImage | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        named = [key for key in ("debian", "tree", "tarball", "image") if getattr(self, key) is not None]
        if len(named) != 1:
            raise ValueError(f"os is exactly one of debian, tree, tarball, image; here: {', '.join(named) or 'none'}")
        return self


class Kernel(Model):
    """Which kernel of kernels/*.yaml, where it goes, and how its initrd is made."""

    #: None: `debian` in a tree of the archive; the kernel that a tree, tarball or image brings, else `debian-cloud`.
    use: Name | None = None
    placement: Placement = "included"
    #: `distribution` runs initramfs-tools in a tree of the archive, and is the one that any other tree brings;
    #: `busybox` packs busybox and just the drivers needed. None: the first that is to be had.
    initrd: Literal["distribution", "busybox"] | None = None
    #: The suite of Debian's archive that the kernel for a tree or tarball comes from; None: the tree's own, if it is
    #: Debian's, else bookworm.
    suite: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9.+-]*$")] | None = None
    #: Added to the kernel's command line, after root=, ro and the consoles.
    parameters: tuple[Annotated[str, StringConstraints(pattern=r"^[!-~]+$")], ...] = ()


class File(Model):
    """A file, folder or link put into the image."""

    path: AbsolutePath
    content: str | None = None
    source: str | None = None
    template: str | None = None
    link: Line | None = None
    directory: bool = False
    mode: str | None = None
    owner: int = Field(default=0, ge=0, le=65535)
    group: int = Field(default=0, ge=0, le=65535)

    @field_validator("mode", mode="before")
    @classmethod
    def _mode_is_text(cls, value: Any) -> Any:
        return octal_mode(value)

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        named = [key for key in ("content", "source", "template", "link") if getattr(self, key) is not None]
        if self.directory:
            named.append("directory")
        if len(named) != 1:
            listed = ", ".join(named) or "none"
            raise ValueError(f"a file has exactly one of content, source, template, link, directory; here: {listed}")
        return self


class User(Model):
    """An account; locked unless a key is given, never with a password in the recipe."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]*$", max_length=32)]
    ssh_keys: tuple[str, ...] = ()
    shell: AbsolutePath = "/bin/sh"
    groups: tuple[Name, ...] = ()


class Services(Model):
    """systemd units to enable and to disable."""

    enable: tuple[Name, ...] = ()
    disable: tuple[Name, ...] = ()


class Job(Model):
    """What the guest runs once, and what it does then."""

    command: Line
    timeout: Duration = Field(default=4 * 3600.0, gt=0)
    then: Literal["poweroff", "stay"] = "poweroff"


class Partition(Model):
    """A partition, or the whole of a disk without partitions."""

    mount: AbsolutePath | None = None
    filesystem: FileSystem = "ext4"
    #: Exactly one of the two: `free` is what must be free after filling, `size` the whole.
    free: Size | None = Field(default=None, ge=0)
    size: Size | None = Field(default=None, ge=64 * 1024)
    label: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=16)] | None = None
    uuid: UUID | None = None

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.free is not None and self.size is not None:
            raise ValueError("free and size exclude each other: free grows with the content, size is fixed")
        if self.filesystem == "swap" and self.mount is not None:
            raise ValueError("swap is not mounted: leave mount out")
        if self.filesystem == "swap" and self.size is None:
            raise ValueError("swap needs a size")
        return self


class Disk(Model):
    """One disk: partitions, or one bare file system (then the keys of a partition stand here)."""

    name: Name
    format: DiskFormat = "raw"
    compress: Literal["none", "zstd", "zlib"] = "none"
    table: Literal["mbr", "gpt"] = "mbr"
    partitions: tuple[Partition, ...] = ()
    filesystem: FileSystem | None = None
    mount: AbsolutePath | None = None
    size: Size | None = Field(default=None, ge=64 * 1024)
    free: Size | None = Field(default=None, ge=0)
    label: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=16)] | None = None
    device: Annotated[str, StringConstraints(pattern=r"^[a-z]+[0-9]*$")] | None = None
    readonly: bool = False
    role: Literal["io"] | None = None

    @field_validator("name")
    @classmethod
    def _no_iso(cls, value: str) -> str:
        # htcondor: libvirt_simple_script.awk makes a CD-ROM of every disk with `iso` in its path.
        if "iso" in value:
            raise ValueError("'iso' in a disk's name makes HTCondor attach it as a CD-ROM")
        return value

    @model_validator(mode="after")
    def _bare_or_partitioned(self) -> Self:
        if self.partitions and (self.filesystem or self.mount or self.size or self.free):
            raise ValueError(
                "a disk has partitions, or is one bare file system with filesystem, mount, size or free; not both"
            )
        if not self.partitions and self.filesystem is None:
            raise ValueError("a disk needs partitions, or a filesystem of its own")
        if self.role == "io" and (self.partitions or self.filesystem not in {"ext4", "vfat"}):
            raise ValueError("an io disk is one bare ext4 or vfat file system")
        return self

    @property
    def areas(self) -> tuple[Partition, ...]:
        """The file systems of the disk: its partitions, or the one bare file system."""
        if self.partitions:
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

    memory: Size = Field(default=1024 * MiB, ge=32 * MiB)
    cpus: int = Field(default=1, ge=1, le=1024)
    network: Literal["none", "nat", "bridge", "user"] = "none"
    #: The network card's address; `auto` gives each job its own, None leaves it to libvirt.
    mac: str | None = None
    #: A screen that VNC shows; without one the machine has no graphics card at all.
    vnc: bool = False

    @field_validator("mac")
    @classmethod
    def _unicast(cls, value: str | None) -> str | None:
        if value is None or value == "auto":
            return value
        if not re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", value):
            raise ValueError(f"'{value}' is no address: write auto, or six pairs such as 52:54:00:12:34:56")
        if int(value[:2], 16) & 1:
            raise ValueError(f"'{value}' is a multicast address, which libvirt refuses: make the first pair even")
        return value.lower()

    @model_validator(mode="after")
    def _mac_of_network(self) -> Self:
        if self.mac is not None and self.network == "none":
            raise ValueError("mac is the address of a network card: set network, or leave mac out")
        return self


class Submit(Model):
    """What the submit description says beyond what follows from the image."""

    #: `files`: HTCondor transfers them from the folder; `shared`: every machine sees the folder; or a URL of it.
    transfer: str = "files"
    #: Names of the disks that come back.
    returns: tuple[Name, ...] = Field(default=(), alias="return")
    #: Further commands, word for word.
    commands: dict[str, str] = Field(default_factory=dict)
    #: Attributes of the job's ad (`+Name`): text becomes a ClassAd string, numbers and booleans stay what they are.
    attributes: dict[str, str | bool | int | float] = Field(default_factory=dict)
    #: Further files that the job needs beside its disks: names in the folder, absolute paths, URLs.
    inputs: tuple[Annotated[str, StringConstraints(pattern=r"^[^\s,\"'\x00]+$")], ...] = ()
    #: Let HTCondor checkpoint the machine; every disk must then be on a shared file system.
    checkpoint: bool = False
    #: Nothing comes back: HTCondor empties the sandbox when the machine has ended.
    no_output: bool = False
    #: Which kernel a xen machine starts, where the image has it both ways.
    xen_kernel: Literal["included", "files"] = "included"
    #: Added to the job's timeout before a job that never ends is removed: transfers and boot take their time too.
    margin: Duration = Field(default=1800.0, ge=0)
    #: HTCondor's name of the machine's architecture, None for the one of the source.
    architecture: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")] | None = None

    @field_validator("transfer")
    @classmethod
    def _known_transfer(cls, value: str) -> str:
        if value not in {"files", "shared"} and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", value):
            raise ValueError(
                f"'{value}' is no way to transfer: write files, shared, or a URL such as osdf:///pool/images"
            )
        return value

    @field_validator("commands", mode="before")
    @classmethod
    def _commands_are_text(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: _as_command(command) for name, command in value.items()}

    @field_validator("commands")
    @classmethod
    def _one_line(cls, value: dict[str, str]) -> dict[str, str]:
        for name, command in value.items():
            if not re.fullmatch(r"(\+|[Mm][Yy]\.)?[A-Za-z0-9_]+", name):
                raise ValueError(f"{name!r} is no name of a submit command")
            if not command.isprintable() or command.rstrip().endswith("\\"):
                raise ValueError(f"the value of {name} must be one line of printable characters, without \\ at its end")
        return value

    @field_validator("attributes")
    @classmethod
    def _attribute_names(cls, value: dict[str, str | bool | int | float]) -> dict[str, str | bool | int | float]:
        for name, content in value.items():
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
                raise ValueError(f"{name!r} is no name of an attribute: letters, digits and _ only")
            if isinstance(content, str) and not content.isprintable():
                raise ValueError(f"the value of {name} must be one line of printable characters")
        return value

    @model_validator(mode="after")
    def _output_or_not(self) -> Self:
        if self.no_output and self.returns:
            raise ValueError("no_output empties the sandbox before the disks of `return` could come back")
        return self


def _as_command(value: Any) -> Any:
    """Return a command's value as HTCondor writes it: YAML's booleans and numbers as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


class Recipe(Model):
    """A whole recipe, merged and resolved."""

    name: Name
    description: Line = ""
    os: Os
    kernel: Kernel = Kernel()
    hostname: Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$")] | None = None
    timezone: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_+/-]+$")] = "UTC"
    locale: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.@-]+$")] = "C.UTF-8"
    files: tuple[File, ...] = ()
    users: tuple[User, ...] = ()
    services: Services = Services()
    run: tuple[str, ...] = ()
    job: Job | None = None
    disks: Annotated[tuple[Disk, ...], Field(min_length=1)]
    machine: Machine = Machine()
    hypervisors: Annotated[tuple[Hypervisor, ...], Field(min_length=1)] = ("kvm",)
    submit: Submit = Submit()
    boot_test: BootTest = BootTest()

    @model_validator(mode="after")
    def _one_root(self) -> Self:
        roots = [disk.name for disk in self.disks for area in disk.areas if area.mount == "/"]
        if len(roots) != 1:
            raise ValueError(f"exactly one file system is mounted on /; here: {', '.join(roots) or 'none'}")
        return self

    @property
    def busybox_initrd(self) -> bool:
        """Whether the initrd is, or may turn out to be, roost's own of busybox."""
        return self.kernel.initrd == "busybox" or (self.kernel.initrd is None and self.os.debian is None)

    @property
    def busybox_mount(self) -> bool:
        """Whether the guest's mount(8) is, or may be, busybox', which finds no file system by its partition's UUID."""
        return self.os.debian is None or self.os.debian.variant == "unpacked"

    @property
    def root_disk(self) -> Disk:
        """The disk whose file system is mounted on /."""
        return next(disk for disk in self.disks if any(area.mount == "/" for area in disk.areas))

    @property
    def io_disk(self) -> Disk | None:
        """The disk with role io, if there is one."""
        return next((disk for disk in self.disks if disk.role == "io"), None)

    def uuid_of(self, *parts: str) -> UUID:
        """Return the UUID that belongs to a part of this image, always the same for the same names."""
        return uuid5(NAMESPACE, "/".join((self.name, *parts)))
