"""Converts a tar of a root tree, or the layers of a container image, to one canonical tar that is safe to unpack.

Names are sorted and plain, no name leads through a link or out of the tree, owners are numbers, no time is later than
the epoch, and device nodes are dropped (the guest's kernel fills `/dev`).
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from roost.errors import ImageError
from roost.host import archive_words
from roost.sources import attributes, normalize
from roost.sources.oci import Node, Tree, directory, open_layer, pieces, shown_name
from roost.sources.tree_facts import COMMANDS, TreeFacts, facts_of, shape

#: Directories that a guest needs before init runs, with modes; everything else comes with the tree.
DIRECTORIES = {"dev": 0o755, "etc": 0o755, "proc": 0o555, "root": 0o700, "run": 0o755, "sys": 0o555, "tmp": 0o1777,
           "usr": 0o755, "var": 0o755, "boot": 0o755}  # fmt: skip
#: The latest file time that file systems can store: ext4 with inodes of 256 bytes, in the year 2446.
LATEST = 15_032_385_535
#: Files that mark a container, left by its runtime.
MARKS = (".dockerenv", ".dockerinit", "run/.containerenv")


def write(
    layers: Sequence[Path],
    output: Path,
    *,
    whiteouts: bool,
    epoch: int | None,
    strangers: bool = False,
    links: Mapping[str, str] | None = None,
) -> TreeFacts:
    """Write the canonical tar of uncompressed `layers`, lowest first, to `output`; return the facts of the tree.

    `epoch` is the latest time of any file, None for the tree's own. With `strangers` the owner 65534 stands for users
    that the build's namespace does not know, and becomes root. `links` maps commands, such as /sbin/init, to the target
    that they get if no directory of commands has one of the same name. Raises `ImageError` for what is not a root tree.
    """
    tree = Tree()
    with ExitStack() as stack:
        archives = []
        for number, layer in enumerate(layers):
            try:
                archives.append(stack.enter_context(open_layer(stack.enter_context(layer.open("rb")))))
                tree.lay(archives[-1], number, whiteouts=whiteouts)
            except (tarfile.TarError, EOFError, ValueError, OverflowError, IndexError, RecursionError) as error:
                what = f"{layer.name} is not a complete tar archive: {archive_words.told(error)}"
                raise ImageError(what, hint=archive_words.AGAIN) from error
        seen = shape(tree)
        notes = normalize.normalize(tree, _accounts(tree, archives), strangers=strangers, whiteouts=whiteouts)
        _complete(tree)
        for path, goal in (links or {}).items():
            _link(tree, path, goal)
        times = [_time(node.info) for _, node in tree.walk()]
        chosen = max(1, epoch if epoch is not None else max(times))
        facts = facts_of(tree, lambda node, size: _head(archives, node, size), chosen, seen, tuple(notes))
        with tarfile.open(output, "w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as target:
            _write(tree, archives, target, chosen, strangers=strangers)
    return facts


def _complete(tree: Tree) -> None:
    for name in MARKS:
        above, _, last = name.rpartition("/")
        parent = tree.find(pieces(above))
        if parent is not None:
            parent.below.pop(last, None)
    for name in ("dev", "proc", "sys", "run"):
        node = tree.find([name])
        if node is not None:
            # The guest's kernel and init fill these.
            node.below.clear()
    for name, mode in DIRECTORIES.items():
        if name not in tree.root.below:
            tree.root.below[name] = Node(directory(name, mode), 0)


def _time(info: tarfile.TarInfo) -> int:
    """Return the modification time of a file: pax headers can contain invalid times."""
    try:
        return min(max(0, int(info.mtime)), LATEST)
    except (ValueError, OverflowError):
        return 0


def _accounts(tree: Tree, archives: Sequence[tarfile.TarFile]) -> normalize.Accounts:
    """Return the tree's own users and groups with their numbers."""
    texts = []
    for path in ("etc/passwd", "etc/group"):
        node = tree.find(pieces(path))
        text = _head(archives, node, 1 << 20) if node is not None else b""
        texts.append(attributes.numbers(text.decode("utf-8", "surrogateescape")))
    users, groups = texts
    return normalize.Accounts(users, groups)


def _link(tree: Tree, path: str, target: str) -> None:
    name = path.rpartition("/")[2]
    if not any(tree.find([*pieces(above), name], last=False) for above in COMMANDS):
        info = directory(path, 0o777)
        info.type, info.linkname = tarfile.SYMTYPE, target
        tree.put(path, info)


def _head(archives: Sequence[tarfile.TarFile], node: Node, size: int) -> bytes:
    """Return at most `size` bytes of a regular file."""
    if not node.info.isreg():
        return b""
    try:
        with _opened(archives[node.layer], node.info) as file:
            return file.read(size)
    except tarfile.TarError as error:
        what = f"{shown_name(node.info.name)} is cut off in the archive"
        raise ImageError(what, hint=archive_words.AGAIN) from error


def _opened(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(info)
    assert file is not None, "only regular files are opened"
    return file


def _write(
    tree: Tree, archives: Sequence[tarfile.TarFile], target: tarfile.TarFile, epoch: int, *, strangers: bool
) -> None:
    written: dict[tuple[int, int], str] = {}
    for path, node in tree.walk():
        name = f".{path}"
        given = node.info
        info = tarfile.TarInfo(name)
        info.mode, info.mtime = given.mode & 0o7777, min(_time(given), epoch)
        info.uid, info.gid = (0 if strangers and number == 65534 else number for number in (given.uid, given.gid))
        info.pax_headers = dict(given.pax_headers)
        if given.isdir():
            info.type = tarfile.DIRTYPE
        elif given.issym():
            info.type, info.linkname = tarfile.SYMTYPE, given.linkname
        elif given.isfifo():
            info.type = tarfile.FIFOTYPE
        elif node.content in written:
            info.type, info.linkname = tarfile.LNKTYPE, written[node.content]
        else:
            written[node.content] = name
            info.size = given.size
            try:
                with _opened(archives[node.layer], given) as file:
                    target.addfile(info, file)
            except (OSError, tarfile.TarError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                what = f"{shown_name(path)} is cut off in the archive"
                raise ImageError(what, hint=archive_words.AGAIN) from error
            continue
        target.addfile(info)
