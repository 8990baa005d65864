"""A different environment for a second build: another user, home, directory, umask, time zone and language.

For root, the user exists only for this command: its passwd entry and subordinate ids are visible only in a mount
namespace. A normal user cannot become another user, and gets all other differences.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roost.host import bounded, process

#: Ids that no account has: systemd leaves these free (UIDS-GIDS.md), and so does Debian's policy 9.2.2.
USER, FIRST = 60900, 1 << 30
NAME = "roost-repro"
FILES = ("passwd", "group", "subuid", "subgid")
#: Arguments: the directory with the account files, the user's number, the command.
ENTER = """\
for name in passwd group subuid subgid; do mount --bind "$1/$name" "/etc/$name" || exit 1; done
number=$2; shift 2; umask 077
exec setpriv --reuid "$number" --regid "$number" --clear-groups --inh-caps=-all -- "$@"
"""
#: Tests whether that user can access what a build needs. Arguments: the recipe, Python, the project.
CHECKS = """\
test -r "$1" && test -r "$3" && "$2" -c 'import roost, guestfs' && unshare --user --map-root-user --map-auto true
"""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The environment of a build: `user` is a number, None for the user who runs roost."""

    home: Path
    user: int | None
    umask: str
    timezone: str
    language: str

    def environment(self, project: Path) -> dict[str, str]:
        """Return the environment variables of the build."""
        named = {"USER": NAME, "LOGNAME": NAME} if self.user is not None else {}
        return {
            **bounded.SELF,
            **named,
            "HOME": str(self.home),
            "ROOST_CACHE": str(self.home / "cache"),
            "ROOST_STATE": str(self.home / "state"),
            "ROOST_ROOT": str(project),
            "TZ": self.timezone,
            "LANG": self.language,
            "LC_ALL": self.language,
        }

    def argv(self, command: Sequence[str]) -> list[str]:
        """Return the command line that runs a command in it."""
        if self.user is None:
            return ["sh", "-c", f'umask {self.umask}; exec "$@"', "sh", *command]
        entering = ["sh", "-c", ENTER, "sh", str(self.home / "etc"), str(self.user), *command]
        return ["unshare", "--mount", "--propagation", "private", "--", *entering]

    def to_json(self) -> dict[str, str]:
        """Return its JSON for `inv repro --json`."""
        user = str(os.geteuid() if self.user is None else self.user)
        return {"user": user, "umask": self.umask, "timezone": self.timezone, "language": self.language}


def usual(home: Path) -> Surroundings:
    """Return the environment of the first build."""
    return Surroundings(home, None, "022", "UTC", "C.UTF-8")


def other(home: Path, project: Path, recipe: Path) -> tuple[Surroundings, str]:
    """Return the environment of the second build, and why it has the same user, if it does."""
    found = Surroundings(home, None, "077", "XYZ-14", "tr_TR.UTF-8")
    if os.geteuid() != 0:
        return found, "only root can build as another user"
    missing = [f"/etc/{name}" for name in FILES if not Path("/etc", name).is_file()]
    if missing:
        return found, f"there is no {', '.join(missing)} to give another user ids"
    accounts = home / "etc"
    accounts.mkdir()
    lines = {
        "passwd": f"{NAME}:x:{USER}:{USER}::{home}:/bin/sh",
        "group": f"{NAME}:x:{USER}:",
        "subuid": f"{NAME}:{FIRST}:65536",
        "subgid": f"{NAME}:{FIRST}:65536",
    }
    for name, line in lines.items():
        text = Path("/etc", name).read_text().rstrip("\n")
        (accounts / name).write_text(f"{text}\n{line}\n")
        (accounts / name).chmod(0o644)
    tried = Surroundings(home, USER, found.umask, found.timezone, found.language)
    command = ["sh", "-c", CHECKS, "sh", str(recipe), bounded.python("x")[0], str(project)]
    done = process.run(tried.argv(command), deadline=60, check=False, env=tried.environment(project), cwd=Path("/"))
    if done.returncode != 0:
        return found, "another user cannot read roost or the project, or gets no subordinate ids here"
    return tried, ""
