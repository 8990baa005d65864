"""What a finished root file system must and must not contain: the job, the recipe's files and users."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from roost.host.guestfs import Guest, Stat
from roost.recipe.customize import File
from roost.recipe.model import Recipe
from roost.recipe.words import shown
from roost.verify.texts import Wrong, text

_WANTS = "/etc/systemd/system/multi-user.target.wants/roost-job.service"
_OPENRC = "/etc/runlevels/default/roost-job"
_RUNNER = "/usr/lib/roost/job"


def job(guest: Guest, recipe: Recipe) -> Iterator[str]:
    """Yield what keeps the recipe's job from running."""
    if recipe.job is None:
        return
    runner = guest.stat(_RUNNER)
    if runner is None or not runner.size or not runner.mode & 0o100:
        yield f"the job runner {_RUNNER} is missing, empty or not executable"
    command = text(guest, "/etc/roost/job/command")
    if command is None or command.rstrip("\n") != recipe.job.command:
        yield f"/etc/roost/job/command is not the recipe's '{shown(recipe.job.command)}'"
    inittab = text(guest, "/etc/inittab") or ""
    started = any(guest.lstat(link) is not None and guest.exists(link) for link in (_WANTS, _OPENRC))
    if not started and not any(_RUNNER in line for line in inittab.splitlines() if not line.startswith("#")):
        yield "nothing starts the job: no unit is enabled, and no line of /etc/inittab names it"


def first_boot(guest: Guest, recipe: Recipe) -> Iterator[str]:
    """Yield what keeps the first boot's commands from running, or shows that they have already run."""
    for number, command in enumerate(recipe.first_boot, 1):
        path = f"/etc/roost/first-boot/{number:03}"
        if text(guest, path) != f"{command}\n":
            yield f"{path} is not the recipe's '{shown(command)}'"
    if recipe.first_boot and recipe.seal and guest.exists("/var/lib/roost/first-boot"):
        yield "/var/lib/roost/first-boot says that the first boot is done"


def users(guest: Guest, recipe: Recipe) -> Iterator[str]:
    """Yield which accounts or keys of the recipe are missing."""
    accounts = {line.split(":")[0]: line.split(":") for line in (text(guest, "/etc/passwd") or "").splitlines()}
    for user in recipe.users:
        account = accounts.get(user.name)
        if account is None or len(account) < 7:
            yield f"there is no account '{user.name}'"
        elif user.ssh_keys and not (text(guest, f"{account[5]}/.ssh/authorized_keys") or "").strip():
            yield f"the account '{user.name}' has no authorized keys"


def files(guest: Guest, recipe: Recipe) -> Iterator[str]:
    """Yield which files of the recipe are missing or wrong; `run` may have changed their content."""
    last = {entry.path: number for number, entry in enumerate(recipe.files)}
    for number in last.values():
        entry = recipe.files[number]
        wrong = _file(guest, entry, exact=not recipe.run)
        if wrong:
            yield Wrong(f"{shown(entry.path)} {wrong}", ("files", number, "path"))


def _file(guest: Guest, entry: File, *, exact: bool) -> str | None:
    seen = guest.lstat(entry.path)
    if seen is None or not exact:
        return "is missing" if seen is None else None
    if stat.S_ISLNK(seen.mode) and (entry.directory or entry.source is not None):
        # A tree may have links in place of directories (/lib): the recipe's files are then in their targets.
        behind = guest.stat(entry.path)
        seen = behind if behind is not None and stat.S_ISDIR(behind.mode) else seen
    if not _right_kind(guest, entry, seen):
        return f"is not a link to {shown(entry.link)}" if entry.link is not None else "has another type"
    if (seen.uid, seen.gid) != (entry.owner, entry.group):
        return f"belongs to {seen.uid}:{seen.gid}, not to {entry.owner}:{entry.group}"
    if entry.mode is not None and stat.S_ISREG(seen.mode) and stat.S_IMODE(seen.mode) != int(entry.mode, 8):
        return f"has mode {stat.S_IMODE(seen.mode):04o}, not {entry.mode}"
    wanted = None if entry.content is None else entry.content.encode()
    if wanted is not None and (seen.size != len(wanted) or guest.read(entry.path, len(wanted)) != wanted):
        return "has other content"
    return None


def _right_kind(guest: Guest, entry: File, seen: Stat) -> bool:
    if entry.link is not None:
        return stat.S_ISLNK(seen.mode) and guest.readlink(entry.path) == entry.link
    if entry.directory:
        return stat.S_ISDIR(seen.mode)
    return stat.S_ISREG(seen.mode) or (entry.source is not None and stat.S_ISDIR(seen.mode))
