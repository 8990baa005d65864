"""A recipe's additions to its tree, as one tar: files, templates, links, the job, fstab, grub.cfg.

It is made on the host, where the sources are; `roost.customize.apply` unpacks it in the build's namespace.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath

import roost
from roost.customize import templates
from roost.customize.fstab import fstab
from roost.errors import ImageError
from roost.host import files as host_files
from roost.recipe.customize import File
from roost.recipe.loader import Loaded
from roost.recipe.model import Recipe


@dataclass(frozen=True, slots=True)
class Item:
    """One name in the image: a file's bytes, a link's target, or a directory."""

    path: str
    mode: int
    data: bytes | None = None
    source: Path | None = None
    link: str | None = None
    owner: int = 0
    group: int = 0


def guest_file(name: str) -> bytes:
    """Return a file of roost's guest side."""
    return (resources.files("roost.guest") / name).read_bytes()


def init_items(recipe: Recipe) -> Iterator[Item]:
    """Yield what makes busybox the init of an image; an existing image keeps its own."""
    inittab = guest_file("inittab")
    if recipe.first_boot:
        # init waits for it, and starts the job afterwards.
        inittab = inittab.replace(b"::once:", b"::wait:/usr/lib/roost/first-boot\n::once:", 1)
    yield Item("/etc/inittab", 0o644, inittab)
    for name in ("start", "watch", "power-off"):
        yield Item(f"/usr/lib/roost/{name}", 0o755, guest_file(name))
    # The path where busybox' acpid looks for the action of this key.
    yield Item("/etc/acpi/PWRF/00000080", 0o755, guest_file("power-button"))


def job_items(recipe: Recipe, *, systemd: bool) -> Iterator[Item]:
    """Yield the job runner, its configuration, and what starts it."""
    if not systemd:
        yield from init_items(recipe)
    if recipe.first_boot or recipe.job is not None or not systemd:
        yield Item("/usr/lib/roost/common", 0o644, guest_file("common"))
    yield from _first_boot(recipe, systemd=systemd)
    job = recipe.job
    if job is None:
        return
    conf = "/etc/roost/job"
    yield Item("/usr/lib/roost/job", 0o755, guest_file("job"))
    # The command is in a separate file, not in a script, unit or command line, so it needs no quoting.
    yield Item(f"{conf}/command", 0o644, f"{job.command}\n".encode())
    yield Item(f"{conf}/timeout", 0o644, f"{max(1, round(job.timeout))}\n".encode())
    yield Item(f"{conf}/then", 0o644, f"{job.then}\n".encode())
    yield Item(f"{conf}/version", 0o644, f"{roost.__version__}\n".encode())
    # Always written: a tree or an existing image may have the label of another recipe's io disk.
    label = recipe.io_disk.areas[0].label if recipe.io_disk is not None else ""
    yield Item(f"{conf}/label", 0o644, f"{label}\n".encode())
    if systemd:
        units = "/etc/systemd/system"
        yield Item(f"{units}/roost-job.service", 0o644, guest_file("roost-job.service"))
        yield Item(f"{units}/multi-user.target.wants/roost-job.service", 0o777, link="../roost-job.service")
        if job.then == "poweroff":
            yield Item(f"{units}/roost-job.service.d/poweroff.conf", 0o644, guest_file("poweroff.conf"))
        # An existing image may wait for its network without limit.
        if recipe.machine.network != "none" and not recipe.edited:
            yield Item(f"{units}/roost-job.service.d/network.conf", 0o644, guest_file("network.conf"))


def _first_boot(recipe: Recipe, *, systemd: bool) -> Iterator[Item]:
    """Yield the commands of the first boot, what runs them, and what makes the job wait for them."""
    units = "/etc/systemd/system"
    if recipe.cloud_init is not None:
        yield Item("/etc/roost/cloud-init", 0o644, b"")
    if not recipe.first_boot:
        return
    yield Item("/usr/lib/roost/first-boot", 0o755, guest_file("first-boot"))
    # Each is in a separate file, so it needs no quoting.
    for number, command in enumerate(recipe.first_boot, 1):
        yield Item(f"/etc/roost/first-boot/{number:03}", 0o644, f"{command}\n".encode())
    if systemd:
        yield Item(f"{units}/roost-first-boot.service", 0o644, guest_file("roost-first-boot.service"))
        yield Item(
            f"{units}/multi-user.target.wants/roost-first-boot.service", 0o777, link="../roost-first-boot.service"
        )
        if recipe.machine.network != "none":
            path = f"{units}/roost-first-boot.service.d/network.conf"
            yield Item(path, 0o644, guest_file("network.conf"))


def system_items(recipe: Recipe) -> Iterator[Item]:
    """Yield the common settings: fstab, host name, locale, time zone, and the network if the machine has one."""
    name = recipe.hostname or "roost"
    yield Item("/etc/fstab", 0o644, fstab(recipe).encode())
    yield Item("/etc/hostname", 0o644, f"{name}\n".encode())
    yield Item("/etc/hosts", 0o644, f"127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n::1\tlocalhost ip6-localhost\n".encode())
    yield Item("/etc/default/locale", 0o644, f"LANG={recipe.locale}\n".encode())
    if recipe.timezone != "UTC":
        yield Item("/etc/localtime", 0o777, link=f"/usr/share/zoneinfo/{recipe.timezone}")
        yield Item("/etc/timezone", 0o644, f"{recipe.timezone}\n".encode())
    if recipe.machine.network != "none":
        # HTCondor's machine calls its card eth0, ens3 or enp1s0, depending on the version of libvirt.
        text = "[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n"
        yield Item("/etc/systemd/network/80-roost.network", 0o644, text.encode())
        yield Item(
            "/etc/systemd/system/multi-user.target.wants/systemd-networkd.service",
            0o777,
            link="/usr/lib/systemd/system/systemd-networkd.service",
        )
        if not recipe.edited:
            yield from _online()


def _online() -> Iterator[Item]:
    """Yield what makes network-online.target wait for an address: with networkd's own service, but not for long."""
    unit = "systemd-networkd-wait-online.service"
    yield Item(f"/etc/systemd/system/network-online.target.wants/{unit}", 0o777, link=f"/usr/lib/systemd/system/{unit}")
    yield Item(f"/etc/systemd/system/{unit}.d/roost.conf", 0o644, guest_file("wait-online.conf"))


def file_items(loaded: Loaded, kernel_version: str) -> Iterator[Item]:
    """Yield the recipe's files; raise `RecipeError` for all templates that do not render."""
    texts = templates.rendered(loaded, kernel_version)
    for entry in loaded.recipe.files:
        mode = int(entry.mode, 8) if entry.mode else None
        if entry.template is not None:
            yield _item(entry, mode or 0o644, texts[entry.template].encode())
        elif entry.content is not None:
            yield _item(entry, mode or 0o644, entry.content.encode())
        elif entry.link is not None:
            yield Item(entry.path, 0o777, link=entry.link, owner=entry.owner, group=entry.group)
        elif entry.directory:
            yield Item(entry.path, mode or 0o755, owner=entry.owner, group=entry.group)
        elif entry.source is not None:
            yield from _copied(entry, loaded.directory / entry.source, mode)


def mounted_elsewhere(recipe: Recipe) -> list[str]:
    """Return the mount points of disks other than the root's, if the root is an existing image's."""
    return [area.mount for disk in recipe.disks for area in disk.areas if area.mount is not None]


def below(path: str, mounts: Sequence[str]) -> bool:
    """Return whether a path is on one of these mounts."""
    return any(path == mount or path.startswith(f"{mount}/") for mount in mounts)


def _item(entry: File, mode: int, data: bytes) -> Item:
    return Item(entry.path, mode, data, owner=entry.owner, group=entry.group)


def _copied(entry: File, source: Path, mode: int | None) -> Iterator[Item]:
    """Yield a local file, or a directory with its content, with the recipe's mode, or the default of `_mode`."""
    if not source.is_dir():
        chosen = mode if mode is not None else _mode(source)
        yield Item(entry.path, chosen, source=source, owner=entry.owner, group=entry.group)
        return
    for directory, directories, files in _listed(source):
        directories.sort()
        here = PurePosixPath(entry.path) / Path(directory).relative_to(source).as_posix()
        yield Item(str(here), 0o755, owner=entry.owner, group=entry.group)
        for name in sorted([*files, *(name for name in directories if Path(directory, name).is_symlink())]):
            path = Path(directory, name)
            if path.is_symlink():
                target = os.fspath(path.readlink())
                yield Item(str(here / name), 0o777, link=target, owner=entry.owner, group=entry.group)
            elif path.is_file():
                chosen = mode if mode is not None else _mode(path)
                yield Item(str(here / name), chosen, source=path, owner=entry.owner, group=entry.group)
            else:
                raise ImageError(
                    f"{path} is neither a file, a directory nor a link", hint="remove it from the directory"
                )


def _mode(source: Path) -> int:
    """Return the mode of a copied file: whether it may be executed is all that git keeps, whatever the umask.

    Its mode is read, since access(2) depends on the user, and on the options of the mount.
    """
    return 0o755 if source.stat().st_mode & 0o111 else 0o644


def _listed(source: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    try:
        yield from host_files.walk(source)
    except OSError as error:
        refused = Path(os.fsdecode(error.filename or source))
        raise ImageError(host_files.unreadable(refused, error), hint=host_files.remedy(refused)) from error


def write(items: Sequence[Item], output: Path, epoch: int) -> None:
    """Write items as a tar, in order: a later one replaces an earlier one of the same path."""
    with tarfile.open(output, "w", format=tarfile.PAX_FORMAT) as tar:
        for item in items:
            info = tarfile.TarInfo(item.path.lstrip("/") or ".")
            info.mode, info.uid, info.gid, info.mtime = item.mode, item.owner, item.group, epoch
            if item.link is not None:
                info.type, info.linkname = tarfile.SYMTYPE, item.link
                tar.addfile(info)
            elif item.source is not None:
                with host_files.open_regular(item.source) as file:
                    info.size = os.fstat(file.fileno()).st_size
                    tar.addfile(info, file)
            elif item.data is not None:
                info.size = len(item.data)
                tar.addfile(info, io.BytesIO(item.data))
            else:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
