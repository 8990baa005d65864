"""mkosi as a peer of `inv bench`: measured if this host's mkosi builds the same image, else left out.

A measurement of another image would be misleading. So mkosi gets the archive's sources and the very packages that apt
selects for roost, its manifest must name the same versions, and its disk must boot with a BIOS. Among the ways to such
a disk, it is given its fastest: GRUB's modules of the host, and one run of the packages' initramfs-tools, whose result
`Incremental=` keeps. Its default initrd, an image of its own, takes more time in each build.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from roost.errors import HostError, ImageError, RoostError
from roost.host import jsontext, process
from roost.sources import keyring
from roost.sources.aptsource import AptSource
from roost.sources.bootstrap import Bootstrap

#: The oldest mkosi with all settings used here.
OLDEST = 25
#: GRUB's modules and boot sector; mkosi looks for them in the image.
GRUB = Path("/usr/lib/grub/i386-pc")
#: What builds keep in the configuration's directory: packages, lists and tree of incremental builds, lists of others.
_CACHES = ("packages", "cache", "cold")
#: After packages, before the tree is cached: mkosi sets INITRD=No, so that their scripts make none.
_PREPARE = """\
#!/bin/sh
set -e
[ "$1" = final ] || exit 0
for modules in "$BUILDROOT"/usr/lib/modules/*; do
    mkosi-chroot update-initramfs -c -k "${modules##*/}"
done
"""
#: Initrds in this directory go beside the kernel in the boot loader's partition.
_POSTINST = """\
#!/bin/sh
set -e
mkdir -p "$ARTIFACTDIR/io.mkosi.initrd"
mv "$BUILDROOT"/boot/initrd.img-* "$ARTIFACTDIR/io.mkosi.initrd/"
"""


def prepare(directory: Path, wanted: Bootstrap) -> None:
    """Write mkosi's configuration of a disk with these packages into a new directory, and build it in both ways.

    Packages and caches are warm afterwards. Raises `HostError` if mkosi or GRUB is missing or too old, `ToolError` if
    it fails, `ImageError` if it built something else.
    """
    if process.which("mkosi") is None:
        raise HostError("it is not installed")
    output = process.run(
        ["mkosi", "--version"], deadline=60, capture=True, what="mkosi does not report its version"
    ).text
    version = re.search(r"\d+", output)
    if version is None or int(version[0]) < OLDEST:
        raise HostError(f"{output.strip()} is older than {OLDEST}")
    _configure(directory, wanted)
    first: list[str | Path] = ["mkosi", "--directory", directory, "--force", "build"]
    for argv in (cold(directory), first, again(directory)):
        process.run(argv, deadline=7200, cwd=directory, capture=True, what="mkosi cannot build", foreign=True)
        _verify(directory, wanted)


def cold(directory: Path) -> list[str | Path]:
    """Return the command line of a build from packages, without a copy of the tree for later builds.

    A build that is not incremental removes such a copy, so this one has a cache of its own: the archive's lists.
    """
    own = f"--cache-directory={directory}/cold"
    return ["mkosi", "--directory", directory, "--force", "--incremental=no", own, "build"]


def again(directory: Path) -> list[str | Path]:
    """Return the command line of a build that begins with the cached tree, and fails without one."""
    return ["mkosi", "--directory", directory, "--force", "--incremental=strict", "build"]


def _configure(directory: Path, wanted: Bootstrap) -> None:
    if not GRUB.is_dir():
        raise HostError(f"its image would not boot: no {GRUB} (package grub-pc-bin)")
    extra, sandbox = directory / "mkosi.extra", directory / "mkosi.sandbox/etc/apt/sources.list.d"
    for path in (extra / "etc", extra / "usr/lib/grub", sandbox, *(directory / name for name in _CACHES)):
        path.mkdir(parents=True)
    shutil.copytree(GRUB, extra / "usr/lib/grub" / GRUB.name)
    # By default mkosi also fetches indexes of sources and of debug symbols.
    sources = "\n".join(_stanza(source, wanted.index.origin) for source in wanted.index.sources)
    (sandbox / "mkosi.sources").write_text(sources)
    for name, script in (("mkosi.prepare", _PREPARE), ("mkosi.postinst", _POSTINST)):
        (directory / name).write_text(script)
        (directory / name).chmod(0o755)
    (directory / "mkosi.conf").write_text(
        "[Distribution]\n"
        f"Distribution=debian\nRelease={wanted.debian.suite}\n"
        "[Output]\nFormat=disk\nManifestFormat=json\n"
        "[Content]\nBootable=yes\nBootloader=none\nBiosBootloader=grub\n"
        "Initrds=\nKernelModulesInitrd=no\nKernelCommandLine=console=ttyS0\n"
        # All by name: mkosi installs neither apt nor what is only required.
        f"Packages={' '.join(one.name for one in wanted.selection.packages)}\n"
        # mkosi 25 caches nothing between builds without the second setting.
        f"[Build]\nIncremental=yes\nCacheDirectory={directory}/cache\n"
        f"PackageCacheDirectory={directory}/packages\n"
    )


def _stanza(source: AptSource, origin: str) -> str:
    """Return a source in the format of deb822, in which mkosi's own are written."""
    lines = [
        "Types: deb",
        f"URIs: {source.uri}",
        f"Suites: {source.suite}",
        f"Components: {' '.join(source.components)}",
    ]
    if origin in keyring.VENDORS:
        lines.append(f"Signed-By: {keyring.KEYRINGS / keyring.VENDORS[origin][0]}")
    return "".join(f"{line}\n" for line in lines)


def change(directory: Path, text: str) -> None:
    """Change the one file of the image that does not come from a package."""
    (directory / "mkosi.extra/etc/changed").write_text(text)


def _verify(directory: Path, wanted: Bootstrap) -> None:
    """Raise `ImageError` unless the image has exactly the wanted packages, and a boot loader."""
    asked = {f"{one.name} {one.version}" for one in wanted.selection.packages}
    found = _installed(directory)
    if lacking := sorted(asked - found):
        raise ImageError(f"its image has no {', '.join(lacking)}")
    if more := sorted(found - asked):
        raise ImageError(f"its image also has {', '.join(more)}")
    with (directory / "image.raw").open("rb") as disk:
        # The boot sector of GRUB contains its name.
        if b"GRUB" not in disk.read(512):
            raise ImageError("its image has no boot loader")


def _installed(directory: Path) -> set[str]:
    """Return the names and versions of the packages in mkosi's manifest."""
    path = directory / "image.manifest"
    try:
        return {f"{one['name']} {one['version']}" for one in jsontext.read(path)["packages"]}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ImageError(f"its manifest {path.name} cannot be read") from error


def reason(error: RoostError) -> str:
    """Return why mkosi is left out: what failed, and the end of its output."""
    output = [line.strip(" ‣")[:200] for line in error.tail.splitlines() if line.strip(" ‣")] if error.tail else []
    return f"mkosi is left out: {': '.join([error.problem.what, *output[-2:]])}"
