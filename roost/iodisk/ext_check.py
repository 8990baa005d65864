"""Check an untrusted ext file system with e2fsck, and repair it, on a copy.

Only a sound file system proves that a name which is not found does not exist: e2fsck verifies the structure and,
where the file system has them, the checksums of superblock, groups, inodes, directories and extents.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from roost.errors import ToolError
from roost.host import process
from roost.recipe.words import shown

#: Limits of tools that read an untrusted disk: memory in bytes, time in seconds.
MEMORY, DEADLINE = 2 << 30, 300.0
#: The number of e2fsck runs after which a file system that still has errors is given up.
REPAIRS = 2
#: The maximum number of findings shown.
SHOWN = 3
#: Messages of e2fsck without a loss of data: its progress, a replayed journal, files deleted while open, and
#: counters that the kernel updates only at unmount (e2fsck/problem.c).
_ROUTINE = re.compile(
    r"""e2fsck\ \d|Pass\ \d|Fix\?\ |Optimize\?\ |\*+\ |$
    |(recovering|replaying)\ journal$|Setting\ free\ (inodes|blocks)\ count\ to|Clearing\ orphaned\ inode\ \d+
    |(Free\ (blocks|inodes)|Directories)\ count\ wrong
    |Superblock\ last\ (mount|write)\ time|\(by\ less\ than\ a\ day
    |Inode\ \d+\ extent\ tree\ \(at\ level\ \d+\)\ could\ be
    |.{1,64}\ was\ not\ cleanly\ unmounted,\ check\ forced
    |(clean,\ )?\d+/\d+\ files""",
    re.VERBOSE,
)
_INODE = re.compile(r"\binode #?(\d+)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of e2fsck: messages about damage (empty: the file system is sound), and the inodes that they name."""

    damage: tuple[str, ...] = ()
    inodes: frozenset[int] = frozenset()


def check(copy: Path, *, journal: bool) -> Checked:
    """Check the file system in `copy` and repair it in place; `journal` means that its journal was not replayed."""
    found: list[str] = []
    if journal:
        found += _findings(copy, "-p")[1]
    code, findings = _findings(copy, "-f", "-n")
    if code == 0 and not found:
        return Checked()
    found += findings
    for _ in range(REPAIRS):
        if _findings(copy, "-f", "-y")[0] == 0:
            break
    if not found and code == 4:
        return Checked()
    return Checked(
        (_summary(found, code),), frozenset(int(number) for line in found for number in _INODE.findall(line))
    )


def _findings(copy: Path, *options: str) -> tuple[int, list[str]]:
    """Run e2fsck; return its exit code (-1: timeout) and its messages, without those about no loss of data."""
    try:
        done = process.run(
            process.bounded(["e2fsck", *options, copy.name], memory=MEMORY),
            deadline=DEADLINE,
            capture=True,
            check=False,
            cwd=copy.parent,
        )
    except ToolError:
        return -1, [f"e2fsck did not end within {DEADLINE:g} s"]
    # e2fsck names a file system by its label, if it has one.
    label = re.escape(_label(copy))
    lines = [re.sub(f"^({re.escape(copy.name)}|{label}): ", "", line.strip()) for line in done.text.splitlines()]
    return done.returncode, [line for line in lines if not _ROUTINE.match(line)]


def _label(copy: Path) -> str:
    """Return the label of a file system (Documentation/filesystems/ext4/super.rst)."""
    with copy.open("rb") as file:
        return file.read(2048)[1024 + 0x78 : 1024 + 0x88].split(b"\0")[0].decode("utf-8", "replace")


def _summary(found: list[str], code: int) -> str:
    """Return the findings in one line."""
    texts = [shown(re.sub(r"\s*(Clear|Fix|Salvage|Connect to /lost\+found)\? no.*", "", line), 120) for line in found]
    head = "; ".join(texts[:SHOWN])
    more = f"; {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return f"e2fsck: {head}{more}" if head else f"e2fsck cannot read it (status {code})"
