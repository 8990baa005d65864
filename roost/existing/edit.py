"""Customising an existing image: the same files, users, services, job and commands as for a tree, through libguestfs.

The image's root is mounted in the appliance, on a layer of ours. Nothing of the image runs on this host; its own
programs run in the appliance, for `services` and `run` only.
"""

from __future__ import annotations

import fnmatch
import re
import shlex
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from roost.customize import accounts, apply, fstab_reader, overlay, passwords, sealing, ties
from roost.customize.fstab import fstab
from roost.customize.inside import Inside
from roost.customize.overlay import Item
from roost.customize.ties import Machine, Places
from roost.errors import ImageError
from roost.existing import bootconfig
from roost.existing import fstab as mounts
from roost.existing.inspection import System
from roost.host import files, process
from roost.host.guestfs import Guest, RefusedError
from roost.kernel.facts import Facts
from roost.kernel.inspect import KernelFiles, version_order
from roost.recipe.cmdline import CONSOLES
from roost.recipe.customise import User
from roost.recipe.loader import Loaded
from roost.recipe.model import Recipe
from roost.recipe.words import shown

#: The host, as libguestfs' appliance sees it (guestfs(3), guestfs_set_network).
_HOST = "169.254.2.2"
#: Seconds for all that runs of the image's own.
DEADLINE = 3600.0
_LIMIT = 4 << 20
_ENVIRONMENT = """\
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root USER=root LOGNAME=root
export SHELL=/bin/sh LANG=C.UTF-8 LC_ALL=C.UTF-8
export DEBIAN_FRONTEND=noninteractive SYSTEMD_OFFLINE=1
cd /
"""
_SYSTEMD = ("/usr/lib/systemd/systemd", "/lib/systemd/systemd")
_OPENRC = ("/sbin/openrc", "/usr/sbin/openrc", "/sbin/openrc-run")
_INITRDS = ("/boot/initrd.img-{0}", "/boot/initramfs-{0}.img", "/boot/initrd-{0}", "/boot/initramfs-{0}")
#: What brings up a network by itself, and what roost's own settings are for.
_NETWORKS = ("/usr/sbin/NetworkManager", "/etc/netplan", "/etc/network/interfaces", "/usr/bin/cloud-init")
_NETWORKD = "/usr/lib/systemd/systemd-networkd"
#: A link that starts a service in OpenRC's default runlevel.
OPENRC_JOB = "/etc/runlevels/default/roost-job"


@dataclass(frozen=True, slots=True)
class Edited:
    """What an edited image is: its root, its newest kernel if it has one, and what the person should know."""

    system: System
    root_uuid: str | None
    kernel: KernelFiles | None
    notes: tuple[str, ...]
    facts: Facts | None = None


def _proxies() -> str:
    """Return what tells commands of the host's proxies; one on the host itself is where the appliance sees the host."""
    found = {name: value for name, value in process.environment().items() if name.lower().endswith("_proxy")}
    seen = {name: re.sub(r"(?<=[/@])(localhost|127\.0\.0\.1)(?=[:/]|$)", _HOST, value) for name, value in found.items()}
    return "".join(f"export {name}={shlex.quote(value)}\n" for name, value in seen.items())


@dataclass(slots=True)
class Editor:
    """One image that is being edited; its parts are mounted."""

    loaded: Loaded
    guest: Guest
    system: System
    epoch: int
    #: A folder for what travels.
    work: Path
    log: Path
    inside: Inside = field(init=False)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inside = Inside(self.guest)

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return self.loaded.recipe

    def edit(self) -> Edited:
        """Do all that the recipe says; return what the image is then."""
        kernel = self.kernel()
        init = self.init()
        elsewhere = overlay.mounted_elsewhere(self.recipe)
        files = overlay.file_items(self.loaded, kernel.version if kernel else "")
        here = [item for item in files if not overlay.below(item.path, elsewhere)]
        self.lay([*self.settings(), *self.job(init), *here])
        hashes = passwords.hashes(self.loaded)
        for number, user in enumerate(self.recipe.users):
            self.user(number, user, hashes.get(user.name))
        self.services(init)
        self.commands()
        self.needed()
        self.console(kernel)
        self.seal(init)
        self.ties()
        uuid = self.guest.blkid(self.system.root.device).get("UUID")
        for part in self.system.parts:
            try:
                self.guest.trim(part.mount)
            except RefusedError:
                # vfat and others have nothing to say to the disk.
                continue
        return Edited(self.system, uuid, kernel, tuple(self.notes))

    def read(self, path: str) -> str | None:
        """Return a regular file's text, links followed inside of the image; None when there is none."""
        seen = self.guest.stat(path)
        if seen is None or not stat.S_ISREG(seen.mode):
            return None
        if seen.size > _LIMIT:
            raise ImageError(f"{path} of the image has {seen.size} bytes: that is no such file")
        return self.guest.read(path, seen.size).decode("utf-8", "surrogateescape")

    def write(self, path: str, text: str) -> None:
        """Write over a file, or where its link leads; it keeps its owner and mode."""
        self.guest.write(self.inside.resolve(path, last=True), text.encode("utf-8", "surrogateescape"))

    def lay(self, items: Sequence[Item]) -> None:
        """Lay items over the image, where they really go."""
        placed = self.inside.place(items)
        if placed:
            tar = self.work / "overlay.tar"
            overlay.write(placed, tar, self.epoch)
            self.guest.lay(tar)
            tar.unlink()

    def kernel(self) -> KernelFiles | None:
        """Return the image's newest kernel, by its release."""
        names = [name.removeprefix("vmlinuz-") for name in self.guest.names("/boot") if name.startswith("vmlinuz-")]
        names = [name for name in names if re.fullmatch(r"[\w.+~-]+", name) and "rescue" not in name]
        for version in sorted(names, key=version_order, reverse=True):
            seen = self.guest.stat(f"/boot/vmlinuz-{version}")
            if seen is not None and stat.S_ISREG(seen.mode):
                initrds = [name.format(version) for name in _INITRDS]
                return KernelFiles(
                    version, f"/boot/vmlinuz-{version}", next((one for one in initrds if self.guest.exists(one)), None)
                )
        return None

    def init(self) -> str:
        """Return what starts services in the image: systemd, openrc, busybox, sysv, or nothing known."""
        if any(self.guest.exists(path) for path in _SYSTEMD):
            return "systemd"
        if any(self.guest.exists(path) for path in _OPENRC):
            return "openrc"
        real = self.inside.resolve("/sbin/init", last=True)
        if PurePosixPath(real).name == "busybox":
            return "busybox"
        return "sysv" if ":initdefault:" in (self.read("/etc/inittab") or "") else ""

    def settings(self) -> Iterator[Item]:
        """Yield host name, time zone, locale and network as for a tree, what the recipe does not say left as it is."""
        own = ["/etc/fstab"]
        if "locale" not in self.recipe.model_fields_set:
            own.append("/etc/default/locale")
        if any(self.there(path) for path in _NETWORKS) or not self.there(_NETWORKD):
            own.append("/etc/systemd")
        for item in overlay.system_items(self.recipe):
            if not any(item.path == path or item.path.startswith(f"{path}/") for path in own):
                yield item
        if "locale" in self.recipe.model_fields_set and self.guest.exists("/etc/locale.conf"):
            yield Item("/etc/locale.conf", 0o644, f"LANG={self.recipe.locale}\n".encode())
        if "timezone" in self.recipe.model_fields_set and self.recipe.timezone == "UTC":
            yield Item("/etc/localtime", 0o777, link="/usr/share/zoneinfo/UTC")
        yield self.fstab()
        yield from (Item(mount, 0o755) for mount in overlay.mounted_elsewhere(self.recipe) if not self.there(mount))

    def there(self, path: str) -> bool:
        """Return whether a path is there."""
        return self.inside.kind(self.inside.resolve(path, last=True)) != ""

    def fstab(self) -> Item:
        """Return the image's fstab with the recipe's disks."""
        uuids = {}
        text = self.read("/etc/fstab") or ""
        for line in fstab_reader.read(text):
            number = re.fullmatch(r"/dev/(?:sd|vd|xvd|hd)a(\d*)", line.source)
            if number:
                uuid = self.guest.blkid(f"/dev/sda{number[1]}").get("UUID")
                uuids.update({line.source: uuid} if uuid else {})
        added = "".join(line for line in fstab(self.recipe).splitlines(keepends=True) if not line.startswith("#"))
        fitted = mounts.fit(text, self.system.absent, uuids, added)
        self.notes += fitted.notes
        return Item("/etc/fstab", 0o644, fitted.text.encode("utf-8", "surrogateescape"))

    def job(self, init: str) -> Iterator[Item]:
        """Yield the job's runner and what starts it under the image's own init."""
        if self.recipe.first_boot and init != "systemd":
            what = "first_boot in an existing image needs systemd, which starts it before the job"
            raise ImageError(what, where=self.loaded.where(("first_boot",)), hint="use `run`, or have the job do it")
        if self.recipe.job is None:
            if init == "systemd":
                yield from overlay.job_items(self.recipe, systemd=True)
            return
        own = ("/etc/inittab", "/usr/lib/roost/start", "/etc/acpi/PWRF/00000080")
        items = overlay.job_items(self.recipe, systemd=init == "systemd")
        inittab = self.read("/etc/inittab") or ""
        yield from (item for item in items if init == "systemd" or item.path not in own)
        if init == "openrc":
            yield Item("/etc/init.d/roost-job", 0o755, overlay.guest_file("roost-job.openrc"))
            yield Item(OPENRC_JOB, 0o777, link="/etc/init.d/roost-job")
        elif init in {"busybox", "sysv"}:
            runs = any("/usr/lib/roost/job" in line for line in inittab.splitlines() if not line.startswith("#"))
            line = "::once:/usr/lib/roost/job" if init == "busybox" else "rj:2345:once:/usr/lib/roost/job"
            if not runs:
                text = f"{inittab.rstrip(chr(10))}\n{line}\n".lstrip("\n")
                yield Item("/etc/inittab", 0o644, text.encode("utf-8", "surrogateescape"))
        elif init != "systemd":
            raise ImageError(
                "nothing would start the job: the image's init is none of systemd, OpenRC, sysvinit and busybox",
                hint="leave `job` out and start it yourself, or use another image",
            )

    def user(self, index: int, user: User, password: str | None) -> None:
        """Add an account with its home and keys; `index` is its place in the recipe, `password` a hash or None."""
        texts = {path: self.read(path) for path in ("/etc/passwd", "/etc/group", "/etc/shadow")}
        missing = [path for path, text in texts.items() if text is None]
        if missing:
            raise ImageError(f"the image has no {missing[0]}, and the recipe has users")
        passwd, group, shadow = (text or "" for text in texts.values())
        try:
            added = accounts.add(
                passwd,
                group,
                shadow,
                user.name,
                shell=user.shell,
                groups=user.groups,
                password=password,
                days=max(1, self.epoch // 86400),
            )
        except accounts.AccountError as error:
            where = self.loaded.where(("users", index, error.field))
            raise ImageError(str(error).replace("the tree", "the image"), where=where) from error
        if not self.there(user.shell):
            self.notes.append(f"user {user.name}: the image has no {user.shell}")
        for path, changed in zip(texts, (added.passwd, added.group, added.shadow), strict=True):
            self.write(path, changed)
        number = added.number
        items = [Item(added.home, 0o755, owner=number, group=number)]
        skeleton = self.inside.resolve("/etc/skel", last=True)
        items += [self._owned(item, number) for item in self._copies(skeleton, added.home)]
        keys = [
            line for file in user.ssh_keys for line in files.read_text(self.loaded.folder / file).splitlines() if line
        ]
        if keys:
            text = "".join(f"{line.strip()}\n" for line in keys)
            items.append(Item(f"{added.home}/.ssh", 0o700, owner=number, group=number))
            items.append(Item(f"{added.home}/.ssh/authorized_keys", 0o600, text.encode(), owner=number, group=number))
        self.lay(items)

    @staticmethod
    def _owned(item: Item, number: int) -> Item:
        return Item(item.path, item.mode, item.data, link=item.link, owner=number, group=number)

    def _copies(self, folder: str, target: str) -> Iterator[Item]:
        """Yield all below a folder of the image as items below another."""
        for name in sorted(self.guest.names(folder)):
            path, copy = f"{folder}/{name}", f"{target}/{name}"
            seen = self.guest.lstat(path)
            if seen is None:
                continue
            mode = stat.S_IMODE(seen.mode)
            if stat.S_ISLNK(seen.mode):
                yield Item(copy, 0o777, link=self.guest.readlink(path))
            elif stat.S_ISDIR(seen.mode):
                yield Item(copy, mode)
                yield from self._copies(path, copy)
            elif stat.S_ISREG(seen.mode) and seen.size <= _LIMIT:
                yield Item(copy, mode, self.guest.read(path, seen.size))

    def services(self, init: str) -> None:
        """Enable and disable services with the image's own tool."""
        for verb, units in (("enable", self.recipe.services.enable), ("disable", self.recipe.services.disable)):
            if not units:
                continue
            if init == "systemd":
                script = shlex.join(["systemctl", "--no-reload", verb, "--", *units])
            elif init == "openrc":
                names = [unit.removesuffix(".service") for unit in units]
                words = ["add", "default"] if verb == "enable" else ["del", ""]
                script = " && ".join(f"rc-update {words[0]} {shlex.quote(name)} {words[1]}" for name in names)
            else:
                raise ImageError(f"cannot {verb} {' '.join(units)}: the image has neither systemd nor OpenRC")
            self._run(script, f"cannot {verb} {' '.join(units)}: is the package that brings it installed?")

    def commands(self) -> None:
        """Run the recipe's commands; no service starts meanwhile (policy-rc.d(8)), and only who asks has the network.

        The appliance has one only if a command asks for it; its resolver is libguestfs' own meanwhile.
        """
        commands = self.recipe.commands
        if not commands:
            return
        policy = "/usr/sbin/policy-rc.d"
        mine = not self.there(policy)
        if mine:
            self.lay([Item(policy, 0o755, b"#!/bin/sh\nexit 101\n")])
        networked = any(entry.network for entry in commands)
        if networked:
            self.guest.network(False)
        for number, entry in enumerate(commands):
            failed = f"run command {number + 1} failed: {shown(entry.command)}"
            script = f"exec /bin/sh -c {shlex.quote(entry.command)}"
            if entry.network:
                self.guest.network(True)
                self._run(script, failed, _proxies())
                self.guest.network(False)
            else:
                self._run(script, failed)
        if mine:
            self.inside.forget()
            self.guest.remove(self.inside.resolve(policy, last=False))

    def _run(self, script: str, failed: str, environment: str = "") -> None:
        if not self.there("/bin/sh"):
            raise ImageError("the image has no /bin/sh, and services and run commands need one")
        status, printed = self.guest.run(_ENVIRONMENT + environment + script, DEADLINE)
        self.inside.forget()
        with self.log.open("a") as file:
            file.write(f"$ {script}\n{printed}")
        if status != 0:
            tail = "\n".join(line for line in printed.splitlines() if line.strip()) if printed else ""
            raise ImageError(
                f"{failed} (status {status})",
                hint="the recipe's services and run commands",
                log=self.log,
                tail="\n".join(tail.splitlines()[-12:]),
            )

    def needed(self) -> None:
        """Raise unless the image has what the recipe's settings lead to."""
        zone = f"/usr/share/zoneinfo/{self.recipe.timezone}"
        if self.recipe.timezone != "UTC" and not self.there(zone):
            raise ImageError(f"the image has no {zone}", hint="install tzdata with `run`, or check timezone")

    def console(self, kernel: KernelFiles | None) -> None:
        """Give the kernels of the image's own boot loader a serial console, which the verdict listens to, and the
        recipe's parameters."""
        consoles = [word for name in ("xen", "kvm") if name in self.recipe.hypervisors for word in CONSOLES[name]]
        edits = [(path, bootconfig.grub) for path in bootconfig.GRUB]
        edits += [(bootconfig.GRUB_DEFAULTS, bootconfig.grub_defaults)]
        edits += [(path, bootconfig.syslinux) for path in bootconfig.SYSLINUX]
        entries = self.guest.names(bootconfig.BLS)
        edits += [(f"{bootconfig.BLS}/{name}", bootconfig.bls) for name in sorted(entries) if name.endswith(".conf")]
        texts = {path: there for path, _ in edits if (there := self.read(path)) is not None}
        speaks = any(bootconfig.has_serial(text) for text in texts.values())
        words = [*(() if speaks and "xen" not in self.recipe.hypervisors else consoles), *self.recipe.kernel.parameters]
        loaders = [path for path in texts if path != bootconfig.GRUB_DEFAULTS]
        if not loaders and self.recipe.kernel.placement != "external":
            self.notes.append("no configuration of a boot loader that roost knows: kernel.parameters go nowhere")
        # The kernel itself knows no UUIDs: its initrd does.
        initrd = kernel is not None and kernel.initrd is not None
        uuid = self.guest.blkid(self.system.root.device).get("UUID") if initrd else None
        changed = []
        for path, edit in edits:
            if path not in texts:
                continue
            text = edit(texts[path], words) if words else texts[path]
            if uuid is not None and bootconfig.rooted(text, uuid) != text:
                text = bootconfig.rooted(text, uuid)
                self.notes.append(f"{path}: kernels find their root by its UUID now")
            if not self.recipe.machine.vnc and path in bootconfig.GRUB:
                text = bootconfig.grub_on_serial(text)
            elif not self.recipe.machine.vnc and path == bootconfig.GRUB_DEFAULTS:
                text = bootconfig.grub_defaults_on_serial(text)
            if text != texts[path]:
                self.write(path, text)
                changed.append(path)
        if loaders and changed and not speaks:
            self.notes.append(
                f"the kernel had no console on the serial line: console=ttyS0 is in {', '.join(changed)} now"
            )

    def ties(self) -> None:
        """Take out what ties the image to another machine where that is safe and the image is sealed; note the rest."""
        kept = [entry.path for entry in self.recipe.files]
        mac = self.recipe.machine.mac
        machine = Machine(
            network=self.recipe.machine.network != "none",
            mac=mac if mac != "auto" else None,
            seeded=self.recipe.cloud_init is not None,
        )
        places = Places(lambda directory: self.guest.names(self.inside.resolve(directory, last=True)), self._small)
        if self.recipe.seal:
            for path, text, note in list(ties.untie(places, machine, kept)):
                self.write(path, text)
                self.notes.append(note)
        self.notes += ties.look(places, machine, kept)
        root = self.guest.stat("/")
        if root is not None and (root.uid != 0 or stat.S_IMODE(root.mode) & 0o5 != 0o5):
            self.notes.append(
                f"the root directory of the image has mode {stat.S_IMODE(root.mode):04o} and belongs to {root.uid}:"
                f"{root.gid}: services with an account of their own may read nothing. Write `run: [chown 0:0 /,"
                " chmod 755 /]` if that is not meant"
            )
        config = self._small("/etc/selinux/config") or ""
        if re.search(r"^\s*SELINUX\s*=\s*enforcing\b", config, re.MULTILINE):
            self.notes.append(
                "/etc/selinux/config: SELinux is enforcing, and what roost adds has no labels. Label it in a `run`"
                " command (setfiles, of policycoreutils), or let SELinux only warn: kernel: {parameters: [enforcing=0]}"
            )

    def _small(self, path: str) -> str | None:
        """Return the text of a file of configuration, None when there is none or it is far too large to be one."""
        seen = self.guest.stat(path)
        if seen is None or not stat.S_ISREG(seen.mode) or seen.size > ties.MOST_BYTES:
            return None
        return self.guest.read(path, seen.size).decode("utf-8", "surrogateescape")

    def seal(self, init: str) -> None:
        """Take identity and traces out, unless the recipe says not to; as `sealing.seal` does in a tree."""
        if not self.recipe.seal:
            return
        kept = [entry.path for entry in self.recipe.files]
        if self.guest.exists(sealing.MACHINE_ID):
            self.write(sealing.MACHINE_ID, "")
        self.inside.forget()
        homes = ["/root", *(f"/home/{name}" for name in self.guest.names("/home"))]
        self._remove(sealing.ALWAYS, ())
        self._remove([*sealing.TRACES, *(f"{home}/{name}" for home in homes for name in sealing.HISTORY)], kept)
        resolver = self.guest.lstat(sealing.RESOLV_CONF)
        # A link is a resolver's own; a file has the builder's name servers.
        if resolver is not None and stat.S_ISREG(resolver.mode) and sealing.RESOLV_CONF not in kept:
            self.guest.remove(sealing.RESOLV_CONF)
        self._empty(self.inside.resolve("/var/log", last=True))
        known = [user.name for user in self.recipe.users if user.password is not None]
        shadow = self.read("/etc/shadow")
        for path, text in (("/etc/shadow", shadow), ("/etc/passwd", self.read("/etc/passwd"))):
            shadowed = path == "/etc/passwd" and shadow is not None
            if text is not None and (changed := sealing.locked(text, known, shadowed=shadowed)) != text:
                self.write(path, changed)
                self.notes.append(f"accounts had passwords: those in {path} are locked now")
        self.inside.forget()
        if init == "systemd" and self.there("/usr/sbin/sshd"):
            folder = "/etc/systemd/system"
            self.lay(
                [
                    Item(f"{folder}/roost-ssh-keys.service", 0o644, apply.SSH_KEYS_UNIT.encode()),
                    Item(
                        f"{folder}/multi-user.target.wants/roost-ssh-keys.service",
                        0o777,
                        link="../roost-ssh-keys.service",
                    ),
                ]
            )

    def _remove(self, patterns: Iterable[str], kept: Sequence[str]) -> None:
        """Remove what matches patterns whose last part alone has wildcards."""
        for pattern in patterns:
            folder, _, names = pattern.rpartition("/")
            real = self.inside.resolve(folder, last=True)
            for name in self.guest.names(real):
                if fnmatch.fnmatchcase(name, names) and not sealing.is_kept(f"{folder}/{name}", kept):
                    self.guest.remove_tree(f"{real}/{name}")
        self.inside.forget()

    def _empty(self, folder: str, depth: int = 0) -> None:
        """Remove the files below a folder, not the folders."""
        for name in self.guest.names(folder) if depth < 16 else ():
            path = f"{folder}/{name}"
            seen = self.guest.lstat(path)
            if seen is not None and stat.S_ISREG(seen.mode):
                self.guest.remove(path)
            elif seen is not None and stat.S_ISDIR(seen.mode):
                self._empty(path, depth + 1)
