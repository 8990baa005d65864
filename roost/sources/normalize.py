"""Normalizes a given tree, with notes on changes and oddities."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from roost.sources import attributes
from roost.sources.oci import WHITEOUT, Tree, directory, shown_name

#: Accepted modes of the root directory: Debian's and Fedora's. Others lock services out of it.
ROOT_MODES = (0o755, 0o555)


@dataclass(frozen=True, slots=True)
class Accounts:
    """The users and groups of a tree: name → number."""

    users: Mapping[str, int]
    groups: Mapping[str, int]


def normalize(tree: Tree, accounts: Accounts, *, strangers: bool, whiteouts: bool) -> tuple[str, ...]:
    """Fix the root directory and the attributes of all files; return notes on changes and oddities.

    With `strangers` the owner 65534 stands for users that the build's namespace does not know; `whiteouts` means that
    the whiteouts of a container image were applied.
    """
    return (
        *_attributes(tree, accounts),
        *_root(tree, strangers),
        *_owners(tree, strangers),
        *_whiteouts(tree, whiteouts),
    )


def _root(tree: Tree, strangers: bool) -> Iterator[str]:
    """Give the root directory to root, with a mode that lets services in; yield notes."""
    given = tree.root.info
    mode = given.mode & 0o7777
    lists = [key for key in given.pax_headers if "posix_acl" in key]
    owners = {0, 65534} if strangers else {0}
    if {given.uid, given.gid} <= owners and mode in ROOT_MODES and not lists:
        return
    new = directory("", mode if mode in ROOT_MODES else 0o755)
    new.mtime = given.mtime
    new.pax_headers = {key: value for key, value in given.pax_headers.items() if key not in lists}
    tree.root.info = new
    rights = " with an access control list" if lists else ""
    yield (
        f"the root directory of the source has mode {mode:04o}{rights} and belongs to {given.uid}:{given.gid}:"
        f" in the image it has {new.mode:04o} and is root's"
    )


def _owners(tree: Tree, strangers: bool) -> Iterator[str]:
    """Yield a note on a tree in which nothing belongs to root, as when a normal user has packed it."""
    owners = {(node.info.uid, node.info.gid) for path, node in tree.walk() if path}
    if len(owners) == 1 and not strangers and (owner := owners.pop())[0] not in (0, 65534):
        yield (
            f"everything in the source belongs to {owner[0]}:{owner[1]}, nothing to root: su, sudo and sshd refuse"
            " such files. If that is not meant, pack it with --owner=0 --group=0"
        )


def _whiteouts(tree: Tree, applied: bool) -> Iterator[str]:
    """Yield a note on whiteouts in what is not a container image, but may be one of its layers."""
    left = 0 if applied else sum(name.rpartition("/")[2].startswith(WHITEOUT) for name, _ in tree.walk())
    if left:
        yield (
            f"{left} names of the source begin with {WHITEOUT}: it looks like one layer of a container image; these"
            " names are taken as files. Use the whole image (docker save), or docker export"
        )


def _attributes(tree: Tree, accounts: Accounts) -> Iterator[str]:
    """Convert the extended attributes of all files to the form that is unpacked; yield notes on what cannot be kept."""
    lost: Counter[str] = Counter()
    changed: set[int] = set()
    for _, node in tree.walk():
        # Hard links share one header.
        if node.info.pax_headers and id(node.info) not in changed:
            changed.add(id(node.info))
            node.info.pax_headers, left = attributes.plain(node.info.pax_headers, accounts.users, accounts.groups)
            lost.update(left)
    if lost:
        kinds = ", ".join(f"{shown_name(name)} ({count} files)" for name, count in lost.most_common(8))
        yield f"left out extended attributes of the source that a guest has no use for or that are unreadable: {kinds}"
