"""mkosi as a peer of `inv bench`: measured if this host's mkosi builds the same image, else left out.

A measurement of another image would be misleading: an mkosi older than the settings used here would ignore some, so the
packages of its image are verified by its own manifest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from roost.errors import HostError, ImageError, RoostError
from roost.host import jsontext, process

#: The oldest mkosi with all settings used here.
OLDEST = 25


def command(directory: Path, suite: str, packages: Sequence[str]) -> list[str | Path]:
    """Write mkosi's configuration of a disk with these packages into a new directory; return its command line.

    The image is built once, so that packages and caches are warm. Raises `HostError` if mkosi is missing or too old,
    `ToolError` if it fails, `ImageError` if it built something else.
    """
    if process.which("mkosi") is None:
        raise HostError("it is not installed")
    output = process.run(
        ["mkosi", "--version"], deadline=60, capture=True, what="mkosi does not report its version"
    ).text
    version = re.search(r"\d+", output)
    if version is None or int(version[0]) < OLDEST:
        raise HostError(f"{output.strip()} is older than {OLDEST}")
    (directory / "mkosi.extra/etc").mkdir(parents=True)
    for name in ("packages", "cache"):
        (directory / name).mkdir()
    (directory / "mkosi.conf").write_text(
        "[Distribution]\n"
        f"Distribution=debian\nRelease={suite}\n"
        "[Output]\nFormat=disk\nManifestFormat=json\n"
        "[Content]\nBootable=no\n"
        f"Packages={' '.join(packages)}\n"
        # mkosi 25 caches nothing between builds without the second setting.
        f"[Build]\nIncremental=yes\nCacheDirectory={directory}/cache\n"
        f"PackageCacheDirectory={directory}/packages\n"
    )
    found: list[str | Path] = ["mkosi", "--directory", directory]
    process.run([*found, "build"], deadline=7200, cwd=directory, capture=True, what="mkosi cannot build", foreign=True)
    if lacking := sorted({*packages} - _installed(directory)):
        raise ImageError(f"its image has no {', '.join(lacking)}")
    return found


def change(directory: Path, text: str) -> None:
    """Change the one file of the image that does not come from a package."""
    (directory / "mkosi.extra/etc/changed").write_text(text)


def _installed(directory: Path) -> set[str]:
    """Return the names of the packages in mkosi's manifest."""
    found: set[str] = set()
    for path in directory.rglob("*.manifest"):
        try:
            found |= {str(one["name"]) for one in jsontext.read(path)["packages"]}
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise ImageError(f"its manifest {path.name} cannot be read") from error
    return found


def reason(error: RoostError) -> str:
    """Return why mkosi is left out: what failed, and the end of its output."""
    output = [line.strip(" ‣")[:200] for line in error.tail.splitlines() if line.strip(" ‣")] if error.tail else []
    return f"mkosi is left out: {': '.join([error.problem.what, *output[-2:]])}"
