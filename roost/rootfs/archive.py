"""The archive's signed index: which sources a suite has, and what they hold today.

mmdebstrap knows the sources of a suite (the archive, its updates, its security archive), so it is asked. Each
source's InRelease file names, under signature, the digest of every index; its own digest is therefore the state
of the source, and part of the key of whatever is installed from it. apt verifies the signature when it installs.
"""

from __future__ import annotations

import email.utils
import hashlib
import os
import re
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from roost.cache import Cache, key
from roost.errors import HostError, ImageError, ToolError
from roost.events import Events
from roost.host import process
from roost.recipe.model import Debian
from roost.staging import write_atomically

#: Seconds for one InRelease (some 150 kB): an archive that is slower than this cannot be installed from either.
TIMEOUT = 15
LIMIT = 16 << 20
_SOURCE = re.compile(r"deb(?:\s+\[(?P<options>[^\]]*)\])?\s+(?P<uri>\S+)\s+(?P<suite>\S+)\s*(?P<components>.*)")


@dataclass(frozen=True, slots=True)
class Source:
    """One line of sources.list: where, which suite, which components."""

    uri: str
    suite: str
    components: tuple[str, ...]

    @property
    def index(self) -> str:
        """The address of its InRelease."""
        return f"{self.uri.rstrip('/')}/dists/{self.suite}/InRelease"


@dataclass(frozen=True, slots=True)
class Index:
    """The state of all sources: sha256 of each InRelease, and their newest date in seconds since 1970."""

    sources: tuple[Source, ...]
    digests: tuple[str, ...]
    date: int


def parse_sources(text: str) -> tuple[Source, ...]:
    """Return the `deb` lines of a sources.list."""
    matches = (_SOURCE.fullmatch(line.strip()) for line in text.splitlines())
    return tuple(Source(found["uri"], found["suite"], tuple(found["components"].split())) for found in matches if found)


def arguments(debian: Debian) -> list[str]:
    """Return mmdebstrap's arguments that choose the archive: components, suite and mirror come from here only."""
    return [f"--components={','.join(debian.components)}", f"--architectures={debian.architecture}"]


def sources(debian: Debian, cache: Cache, log: Path) -> tuple[Source, ...]:
    """Return the sources that mmdebstrap uses for a suite; asked once for each mmdebstrap."""
    tool = Path(process.require("mmdebstrap", "mmdebstrap")).stat()
    given = {
        "tool": f"{tool.st_size}-{tool.st_mtime_ns}",
        "suite": debian.suite,
        "mirror": debian.mirror,
        "components": debian.components,
    }

    def ask(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as name:
            # mmdebstrap's own user must be able to write here: in a user namespace it is not the folder's owner.
            Path(name).chmod(0o777)
            argv = [
                "mmdebstrap", "--quiet", "--variant=custom", "--format=null", *arguments(debian),
                f"--setup-hook=copy-out /etc/apt/sources.list {name}", "--setup-hook=exit 1",
                debian.suite, "-", *([debian.mirror] if debian.mirror else []),
            ]  # fmt: skip
            done = process.run(argv, deadline=60, log=log, check=False)
            lists = Path(name, "sources.list")
            if not lists.is_file():
                said = process.tail(log.read_bytes()) if log.exists() else ""
                raise ToolError(
                    f"mmdebstrap does not know the sources of {debian.suite}",
                    argv=argv,
                    returncode=done.returncode,
                    hint="is os.debian.suite a suite of Debian or Ubuntu? Else name os.debian.mirror",
                    log=log,
                    tail=said,
                )
            (folder / "sources.list").write_bytes(lists.read_bytes())

    folder = cache.put("sources", key("sources", given), ask)
    found = parse_sources((folder / "sources.list").read_text())
    if not found:
        raise ImageError(f"mmdebstrap has no sources for {debian.suite}", log=log)
    return found


def _proxies() -> dict[str, str]:
    """Return the proxies of the environment, else apt's: what reaches the archive for apt reaches it for us."""
    proxies = urllib.request.getproxies()
    if "http" not in proxies and process.which("apt-config"):
        shown = process.run(["apt-config", "dump", "Acquire::http::Proxy"], deadline=10, capture=True, check=False)
        found = re.search(r'^Acquire::http::Proxy "([^"]+)";', shown.text, re.MULTILINE)
        if found and found[1] != "DIRECT":
            proxies["http"] = found[1]
    return proxies


class _Store:
    """InRelease files as last seen, so that an unchanged one costs an empty answer, and none costs nothing."""

    def __init__(self, cache: Cache) -> None:
        self.folder = cache.root / "inrelease"
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, url: str) -> Path:
        return self.folder / hashlib.sha256(url.encode()).hexdigest()


def _fetch(url: str, store: _Store, opener: urllib.request.OpenerDirector) -> tuple[bytes, str | None]:
    """Return an InRelease, and what is to be said when it is the stored one because the archive does not answer."""
    path = store.path(url)
    local = re.match(r"(?:file|copy):(?://)?(/.*)", url)
    if local:
        try:
            return Path(local[1]).read_bytes(), None
        except OSError as error:
            raise ImageError(f"no index at {url}: {error.strerror}", hint="check os.debian.mirror") from error
    request = urllib.request.Request(url, headers={"User-Agent": "roost"})
    if path.exists():
        request.add_header("If-Modified-Since", email.utils.formatdate(path.stat().st_mtime, usegmt=True))
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            data: bytes = answer.read(LIMIT)
            stamp = (
                email.utils.parsedate_to_datetime(answer.headers["Last-Modified"])
                if "Last-Modified" in answer.headers
                else None
            )
        if b"\nDate: " not in data:
            raise ImageError(f"{url} is not the index of an archive", hint="check os.debian.mirror and os.debian.suite")
        write_atomically(path, data)
        if stamp is not None:
            os.utime(path, (stamp.timestamp(), stamp.timestamp()))
        return data, None
    except urllib.error.HTTPError as error:
        if error.code == 304:
            return path.read_bytes(), None
        if error.code == 404:
            raise ImageError(
                f"the archive has no such suite: {url} (404)", hint="check os.debian.suite and os.debian.mirror"
            ) from error
        reason = f"status {error.code}"
    except (OSError, ValueError) as error:
        reason = str(getattr(error, "reason", error)) or type(error).__name__
    if path.exists():
        return path.read_bytes(), f"{url} does not answer ({reason}): building from what it held when last seen"
    raise HostError(
        f"the archive does not answer: {url} ({reason})",
        hint="is the network up, and is os.debian.mirror right? A proxy comes from http_proxy or from apt's settings",
    )


def date_of(text: str) -> int:
    """Return the Date: field of an InRelease in seconds since 1970; raise `ImageError` without one."""
    found = re.search(r"^Date: (.+)$", text, re.MULTILINE)
    try:
        return int(email.utils.parsedate_to_datetime(found[1]).timestamp()) if found else 0
    except ValueError as error:
        raise ImageError("the archive's index has no readable date") from error


def index(debian: Debian, cache: Cache, log: Path, events: Events) -> Index:
    """Return the state of a suite's sources, fetched at once; raise `HostError` when the archive does not answer."""
    found = sources(debian, cache, log)
    store = _Store(cache)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(_proxies()))
    with ThreadPoolExecutor(max_workers=len(found)) as pool:
        answers = list(pool.map(lambda source: _fetch(source.index, store, opener), found))
    for _, note in answers:
        if note:
            events.note(note)
    texts = [data.decode("utf-8", "replace") for data, _ in answers]
    return Index(
        found, tuple(hashlib.sha256(data).hexdigest() for data, _ in answers), max(date_of(text) for text in texts)
    )


def epoch(found: Index, environment: Sequence[str] = ()) -> int:
    """Return the time of all files that have none of their own: SOURCE_DATE_EPOCH, else the index's date."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given is not None and given.isdigit():
        return int(given)
    return found.date
