"""The changes in a git repository since a revision: committed, uncommitted and untracked files.

git is asked for names only, separated by zero bytes. Of the programs in a repository's configuration only file
filters (gitattributes(5)) are run: files cannot be compared without them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roost.errors import HostError, ToolError, UsageError
from roost.host import process
from roost.recipe.words import shown

#: Deadline in seconds, for a large repository on a slow disk.
DEADLINE = 300
#: Disables the file system monitor (git-config(1), core.fsmonitor) and the hooks of the index.
_GIT = ("git", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-C")
_HINT = "a shallow clone has few revisions: git fetch --unshallow, or fetch-depth: 0 in a workflow"


@dataclass(frozen=True, slots=True)
class Changes:
    """The changed files below `root`, and all files known to git there; absolute paths, links not resolved."""

    root: Path
    changed: frozenset[Path]
    known: frozenset[Path]


def repository(path: Path) -> Path | None:
    """Return the top directory of the repository that contains a path, or None."""
    return next((directory for directory in path.parents if (directory / ".git").exists()), None)


def since(root: Path, revision: str) -> Changes:
    """Return the changes in the repository at `root` since a revision.

    Raises `UsageError` for an unknown revision, `HostError` when git fails.
    """
    process.require("git", "git")
    commit = _commit(root, revision)
    differ = ["--name-only", "--no-renames", "--no-ext-diff", "--no-textconv", "-z", commit, "--"]
    changed = _names(root, "diff", *differ)
    new = _names(root, "ls-files", "--others", "--exclude-standard", "-z")
    tracked = _names(root, "ls-files", "-z")
    return Changes(root, frozenset(changed | new), frozenset(tracked | new | changed))


def _commit(root: Path, revision: str) -> str:
    if not revision or "\0" in revision:
        raise UsageError("--changed-since names no revision", hint="such as origin/main, a tag or a commit")
    argv = [*_GIT, str(root), "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"]
    found = process.run(argv, deadline=DEADLINE, capture=True, check=False)
    if found.returncode != 0:
        # The failure may not be about the revision but about a repository that git refuses to read.
        _names(root, "rev-parse", "--is-inside-work-tree")
        raise UsageError(f"{root} has no revision '{shown(revision)}'", hint=_HINT)
    return found.text.strip()


def _names(root: Path, *words: str) -> set[Path]:
    try:
        done = process.run([*_GIT, str(root), *words], deadline=DEADLINE, capture=True)
    except ToolError as error:
        raise HostError(f"git cannot read the repository {root}", tail=error.tail) from error
    names = done.stdout.decode("utf-8", "surrogateescape").split("\0")
    return {root / name for name in names if name}
