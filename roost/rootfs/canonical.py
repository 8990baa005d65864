"""Any tar of a root tree, or the layers of a container image, as one canonical tar that is safe to unpack.

Names are sorted and plain, no name leads through a link or out of the tree, owners are numbers, no time is later than
the epoch, device nodes are gone (`/dev` belongs to the guest's kernel).
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

from roost.errors import ImageError
from roost.rootfs.layers import Node, Tree, folder, open_layer, pieces, shown_name
from roost.rootfs.tree_facts import TreeFacts, facts_of

#: What a guest needs before init has made anything, with modes; the rest comes with the tree.
FOLDERS = {"dev": 0o755, "etc": 0o755, "proc": 0o555, "root": 0o700, "run": 0o755, "sys": 0o555, "tmp": 0o1777,
           "usr": 0o755, "var": 0o755, "boot": 0o755}  # fmt: skip
#: Extended attributes that mean something in a guest; SELinux labels are made anew, overlayfs' are another world's.
XATTRS = ("SCHILY.xattr.user.", "SCHILY.xattr.security.capability", "SCHILY.xattr.system.posix_acl")
#: Where a tree has its commands.
COMMANDS = (("bin",), ("sbin",), ("usr", "bin"), ("usr", "sbin"))
#: A container runtime's own marks.
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
    """Write the canonical tar of uncompressed `layers`, the lowest first, to `output`; return what is in the tree.

    `epoch` is the latest time of any file, None the tree's own. With `strangers` the owner 65534 stands for users
    that the build's namespace does not know, and becomes root. `links` are commands, such as /sbin/init, and what
    each is to point at if no folder of commands has one of its name. Raises `ImageError` for what is no root tree.
    """
    tree = Tree()
    with ExitStack() as stack:
        archives = []
        for number, layer in enumerate(layers):
            try:
                archives.append(stack.enter_context(open_layer(stack.enter_context(layer.open("rb")))))
                tree.lay(archives[-1], number, whiteouts=whiteouts)
            except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
                raise ImageError(f"{layer.name} is no whole tar archive: {error}") from error
        _complete(tree)
        for path, goal in (links or {}).items():
            _link(tree, path, goal)
        times = [int(node.info.mtime) for _, node in tree.walk()]
        chosen = max(1, epoch if epoch is not None else max(times))
        facts = facts_of(tree, lambda node, size: _head(archives, node, size), chosen)
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
    for name, mode in FOLDERS.items():
        if name not in tree.root.below:
            tree.root.below[name] = Node(folder(name, mode), 0)


def _link(tree: Tree, path: str, target: str) -> None:
    name = path.rpartition("/")[2]
    if not any(tree.find([*above, name], last=False) for above in COMMANDS):
        info = folder(path, 0o777)
        info.type, info.linkname = tarfile.SYMTYPE, target
        tree.put(path, info)


def _head(archives: Sequence[tarfile.TarFile], node: Node, size: int) -> bytes:
    """Return at most `size` bytes of a regular file."""
    if not node.info.isreg():
        return b""
    with _opened(archives[node.layer], node.info) as file:
        return file.read(size)


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
        info.mode, info.mtime = given.mode & 0o7777, min(max(0, int(given.mtime)), epoch)
        info.uid, info.gid = (0 if strangers and number == 65534 else number for number in (given.uid, given.gid))
        info.pax_headers = {key: value for key, value in given.pax_headers.items() if key.startswith(XATTRS)}
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
            except OSError as error:
                if error.errno is not None:
                    raise
                raise ImageError(f"{shown_name(path)} is cut off in the archive") from error
            continue
        target.addfile(info)
