"""Runs the host's apt and mmdebstrap as root of a namespace in a root directory of its own.

Their downloads are untrusted until apt has verified them, and mmdebstrap runs scripts of packages. They see the host's
programs and settings, write only to the directories given to them, and have the same limits as `run` commands
(`roost.host.mapped`). Packages are downloaded before they are installed, and installing has no network. When roost runs
as root, they have no rights on the host.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roost.customize import limits
from roost.host import bounded, capacity, mapped, namespace, process, temporary
from roost.sources.bootstrap import Bootstrap

#: Seconds: a whole Debian from a slow mirror.
DEADLINE = 3600
#: Capabilities that package scripts do not need where they must run as the host's root (capabilities(7), setpriv(1)).
WEAKER = (
    "setpriv",
    "--bounding-set=-sys_module,-sys_rawio,-sys_boot,-sys_time,-sys_ptrace,-syslog,-net_admin,-mac_admin,-mac_override",
    "--inh-caps=-all",
    "--",
)
#: Bytes for a whole Debian while it is installed, with room to spare.
ROOM = 6 << 30


@dataclass(frozen=True, slots=True)
class Given:
    """What a command gets from the host: `scratch` is for temporary files; with `network` it reaches archives."""

    scratch: Path
    readable: Sequence[Path] = ()
    writable: Sequence[Path] = ()
    network: bool = False


def run(
    wanted: Bootstrap,
    words: Sequence[str],
    given: Given,
    *,
    log: Path,
    env: Mapping[str, str],
    what: str,
) -> None:
    """Run a command with the given directories. Raises `ToolError` with `what` when it fails."""
    here, scratch = namespace.current(), given.scratch
    bounds = limits.of_run_commands()
    shown = mapped.Given([scratch, *given.writable], [*given.readable, *_needed(wanted)], given.network)

    def enclosed(place: Path, command: Sequence[str]) -> list[str]:
        return here.argv(bounded.python("roost.host.mapped", *mapped.words(place, shown, bounds, command)))

    with temporary.directory("mapped", Path("/tmp")) as place:
        argv = enclosed(place, script(words, scratch))
        # The file system may not support mapped owners.
        if here.chrooted or not _works(enclosed(place, ["sh", "-c", ":"]), [*shown.writable, *shown.readable]):
            argv = here.argv(script(words if here.user else [*WEAKER, *words], scratch))
            with log.open("a") as file:
                file.write("roost: no root directory of its own here: scripts see the host's files and network\n")
        process.run(argv, deadline=DEADLINE, log=log, env={**bounded.SELF, **env}, what=what, foreign=True)


#: File systems on which the owners of directories were mapped: a build asks up to six times.
_working: set[frozenset[int]] = set()


def _works(argv: Sequence[str], shown: Sequence[Path]) -> bool:
    """Return whether a command with these directories runs."""
    devices = frozenset(one.stat().st_dev for one in shown)
    if devices not in _working and process.run(argv, deadline=60, check=False, env=bounded.SELF).returncode == 0:
        _working.add(devices)
    return devices in _working


def script(argv: Sequence[str], scratch: Path) -> list[str]:
    """Return the command line with temporary files in memory if there is enough of it, else in `scratch`."""
    text = 'export TMPDIR="$2" && shift 2 && exec "$@"'
    if capacity.memory_free() >= 2 * ROOM:
        text = f'mount -t tmpfs -o "size=$1,mode=1777" roost "$2" && {text}'
    return ["sh", "-c", text, "sh", str(ROOM), str(scratch), *argv]


def sandbox(wanted: Bootstrap) -> bool:
    """Return whether apt's download user could not read what it must: below a closed home, or a local archive."""
    return bool(_local_archives(wanted)) or namespace.current().user


def _local_archives(wanted: Bootstrap) -> list[Path]:
    """Return the directories of archives on this host."""
    addresses = [source.uri for source in wanted.index.sources] + [one.repository.uri for one in wanted.repositories]
    # One slash or three; anything in between is not a host (apt's methods file and copy).
    found = [re.fullmatch(r"(?:file|copy):/*(/.*)", address) for address in addresses]
    return [Path(urllib.parse.unquote(one[1])) for one in found if one is not None]


def _needed(wanted: Bootstrap) -> list[Path]:
    """Return what apt reads besides the given directories: archives on this host, and $APT_CONFIG."""
    named = process.environment().get("APT_CONFIG")
    found = [*_local_archives(wanted), *([Path(named).absolute()] if named else [])]
    return [path for path in found if path.exists() and path != Path("/")]
