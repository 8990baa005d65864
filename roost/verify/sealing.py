"""Whether a finished image is sealed: free of machine identity, traces of the builder, and logins.

This is the read-back's own list, independent of the one used for sealing (`roost.customize.sealing`).
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from roost.host.guestfs import Guest
from roost.recipe.model import Recipe
from roost.recipe.words import shown
from roost.verify.texts import text

#: Files that must not exist, and why.
ABSENT = {
    "/var/lib/systemd/random-seed": "every machine would start with the same randomness",
    "/var/lib/urandom/random-seed": "every machine would start with the same randomness",
    "/boot/loader/random-seed": "every machine would start with the same randomness",
    "/var/lib/systemd/credential.secret": "every machine would have the same secret",
    "/var/lib/NetworkManager/secret_key": "every machine would have the same secret",
    "/etc/shadow-": "it may hold passwords that were taken away",
    "/etc/gshadow-": "it may hold passwords that were taken away",
}
#: Directories that must be empty, except for the recipe's files; apt has a lock and a directory for partial files.
EMPTY = {
    "/var/lib/apt/lists": ("package lists", ("lock", "partial", "auxfiles")),
    "/var/lib/dhcp": ("leases", ()),
    "/var/lib/dhcpcd": ("leases", ()),
    "/var/lib/cloud": ("what cloud-init did on another machine", ()),
    "/var/log/journal": ("logs of another machine", ()),
    "/var/log/apt": ("logs of the build", ()),
}
LOGS = ("dpkg.log", "alternatives.log", "bootstrap.log", "syslog", "messages", "auth.log", "wtmp", "btmp", "lastlog")
HISTORIES = (".bash_history", ".ash_history", ".sh_history", ".python_history", ".lesshst", ".viminfo")


def sealing(guest: Guest, recipe: Recipe) -> Iterator[str]:
    """Yield what a sealed image must not contain; nothing for a recipe with sealing disabled."""
    if not recipe.seal:
        return
    kept = [entry.path for entry in recipe.files]
    yield from _identity(guest)
    for path, why in ABSENT.items():
        if path not in kept and guest.lstat(path) is not None:
            yield f"{path} is in the image: {why}"
    for directory, (what, harmless) in EMPTY.items():
        left = [
            name
            for name in guest.names(directory)
            if name not in harmless and not any(one.startswith(f"{directory}/{name}") for one in kept)
        ]
        if left:
            yield f"{directory} holds {what}: {', '.join(map(shown, sorted(left)[:4]))}"
    yield from _traces(guest, kept)
    yield from _passwords(guest, recipe)


def _identity(guest: Guest) -> Iterator[str]:
    identity = text(guest, "/etc/machine-id")
    if identity is None and guest.exists("/usr/lib/systemd/systemd"):
        yield "/etc/machine-id is missing: systemd would take the first boot for an installation"
    elif identity is not None and identity.strip() == "uninitialized":
        yield "/etc/machine-id is 'uninitialized': systemd would take the first boot for an installation"
    elif identity is not None and identity.strip():
        yield "/etc/machine-id is not empty: every machine would be the same one"
    dbus = guest.lstat("/var/lib/dbus/machine-id")
    if dbus is not None and stat.S_ISREG(dbus.mode) and dbus.size:
        yield "/var/lib/dbus/machine-id is in the image: every machine would be the same one"
    keys = [name for name in guest.names("/etc/ssh") if name.startswith("ssh_host_") and "_key" in name]
    if keys:
        yield f"/etc/ssh holds host keys: {', '.join(map(shown, sorted(keys)[:4]))}"


def _traces(guest: Guest, kept: list[str]) -> Iterator[str]:
    resolv = guest.lstat("/etc/resolv.conf")
    if resolv is not None and stat.S_ISREG(resolv.mode) and "/etc/resolv.conf" not in kept:
        yield "/etc/resolv.conf is a file: it has the name servers of the builder"
    logs = [name for name in LOGS if f"/var/log/{name}" not in kept and _filled(guest, f"/var/log/{name}")]
    if logs:
        yield f"/var/log holds {', '.join(logs)}"
    for home in ["/root", *(f"/home/{name}" for name in guest.names("/home"))]:
        for name in HISTORIES:
            if f"{home}/{name}" not in kept and guest.lstat(f"{home}/{name}") is not None:
                yield f"{shown(home)}/{name} is in the image"


def _filled(guest: Guest, path: str) -> bool:
    seen = guest.lstat(path)
    return seen is not None and stat.S_ISREG(seen.mode) and seen.size > 0


def _passwords(guest: Guest, recipe: Recipe) -> Iterator[str]:
    wanted = {user.name for user in recipe.users if user.password is not None}
    opened = set()
    shadow = text(guest, "/etc/shadow")
    for path, content in (("/etc/shadow", shadow), ("/etc/passwd", text(guest, "/etc/passwd"))):
        for line in (content or "").splitlines():
            name, _, rest = line.partition(":")
            password = rest.partition(":")[0]
            if password.startswith(("!", "*")) or (path == "/etc/passwd" and password == "x"):
                continue
            if name in wanted and password.startswith("$") and path == "/etc/shadow":
                opened.add(name)
            else:
                what = "a password" if password else "an empty password"
                yield f"the account '{shown(name)}' has {what}"
    for name in sorted(wanted - opened):
        yield f"the account '{name}' does not have the password of the recipe"
