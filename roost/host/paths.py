"""The directories that roost uses: the cache, the project's, and state and settings of the user."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import platformdirs

from roost.errors import HostError
from roost.host import files, safetext


def display(path: Path) -> str:
    """Return a path as shown to people: relative to the current directory if it is below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def cache_root() -> Path:
    """Return the cache: $ROOST_CACHE, else the user's cache directory (XDG_CACHE_HOME) for roost."""
    return _named("ROOST_CACHE") or Path(platformdirs.user_cache_dir("roost"))


def _named(variable: str) -> Path | None:
    """Return the directory that a variable names, which need not exist; raise `HostError` if it is something else."""
    text = os.environ.get(variable)
    if not text:
        return None
    path = Path(text).absolute()
    try:
        mode = next(status.st_mode for one in (path, *path.parents) if (status := _status(one)) is not None)
    except OSError as error:
        raise HostError(f"{variable}={safetext.one_line(text)[:400]}: {error.strerror}") from error
    if not stat.S_ISDIR(mode):
        what = f"{variable}={safetext.one_line(text)[:400]} is {files.kind(mode)}, not a directory"
        raise HostError(what, hint=f"set {variable} to a directory of yours")
    return path


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None


def state_root() -> Path:
    """Return the directory of permanent data: $ROOST_STATE, else the user's state directory (XDG_STATE_HOME)."""
    return _named("ROOST_STATE") or Path(platformdirs.user_state_dir("roost"))


def config_root() -> Path:
    """Return the directory of the user's settings and keys for roost (XDG_CONFIG_HOME)."""
    return Path(platformdirs.user_config_dir("roost"))


def shipped_root() -> Path:
    """Return the directory with roost's own recipes/ and kernels/: of the installed package, else of the checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "shipped"
    return installed if installed.is_dir() else package.parent


def project_root() -> Path:
    """Return the directory with recipes/ and kernels/: the nearest above, else $ROOST_ROOT, else the current one."""
    here = Path.cwd()
    for directory in (here, *here.parents):
        if (directory / "recipes").is_dir() and (directory / "kernels").is_dir():
            return directory
    return Path(os.environ.get("ROOST_ROOT", here))
