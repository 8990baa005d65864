"""Accounts as text: passwd(5), group(5) and shadow(5) in, the same with one more account out.

Pure, and uses the standard library only: `roost.customize.apply` imports it in a chroot.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

#: Ids of people's accounts (login.defs(5), UID_MIN and UID_MAX).
FIRST, LAST = 1000, 59999


class AccountError(ValueError):
    """The account already exists, or a group does not; `field` is the field of the account in question."""

    def __init__(self, what: str, field: str = "name") -> None:
        super().__init__(what)
        self.field = field


@dataclass(frozen=True, slots=True)
class Added:
    """The three files with the new account, its number (of user and group) and its home."""

    passwd: str
    group: str
    shadow: str
    number: int
    home: str


@dataclass(frozen=True, slots=True)
class Account:
    """A new account: `groups` are supplementary groups.

    `password` is a crypt(5) hash; without one, password login is disabled. `days` since 1970 is the last change.
    """

    name: str
    shell: str
    days: int
    groups: Iterable[str] = ()
    password: str | None = None


def add(passwd: str, group: str, shadow: str, account: Account) -> Added:
    """Add an account with its own group, as useradd(8) would."""
    name = account.name
    accounts = [line.split(":") for line in passwd.split("\n")]
    if any(fields[0] == name for fields in accounts):
        raise AccountError(f"the tree already has a user {name}")
    known = [line.split(":") for line in group.split("\n") if line]
    if any(entry[0] == name for entry in known):
        raise AccountError(f"the tree already has a group {name}, but no such user")
    ids = [entry[2] for entry in (*accounts, *known) if len(entry) > 2]
    # Not isdigit, which accepts digits that int refuses.
    taken = [int(one) for one in ids if re.fullmatch("[0-9]{1,10}", one)]
    number = max([FIRST - 1, *(one for one in taken if FIRST <= one <= LAST)]) + 1
    for wanted in account.groups:
        found = next((entry for entry in known if entry[0] == wanted and len(entry) > 3), None)
        if found is None:
            raise AccountError(f"the tree has no group {wanted} for user {name}", "groups")
        found[3] = ",".join([*filter(None, found[3].split(",")), name])
    known.append([name, "x", str(number), ""])
    home = f"/home/{name}"
    return Added(
        _ended(passwd) + f"{name}:x:{number}:{number}::{home}:{account.shell}\n",
        "".join(":".join(entry) + "\n" for entry in known),
        # `*` never matches a password; with `!` sshd would refuse keys too (sshd(8), locked accounts).
        _ended(shadow) + f"{name}:{account.password or '*'}:{account.days}:0:99999:7:::\n",
        number,
        home,
    )


def _ended(text: str) -> str:
    """Return a text whose last line ends with a newline, so that appended text becomes a new line."""
    return text if text.endswith("\n") or not text else f"{text}\n"
