"""Removes identity and traces from a tree: two machines must not share them, and the builder must not be revealed.

Runs chrooted into the tree, with the standard library only (`roost.customize.apply`). The recipe's own `files` are
kept, except those in `ALWAYS`, which the recipe's checks therefore refuse.
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Collection, Iterable
from pathlib import Path

#: An empty file, not missing and not `uninitialized`: with those systemd treats the first boot as that of a new
#: installation, resets what is enabled, and prompts on the console (machine-id(5), systemd-firstboot(1)).
MACHINE_ID = "/etc/machine-id"

#: The machine's identity. Patterns of pathlib; directories are removed with their content.
ALWAYS = (
    "/etc/ssh/ssh_host_*_key",
    "/etc/ssh/ssh_host_*_key.pub",
    "/var/lib/dbus/machine-id",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/var/lib/urandom/random-seed",
    "/boot/loader/random-seed",
    "/boot/efi/loader/random-seed",
    "/var/lib/NetworkManager/secret_key",
    "/etc/iscsi/initiatorname.iscsi",
    "/etc/nvme/hostid",
    "/etc/nvme/hostnqn",
)
#: Traces: leases, logs, caches, history.
TRACES = (
    "/var/lib/dhcp/*",
    "/var/lib/dhcpcd/*",
    "/var/lib/NetworkManager/*.lease",
    "/var/lib/NetworkManager/timestamps",
    "/var/lib/NetworkManager/seen-bssids",
    "/var/lib/cloud/*",
    "/var/lib/apt/lists/*",
    "/var/cache/apt/*",
    "/var/log/journal/*",
    "/var/log/installer",
    "/etc/passwd-",
    "/etc/group-",
    "/etc/shadow-",
    "/etc/gshadow-",
    "/etc/subuid-",
    "/etc/subgid-",
    "/etc/udev/rules.d/70-persistent-*.rules",
    "/tmp/*",
    "/var/tmp/*",
    "/run/*",
)
#: In the homes of root and of all other users.
HISTORY = (".*_history", ".*history", ".lesshst", ".viminfo", ".wget-hsts", ".cache", ".ssh/known_hosts*")
RESOLV_CONF = "/etc/resolv.conf"


def seal(kept: Collection[str], accounts: Collection[str], root: Path = Path("/")) -> None:
    """Seal the tree at `root`: `kept` are the paths of the recipe's files, `accounts` those that have a password."""
    machine_id = root / MACHINE_ID[1:]
    if machine_id.is_symlink():
        machine_id.unlink()
    if machine_id.parent.is_dir():
        machine_id.write_bytes(b"")
        machine_id.chmod(0o444)
    _remove(root, ALWAYS, ())
    _remove(root, TRACES, kept)
    homes = [root / "root", *(path for path in (root / "home").glob("*") if path.is_dir() and not path.is_symlink())]
    for home in homes:
        _remove(root, (f"/{home.relative_to(root)}/{pattern}" for pattern in HISTORY), kept)
    resolv = root / RESOLV_CONF[1:]
    # A link belongs to a resolver; a file has the builder's name servers.
    if not resolv.is_symlink() and RESOLV_CONF not in kept:
        resolv.unlink(missing_ok=True)
    for path in (root / "var/log").rglob("*"):
        if stat.S_ISREG(path.lstat().st_mode) and not is_kept(f"/{path.relative_to(root)}", kept):
            path.unlink()
    lock_passwords(root, accounts)


def _remove(root: Path, patterns: Iterable[str], kept: Collection[str]) -> None:
    for pattern in patterns:
        for path in root.glob(pattern[1:]):
            if is_kept(f"/{path.relative_to(root)}", kept):
                continue
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def is_kept(name: str, kept: Collection[str]) -> bool:
    """Return whether the recipe put a path there, or something below it."""
    return any(one == name or one.startswith(f"{name}/") or name.startswith(f"{one}/") for one in kept)


def lock_passwords(root: Path, accounts: Collection[str]) -> None:
    """Remove every password except those of `accounts`; accounts without one can still log in with keys."""
    shadow, passwd = root / "etc/shadow", root / "etc/passwd"
    for path in (shadow, passwd):
        if not path.is_file():
            continue
        text = path.read_text(errors="surrogateescape")
        changed = locked(text, accounts, shadowed=shadow.is_file() and path is passwd)
        if changed != text:
            path.write_text(changed, errors="surrogateescape")


def locked(text: str, accounts: Collection[str], *, shadowed: bool) -> str:
    """Return a passwd(5) or shadow(5) in which only `accounts` have a password, and none has an empty one.

    `shadowed` means that it is a passwd(5) accompanied by a shadow(5).
    """
    return "".join(f"{_locked(line, accounts, shadowed)}\n" for line in text.splitlines())


def _locked(line: str, accounts: Collection[str], shadowed: bool) -> str:
    fields = line.split(":")
    if len(fields) < 2 or fields[0] in accounts or (shadowed and fields[1] == "x"):
        return line
    if fields[1].startswith(("*", "!")):
        return line
    # Without a shadow file, `x` in passwd does not match any password.
    return ":".join([fields[0], "x" if shadowed else "*", *fields[2:]])
