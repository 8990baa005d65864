"""What a finished root file system must hold and must not: the job, the recipe's files and users, no identity."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from roost.host.guestfs import Guest, Stat
from roost.recipe.model import File, Recipe
from roost.recipe.words import shown

_WANTS = "/etc/systemd/system/multi-user.target.wants/roost-job.service"
_RUNNER = "/usr/lib/roost/job"


def head(guest: Guest, path: str, limit: int) -> bytes | None:
    """Return the first bytes of a regular file, links followed inside of the image, or None when there is none."""
    if not path.startswith("/"):
        return None
    seen = guest.stat(path)
    if seen is None or not stat.S_ISREG(seen.mode):
        return None
    return guest.read(path, min(seen.size, limit))


def text(guest: Guest, path: str, limit: int = 1 << 20) -> str | None:
    """Return a regular file's text, links followed inside of the image, or None when there is none."""
    content = head(guest, path, limit)
    return None if content is None else content.decode("utf-8", "replace")


def sealing(guest: Guest) -> Iterator[str]:
    """Yield what would make two machines of this image one, or let somebody in."""
    identity = text(guest, "/etc/machine-id")
    if identity is not None and identity.strip() not in {"", "uninitialized"}:
        yield "/etc/machine-id is not empty: every machine would be the same one"
    keys = [name for name in guest.names("/etc/ssh") if name.startswith("ssh_host_") and "_key" in name]
    if keys:
        yield f"/etc/ssh holds host keys: {', '.join(map(shown, sorted(keys)[:4]))}"
    if guest.exists("/var/lib/systemd/random-seed"):
        yield "/var/lib/systemd/random-seed is in the image: every machine would start with the same randomness"
    leases = [name for name in guest.names("/var/lib/dhcp") if name.endswith((".leases", ".lease"))]
    if leases:
        yield f"/var/lib/dhcp holds leases: {', '.join(map(shown, leases[:4]))}"
    for line in (text(guest, "/etc/shadow") or "").splitlines():
        name, _, rest = line.partition(":")
        password = rest.partition(":")[0]
        if not password.startswith(("!", "*")):
            what = "a password" if password else "an empty password"
            yield f"the account '{shown(name)}' has {what}"


def job(guest: Guest, recipe: Recipe) -> Iterator[str]:
    """Yield what keeps the recipe's job from running."""
    if recipe.job is None:
        return
    runner = guest.stat(_RUNNER)
    if runner is None or not runner.size or not runner.mode & 0o100:
        yield f"the job runner {_RUNNER} is not there, is empty or cannot be executed"
    command = text(guest, "/etc/roost/job/command")
    if command is None or command.rstrip("\n") != recipe.job.command:
        yield f"/etc/roost/job/command is not the recipe's '{shown(recipe.job.command)}'"
    inittab = text(guest, "/etc/inittab") or ""
    started = guest.lstat(_WANTS) is not None and guest.exists(_WANTS)
    if not started and not any(_RUNNER in line for line in inittab.splitlines() if not line.startswith("#")):
        yield "nothing starts the job: no unit is enabled, and no line of /etc/inittab names it"
    program = recipe.job.command.split()[:1]
    if program and program[0].startswith("/") and all(char.isalnum() or char in "/._+-" for char in program[0]):
        seen = guest.stat(program[0])
        if seen is None or not stat.S_ISREG(seen.mode) or not seen.mode & 0o111:
            yield f"the job's program {shown(program[0])} is not there or cannot be executed"


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
    """Yield which files of the recipe are missing or not as it says; `run` may have changed their content."""
    last = {entry.path: entry for entry in recipe.files}
    for entry in last.values():
        wrong = _file(guest, entry, exact=not recipe.run)
        if wrong:
            yield f"{shown(entry.path)} {wrong}"


def _file(guest: Guest, entry: File, *, exact: bool) -> str | None:
    seen = guest.lstat(entry.path)
    if seen is None or not exact:
        return "is not there" if seen is None else None
    if not _right_kind(guest, entry, seen):
        return f"is no link to {shown(entry.link)}" if entry.link is not None else "is of another kind"
    if (seen.uid, seen.gid) != (entry.owner, entry.group):
        return f"belongs to {seen.uid}:{seen.gid}, not to {entry.owner}:{entry.group}"
    if entry.mode is not None and stat.S_ISREG(seen.mode) and stat.S_IMODE(seen.mode) != int(entry.mode, 8):
        return f"has mode {stat.S_IMODE(seen.mode):04o}, not {entry.mode}"
    wanted = None if entry.content is None else entry.content.encode()
    if wanted is not None and (seen.size != len(wanted) or guest.read(entry.path, len(wanted)) != wanted):
        return "has another content"
    return None


def _right_kind(guest: Guest, entry: File, seen: Stat) -> bool:
    if entry.link is not None:
        return stat.S_ISLNK(seen.mode) and guest.readlink(entry.path) == entry.link
    if entry.directory:
        return stat.S_ISDIR(seen.mode)
    return stat.S_ISREG(seen.mode) or (entry.source is not None and stat.S_ISDIR(seen.mode))
