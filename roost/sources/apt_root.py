"""The root directory of this host's apt for an archive: its lists, in the cache, and what they say to all recipes.

apt verifies the lists, and updates them only when the signed index is another. Besides them it keeps its own cache of
their packages, and `known`: which packages are essential, and the answers that depend on the lists alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path

from filelock import FileLock

from roost.errors import ToolError
from roost.host import files
from roost.sources import archive, contained, keyring
from roost.sources.bootstrap import TOOLS, Bootstrap
from roost.sources.bootstrap_errors import explained
from roost.store import keys
from roost.store.cache import Cache, work_directory
from roost.store.stage import Stage

APT = ("apt-get", "apt-cache", "apt-config")
#: Not stored by its key, which is in the root's `known/state`.
KNOWN = Stage("known", (__name__,), APT)
#: The directory of the roots in the cache.
ROOTS = "apt"
#: In a root: the keys of an archive that the host does not trust by default.
KEYRING = "keyring.gpg"
#: Bytes of one list: Debian's main has 50 MB.
LARGEST = 1 << 30

CONFIGURATION = """\
Dir "@ROOT@";
Dir::Etc "@ROOT@/etc";
Dir::Etc::Trusted "@TRUSTED@";
Dir::Etc::TrustedParts "@PARTS@";
Dir::State "@ROOT@";
Dir::State::Lists "@ROOT@/lists";
Dir::State::Status "@ROOT@/status";
Dir::Cache "@ROOT@";
Dir::Cache::Archives "@ROOT@/archives";
APT::Architecture "{architecture}";
APT::Architectures "{architecture}";
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::GzipIndexes "false";
Acquire::ForceHash "SHA256";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Acquire::Retries "2";
pkgCacheGen::ForceEssential ",";
"""


def hook(name: str) -> Path:
    """Return the path of one of roost's scripts that run with apt."""
    return Path(str(resources.files("roost.sources") / "hooks" / name))


@contextmanager
def root(wanted: Bootstrap, cache: Cache) -> Iterator[Path]:
    """Yield the root directory of apt for these sources, with its configuration, locked."""
    name = keys.digest(wanted.sources())
    place = cache.root / ROOTS / name
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(files.lock_path(place.with_name(f".{name}.lock"))):
        place.mkdir(exist_ok=True)
        os.utime(place)
        prepare(wanted, place)
        try:
            yield place
        finally:
            # The other one, pkgcache.bin, saves the next recipe half of apt's time.
            (place / "srcpkgcache.bin").unlink(missing_ok=True)


def prepare(wanted: Bootstrap, root: Path) -> None:
    """Write apt's configuration into a directory: settings, sources, and an empty directory `out`."""
    shutil.rmtree(root / "out", ignore_errors=True)
    shutil.rmtree(root / "etc", ignore_errors=True)
    for name in (
        "out",
        "etc/apt.conf.d",
        "etc/preferences.d",
        "etc/sources.list.d",
        "lists/partial",
        "archives/partial",
    ):
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "apt.conf.in").write_text(CONFIGURATION.format(architecture=wanted.debian.architecture))
    (root / "etc/sources.list").write_text("".join(f"{line}\n" for line in wanted.lines))
    for extra in wanted.repositories:
        path = root / f"etc/sources.list.d/roost-{extra.name}.sources"
        path.write_text(extra.outside(wanted.debian.architecture))
    # apt drops its cache of the lists when sources are newer; another root is made for other ones (`root`).
    for path in (root / "etc").rglob("*"):
        os.utime(path, (0, 0))


def _state(wanted: Bootstrap) -> str:
    """Return a digest of all on which apt's lists depend, and what they say to every recipe."""
    return KNOWN.key({"index": wanted.index.digests, "tools": TOOLS})


def is_current(wanted: Bootstrap, root: Path) -> bool:
    """Return whether apt has the indexes that the archive has now, still valid: an update would get nothing."""
    sources = (*wanted.index.sources, *(one.source for one in wanted.repositories))
    for source, digest in zip(sources, wanted.index.digests, strict=True):
        try:
            data = files.read_bytes(root / "lists" / list_name(source.index), archive.LIMIT)
        except OSError:
            return False
        if hashlib.sha256(data).hexdigest() != digest or archive.is_expired(data.decode("utf-8", "replace")):
            return False
    return True


def run(wanted: Bootstrap, root: Path, script: str, words: Sequence[str], log: Path) -> None:
    """Run one of the scripts that call apt with a separate root; raise an error for its output."""
    given = keyring.foreign(wanted.index.origin)
    if given is not None:
        shutil.copyfile(given, root / KEYRING)
    try:
        with work_directory() as scratch:
            contained.run(
                wanted,
                [str(hook(script)), str(root), *words],
                contained.Given(scratch, [hook(script).parent], [root], network=True),
                log=log,
                env={
                    "ROOST_TOOLS": " ".join(TOOLS),
                    "ROOST_ARCHIVE": _state(wanted),
                    "ROOST_CURRENT": "yes" if is_current(wanted, root) else "",
                },
                what=f"cannot select the packages of {wanted.debian.suite}",
            )
    except ToolError as error:
        raise explained(error, wanted) from error


def list_name(address: str) -> str:
    """Return apt's file name for the list of an address (apt, URItoFileName): no scheme, some characters as %XX."""
    path = re.sub(r"^[a-z+]+:(//([^/@]*@)?)?", "", address)
    return re.sub(r'[\\|{}\[\]<>"^~_=!@#$%&*]', lambda found: f"%{ord(found[0]):02x}", path).replace("/", "_")
