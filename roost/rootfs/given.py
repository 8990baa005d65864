"""Root trees that exist already, a folder or an archive, as canonical tars in the cache, with what is in them.

A folder is taken as the build's namespace sees it. For a normal user that is: his own files are root's in the image,
those of his subordinate ids are the users they were made for, and those of anybody else become root's.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from roost import inputs
from roost.cache import Cache, key, work_folder
from roost.errors import ImageError
from roost.events import Stages
from roost.host import namespace, process
from roost.rootfs import canonical, layers, tarball, tree_facts
from roost.rootfs.tree_facts import TreeFacts

STAGE = "trees"
TAR = "tree.tar"
FACTS = "facts.json"
DEADLINE = 3600


@dataclass(frozen=True, slots=True)
class Base:
    """A canonical tar, its sha256, and what is in the tree."""

    tar: Path
    sha256: str
    facts: TreeFacts


def of_archive(archive: Path, sha256: str, cache: Cache, stages: Stages, log: Path) -> Base:
    """Return the tree of a tar archive or container image; `sha256` is the archive's."""

    def make(folder: Path) -> None:
        with stages.stage("source", archive.name), work_folder() as work:
            found = tarball.layers_of(archive, work, log)
            facts = canonical.write(found.paths, folder / TAR, whiteouts=found.whiteouts, epoch=_epoch())
            _finish(folder, facts)

    return _base(cache.put(STAGE, key(STAGE, {"archive": sha256, **_given()}), make))


def of_folder(folder: Path, cache: Cache, stages: Stages, log: Path) -> Base:
    """Return the tree in a folder, which is read in the build's namespace and stays as it is."""

    def make(made: Path) -> None:
        with stages.stage("source", str(folder)), work_folder() as work:
            packed = work / "folder.tar"
            process.run(
                namespace.current().argv(
                    [
                        "tar", "-c", "--format=pax", "--pax-option=delete=atime,delete=ctime", "--numeric-owner",
                        "--xattrs", "--xattrs-include=*", "--one-file-system", "--sort=name",
                        "--warning=no-file-ignored", "-C", folder, "-f", packed, ".",
                    ]
                ),
                deadline=DEADLINE,
                log=log,
                what=f"cannot read the tree {folder}",
                hint="did something change it meanwhile? What you may not read must belong to your subordinate ids",
            )  # fmt: skip
            strangers = namespace.current().user
            facts = canonical.write([packed], made / TAR, whiteouts=False, epoch=_epoch(), strangers=strangers)
            _finish(made, facts)

    seen = inputs.fingerprint(folder)
    return _base(cache.put(STAGE, key(STAGE, {"folder": seen, "user": namespace.current().user, **_given()}), make))


def _given() -> dict[str, str]:
    code = [inputs.file_digest(Path(str(module.__file__))) for module in (canonical, layers, tarball, tree_facts)]
    return {"epoch": str(_epoch()), "code": ".".join(code)}


def _epoch() -> int | None:
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given) if given is not None and given.isdigit() else None


def _finish(folder: Path, facts: TreeFacts) -> None:
    if facts.names == 0:
        raise ImageError("the archive is empty: there is no root tree in it")
    text = json.dumps({"sha256": inputs.file_digest(folder / TAR), "facts": facts.to_json()})
    (folder / FACTS).write_text(text)


def _base(folder: Path) -> Base:
    found = json.loads((folder / FACTS).read_text())
    return Base(folder / TAR, found["sha256"], TreeFacts.from_json(found["facts"]))
