"""The settings of an existing image: host name, network, fstab, and the job's start under its own init."""

from __future__ import annotations

import re
from collections.abc import Iterator

from roost.customize import fstab_reader, overlay
from roost.customize.fstab import fstab as lines_of
from roost.customize.overlay import Item
from roost.errors import ImageError
from roost.existing import fstab as mounts
from roost.existing.editor import Editor

#: Programs that configure a network by themselves, which roost's settings would otherwise do.
_NETWORKS = ("/usr/sbin/NetworkManager", "/etc/netplan", "/etc/network/interfaces", "/usr/bin/cloud-init")
_NETWORKD = "/usr/lib/systemd/systemd-networkd"
#: A link that starts a service in OpenRC's default runlevel.
OPENRC_JOB = "/etc/runlevels/default/roost-job"


def settings(editor: Editor) -> Iterator[Item]:
    """Yield host name, time zone, locale and network as for a tree; settings not in the recipe are kept."""
    own = ["/etc/fstab"]
    if "locale" not in editor.recipe.model_fields_set:
        own.append("/etc/default/locale")
    if any(editor.exists(path) for path in _NETWORKS) or not editor.exists(_NETWORKD):
        own.append("/etc/systemd")
    for item in overlay.system_items(editor.recipe):
        if not any(item.path == path or item.path.startswith(f"{path}/") for path in own):
            yield item
    if "locale" in editor.recipe.model_fields_set and editor.guest.exists("/etc/locale.conf"):
        yield Item("/etc/locale.conf", 0o644, f"LANG={editor.recipe.locale}\n".encode())
    if "timezone" in editor.recipe.model_fields_set and editor.recipe.timezone == "UTC":
        yield Item("/etc/localtime", 0o777, link="/usr/share/zoneinfo/UTC")
    yield fstab(editor)
    yield from (Item(mount, 0o755) for mount in overlay.mounted_elsewhere(editor.recipe) if not editor.exists(mount))


def fstab(editor: Editor) -> Item:
    """Return the image's fstab with the recipe's disks."""
    uuids = {}
    text = editor.read("/etc/fstab") or ""
    for line in fstab_reader.read(text):
        number = re.fullmatch(r"/dev/(?:sd|vd|xvd|hd)a(\d*)", line.source)
        if number:
            uuid = editor.guest.blkid(f"/dev/sda{number[1]}").get("UUID")
            uuids.update({line.source: uuid} if uuid else {})
    added = "".join(line for line in lines_of(editor.recipe).splitlines(keepends=True) if not line.startswith("#"))
    fitted = mounts.fit(text, editor.system.absent, uuids, added)
    editor.notes += fitted.notes
    return Item("/etc/fstab", 0o644, fitted.text.encode("utf-8", "surrogateescape"))


def job(editor: Editor, init: str) -> Iterator[Item]:
    """Yield the job's runner and its start under the image's own init."""
    if editor.recipe.first_boot and init != "systemd":
        what = "first_boot in an existing image needs systemd, which starts it before the job"
        raise ImageError(what, where=editor.loaded.where(("first_boot",)), hint="use `run`, or have the job do it")
    if editor.recipe.job is None:
        if init == "systemd":
            yield from overlay.job_items(editor.recipe, systemd=True)
        return
    own = {item.path for item in overlay.init_items(editor.recipe)}
    items = overlay.job_items(editor.recipe, systemd=init == "systemd")
    inittab = editor.read("/etc/inittab") or ""
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
            "nothing would start the job: the image's init is not systemd, OpenRC, sysvinit or busybox",
            hint="leave `job` out and start it yourself, or use another image",
        )
