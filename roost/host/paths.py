"""Where roost keeps things: the cache, the project's directories, and temporary directories that do not stay."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_root() -> Path:
    """Return the cache: $ROOST_CACHE, else the user's cache directory (XDG_CACHE_HOME) for roost."""
    override = os.environ.get("ROOST_CACHE")
    return Path(override).absolute() if override else Path(platformdirs.user_cache_dir("roost"))


def state_root() -> Path:
    """Return where what must not be lost is kept: $ROOST_STATE, else the user's state directory (XDG_STATE_HOME)."""
    override = os.environ.get("ROOST_STATE")
    return Path(override).absolute() if override else Path(platformdirs.user_state_dir("roost"))


def config_root() -> Path:
    """Return the directory of the user's settings and keys for roost (XDG_CONFIG_HOME)."""
    return Path(platformdirs.user_config_dir("roost"))


def shipped_root() -> Path:
    """Return the directory with roost's own recipes/ and kernels/: of the installed package, else of the checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "shipped"
    return installed if installed.is_dir() else package.parent


def project_root() -> Path:
    """Return the directory that holds recipes/ and kernels/: the nearest above, else $ROOST_ROOT, else the current."""
    here = Path.cwd()
    for directory in (here, *here.parents):
        if (directory / "recipes").is_dir() and (directory / "kernels").is_dir():
            return directory
    return Path(os.environ.get("ROOST_ROOT", here))
