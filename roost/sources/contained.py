"""Where the host's apt and mmdebstrap run: as root of a namespace and, where root runs them, as nobody of the host.

What they fetch is a stranger's until apt has verified it, and scripts of packages run under mmdebstrap. They see files
of the host that everybody may read, and write to the directories that they are given only (`roost.host.mapped`).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

from roost.host import bounded, mapped, memory, namespace, process, temporary
from roost.sources.bootstrap import Bootstrap

#: Seconds: a whole Debian from a slow mirror.
DEADLINE = 3600
#: What scripts of packages need not have where they must run as root of the host (capabilities(7), setpriv(1)).
WEAKER = (
    "setpriv",
    "--bounding-set=-sys_module,-sys_rawio,-sys_boot,-sys_time,-sys_ptrace,-syslog,-net_admin,-mac_admin,-mac_override",
    "--inh-caps=-all",
    "--",
)
#: A whole Debian while it is installed, with room to spare; bytes.
ROOM = 6 << 30


def run(
    wanted: Bootstrap,
    words: Sequence[str],
    directories: Sequence[Path],
    *,
    log: Path,
    env: Mapping[str, str],
    what: str,
) -> None:
    """Run a command that reads and writes `directories`; the first is where its temporary files go.

    Raises `ToolError` with `what` when it fails.
    """
    with temporary.directory("mapped", Path("/tmp")) as place:
        argv = inside(list(words) if namespace.current().user else [*WEAKER, *words], directories[0])
        if _can_be_nobody(wanted):
            named = mapped.words(place, directories, script(words, directories[0]))
            argv = namespace.current().argv(bounded.python("roost.host.mapped", *named))
        process.run(argv, deadline=DEADLINE, log=log, env={**bounded.SELF, **env}, what=what, foreign=True)


def inside(argv: Sequence[str], scratch: Path) -> list[str]:
    """Return the command line of what runs in a namespace, see `script`."""
    return namespace.current().argv(script(argv, scratch))


def script(argv: Sequence[str], scratch: Path) -> list[str]:
    """Return the command line whose temporary files are in memory where there is plenty of it, else in `scratch`."""
    text = 'export TMPDIR="$2" && shift 2 && exec "$@"'
    if memory.available() >= 2 * ROOM:
        text = f'mount -t tmpfs -o "size=$1,mode=1777" roost "$2" && {text}'
    return ["sh", "-c", text, "sh", str(ROOM), str(scratch), *argv]


def sandbox(wanted: Bootstrap) -> bool:
    """Return whether apt's own user for downloads could not read what it must: in a closed home, a local archive."""
    return _local(wanted) or namespace.current().user


def _local(wanted: Bootstrap) -> bool:
    addresses = [source.uri for source in wanted.index.sources] + [one.repository.uri for one in wanted.repositories]
    return any(address.startswith(("file:", "copy:")) for address in addresses)


def _can_be_nobody(wanted: Bootstrap) -> bool:
    """Return whether root can be nobody of this host; who is not root is so anyway.

    A local archive may be closed to others, and so may what APT_CONFIG names.
    """
    here = namespace.current()
    if here.user or here.chrooted or _local(wanted) or "APT_CONFIG" in process.environment():
        return False
    return _host_can()


@functools.cache
def _host_can() -> bool:
    with temporary.directory("mapped", Path("/tmp")) as place:
        tried = bounded.python("roost.host.mapped", *mapped.words(place, [place], ["true"]))
        argv = namespace.current().argv(tried)
        return process.run(argv, deadline=60, check=False, env=bounded.SELF).returncode == 0
