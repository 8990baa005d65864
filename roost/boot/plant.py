"""A script planted on the throw-away layer of an image's root disk, run instead of the system's init.

The kernel starts it as /sbin/init, independent of the initrd and the boot loader. The script for a root shell is here:
no password is needed, no service runs, no job starts. The image below is only read.
"""

from __future__ import annotations

import re
import shlex
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roost.boot.backends import DiskPlace
from roost.condor.hardware import Hardware
from roost.errors import ImageError
from roost.host import guestfs
from roost.host.accelerator import Kind
from roost.host.guestfs import Guest, GuestfsError
from roost.host.guestfs_calls import NO_FILES

#: The label of the disk with input and output files (ext4: at most 16 bytes).
LABEL = "roost-files"
#: The system's init, the directory that it is moved to, and its path there: busybox requires the name init.
INIT, ASIDE = "/sbin/init", "/sbin/init.image"
KEPT = f"{ASIDE}/init"
#: The job's command, which its unit requires, its runner, and the replacement of the runner.
_JOB, _RUNNER = "/etc/roost/job/command", "/usr/lib/roost/job"
_NO_JOB = b"#!/bin/sh\n# The job does not begin by itself here. job.image is the image's own.\nexit 0\n"
#: Seconds in which the layer must be written.
DEADLINE = 300.0

_SCRIPT = """\
#!/bin/sh
# inv shell: a root shell in a machine that is thrown away. /sbin/init.image/init is the image's own.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM={term} LANG=C.UTF-8
umask 022
for one in "proc proc /proc" "sysfs sysfs /sys" "devtmpfs devtmpfs /dev" "tmpfs tmpfs /run" "tmpfs tmpfs /tmp"; do
	set -- $one
	mount -t "$1" "$2" "$3" 2>/dev/null
done
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts 2>/dev/null
mount -t tmpfs tmpfs /dev/shm 2>/dev/null
mount -o remount,rw /
mount -a 2>/dev/null
hostname -F /etc/hostname 2>/dev/null
ip link set lo up 2>/dev/null
echo 3 >/proc/sys/kernel/printk 2>/dev/null
files=
for disk in /dev/vd? /dev/sd? /dev/xvd? /dev/hd?; do
	[ -b "$disk" ] || continue
	# The label of an ext file system (ext4's superblock, s_volume_name).
	[ "$(dd if="$disk" bs=1 skip=1144 count={length} 2>/dev/null)" = {label} ] || continue
	mkdir -p /run/files
	mount -t ext4 "$disk" /run/files && files=/run/files
done
if [ -n "$files" ]; then
	export ROOST_INPUT=/run/files/input ROOST_OUTPUT=/run/files/output
	cd "$ROOST_INPUT"
else
	cd /root 2>/dev/null || cd /
fi
shell=/bin/sh
export SHELL="$shell" PS1='root@'{name}':$PWD# '
# A terminal of its own: Ctrl-C ends a command, not the shell.
printf '\\n%s\\n' {greeting}
[ -z "$files" ] || printf '%s\\n' "$ROOST_INPUT has what came in; what is in $ROOST_OUTPUT goes out"
setsid -c "$shell" -c 'stty rows {rows} cols {columns} sane 2>/dev/null; exec "$SHELL" -i' \\
	</dev/ttyS0 >/dev/ttyS0 2>&1
{copies}cd /
if [ -n "$files" ]; then
	: >"$files/job.log"
	echo '{{"state": "finished", "exit_code": 0, "signal": null}}' >"$files/status.json"
	umount "$files"
fi
sync
# All file systems read-only, then off (Documentation/admin-guide/sysrq.rst).
echo u >/proc/sysrq-trigger
sleep 1
echo o >/proc/sysrq-trigger
sleep 5
poweroff -f 2>/dev/null || busybox poweroff -f
sleep 100
"""


@dataclass(frozen=True, slots=True)
class Terminal:
    """The user's terminal: its type, rows and columns."""

    type: str
    rows: int
    columns: int


def script(name: str, terminal: Terminal, outputs: Sequence[str] = ()) -> str:
    """Return the script of the machine `name`; `outputs` are paths of the guest that are copied out at its end."""
    term = terminal.type if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,30}", terminal.type) else "vt100"
    copies = "".join(f'[ -z "$files" ] || cp -a {shlex.quote(path)} "$ROOST_OUTPUT/" || sleep 2\n' for path in outputs)
    return _SCRIPT.format(
        term=term,
        label=shlex.quote(LABEL),
        length=len(LABEL),
        name=shlex.quote(re.sub(r"[^A-Za-z0-9._-]", "_", name)),
        greeting=shlex.quote("root, in a machine that is thrown away; `exit` ends it"),
        rows=max(1, min(terminal.rows, 999)),
        columns=max(1, min(terminal.columns, 999)),
        copies=copies,
    )


@dataclass(frozen=True, slots=True)
class Planted:
    """A script instead of the system's init; the image must have one of the programs `needs`.

    Without one it is refused, with `hint`. `system` means that the script continues with the system's own init: then
    the image's job does not start by itself.
    """

    text: str
    needs: tuple[str, ...] = ()
    hint: str = ""
    system: bool = False


def plant(
    shape: Hardware,
    places: Mapping[str, DiskPlace],
    planted: Planted,
    *,
    accelerator: Kind,
    log: Path,
    root: str | None = None,
) -> None:
    """Install the script as the system's init, on the layers of a machine's disks.

    `root` is the UUID of the root file system, None: the one that has /sbin/init. Raises `ImageError` for an image
    without one, or without what is needed.
    """
    layers = [place.layer for disk in shape.disks if (place := places[disk.target]).layer is not None]
    with guestfs.open_writable(
        [(layer, "qcow2") for layer in layers], accelerator=accelerator, log=log, deadline=DEADLINE
    ) as guest:
        for device, kind in sorted(guest.filesystems().items()):
            if kind in NO_FILES or (root is not None and guest.blkid(device).get("UUID", "").lower() != root.lower()):
                continue
            if _planted(guest, device, planted):
                return
    raise ImageError(f"the image has no {INIT} to start a shell in place of", hint="inv boot --interactive")


def _planted(guest: Guest, device: str, planted: Planted) -> bool:
    try:
        guest.mount(device)
    except GuestfsError:
        return False
    try:
        found = guest.lstat(INIT)
        if found is None:
            return False
        if planted.needs and not any(_program(guest, path) for path in planted.needs):
            raise ImageError(f"the image has no {planted.needs[0]}", hint=planted.hint)
        guest.call("mkdir_p", f"{ASIDE}/run")
        if stat.S_ISLNK(found.mode):
            # It is one directory deeper then.
            target = str(guest.call("readlink", INIT))
            guest.call("ln_s", target if target.startswith("/") else f"../{target}", KEPT)
            guest.remove(INIT)
        else:
            guest.call("mv", INIT, KEPT)
        _write(guest, INIT, planted.text.encode())
        if planted.system:
            _without_job(guest)
        return True
    finally:
        guest.unmount_all()


def _program(guest: Guest, path: str) -> bool:
    try:
        return bool(guest.call("is_file", path, followsymlinks=True))
    except GuestfsError:
        return False


def _without_job(guest: Guest) -> None:
    """Move the job away: its unit requires the command, and other systems start the runner unconditionally."""
    if guest.lstat(_JOB) is not None:
        guest.call("mv", _JOB, f"{_JOB}.image")
    if guest.lstat(_RUNNER) is not None:
        guest.call("mv", _RUNNER, f"{_RUNNER}.image")
        _write(guest, _RUNNER, _NO_JOB)


def _write(guest: Guest, path: str, content: bytes) -> None:
    guest.write(path, content)
    guest.call("chmod", 0o755, path)
