"""Files in an image's directory that roost did not write, such as results and logs of jobs submitted there: they stay.

A build replaces the directory as a whole. Before that, these files get a second name in the new one: none is lost
however the build ends, and a job that is still writing to one goes on.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from roost.condor import submission
from roost.errors import UsageError
from roost.host import causes
from roost.host.paths import display
from roost.publish import sbom
from roost.recipe.model import Recipe
from roost.store import manifest

#: What roost writes beside the files of an image that its manifest lists.
_OWN = frozenset(
    {manifest.NAME, manifest.SUMS, sbom.NAME, "log", "boot", "vmlinuz", "initrd.img"}
    | {f"{name}.sub" for name in submission.NAMES}
)


def keep(recipe: Recipe, directory: Path, target: Path) -> None:
    """Give what others left in `directory` a second name in `target`, which is to replace it.

    Raises `UsageError` when that is not possible for a file.
    """
    if not directory.is_dir():
        return
    record = manifest.read(directory)
    own = {*_OWN, *(record.sums if record is not None else ())}
    own |= {f"{disk.name}.{suffix}" for disk in recipe.disks for suffix in ("raw", "qcow2")}
    for path in sorted(directory.iterdir()):
        if path.name not in own and not os.path.lexists(target / path.name):
            _name_again(path, target / path.name)


def _name_again(path: Path, other: Path) -> None:
    try:
        if path.is_dir() and not path.is_symlink():
            other.mkdir()
            for below in sorted(path.iterdir()):
                _name_again(below, other / below.name)
            shutil.copystat(path, other)
            return
        try:
            os.link(path, other, follow_symlinks=False)
        except OSError:
            # No hard links on this file system, or none to another user's files (proc(5), protected_hardlinks).
            if not path.is_file():
                raise
            shutil.copy2(path, other, follow_symlinks=False)
    except FileNotFoundError:
        # It went away meanwhile.
        return
    except OSError as error:
        what = f"{display(path)} was not written by roost, and cannot be kept in the new build: {causes.reason(error)}"
        raise UsageError(what, hint="move it elsewhere") from error
