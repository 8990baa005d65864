"""Runs a command for root as nobody of the host: root of a user namespace, with some directories mapped into it.

For what needs to mount, and so cannot be confined as programs of a finished tree are: the bootstrap, whose packages run
their scripts. It sees the files of the host that everybody may read, and can write to the given directories only; their
owners on the disk are those that it gives. As a program, by root of a mount namespace of its own, it is
`python -m roost.host.mapped PLACE COUNT DIRECTORY... COMMAND...`; DIRECTORY number N is at PLACE/N, and so it is named
in the command.

Standard library only.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from roost.host import confinement, syscalls

#: What is to be confined further: namespaces that the new root owns, so that it can mount proc in its tree.
OWN = ("unshare", "--mount", "--uts", "--ipc", "--cgroup", "--pid", "--fork", "--kill-child", "--mount-proc", "--")
#: Processes and threads at once: packages compile and compress on all processors.
PROCESSES = 4096
#: Tells a probe that this host cannot do it.
UNABLE = 75


def words(place: Path, directories: Sequence[Path], command: Sequence[str]) -> list[str]:
    """Return the program's arguments; in the command the directories are named by where they are mapped to."""
    named = [*command]
    for number, directory in enumerate(directories):
        named = [word.replace(str(directory), str(place / str(number))) for word in named]
    return [str(place), str(len(directories)), *map(str, directories), *OWN, *named]


def enter(place: str, directories: Sequence[str]) -> None:
    """Become root of a user namespace with each directory at `place`/N. Raises `OSError` where that cannot be."""
    namespace = confinement.user_namespace(nested=True)
    syscalls.mount("roost", place, "tmpfs", syscalls.MS_NOSUID | syscalls.MS_NODEV, "mode=755,size=1m")
    for number, directory in enumerate(directories):
        target = Path(place, str(number))
        target.mkdir()
        syscalls.mount(directory, str(target), "", syscalls.MS_BIND)
        syscalls.bind_mapped(str(target), namespace)
    syscalls.enter(namespace, syscalls.CLONE_NEWUSER)
    os.close(namespace)
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def main(arguments: Sequence[str]) -> NoReturn:
    """Become the command; end with status `UNABLE` when this host cannot."""
    place, count, *rest = arguments
    try:
        enter(place, rest[: int(count)])
        confinement.bind(confinement.Limits(processes=PROCESSES))
    except OSError as error:
        sys.stderr.write(f"no user namespace for root here: {error}\n")
        sys.exit(UNABLE)
    os.chdir("/")
    command = rest[int(count) :]
    os.environ.pop("PYTHONPATH", None)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
