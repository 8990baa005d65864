"""The archive's signed index: which sources a suite has, and their current state.

mmdebstrap knows the sources of a suite (the archive, its updates, its security archive), so it is queried. Each
source's InRelease file lists, signed, the digest of every package list: as long as those in use are unchanged, apt
selects the same packages as before. apt verifies the signature when it reads the lists.
"""

from __future__ import annotations

import email.utils
import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from roost.errors import HostError, ImageError, ToolError
from roost.events import Events
from roost.host import causes, namespace, process, source_date, temporary
from roost.host.pool import Pool
from roost.recipe.debian import SNAPSHOT_ID, Debian, snapshot_time
from roost.sources import snapshot
from roost.sources.aptsource import AptSource, parse_sources
from roost.store.cache import Cache
from roost.store.stage import Stage
from roost.store.staging import write_atomically

#: Seconds for one InRelease (some 150 kB): an archive slower than this is too slow to install from.
TIMEOUT = 15
LIMIT = 16 << 20
#: A marker in the directory of InRelease files: they stand for the archive.
PINNED = "pinned"
STAGE = Stage("sources", (__name__,), ("mmdebstrap",))


@dataclass(frozen=True, slots=True)
class Index:
    """The state of all sources: sha256 of each InRelease, and the archive's newest date in seconds since 1970.

    `sources` are the archive's own, `digests` theirs and those of the recipe's further ones. `origin` is the archive's
    publisher: Debian, Ubuntu. `states` are the digests of each index's package information; `fixed` means that the
    archive is as of a given time, which is then `date`.
    """

    sources: tuple[AptSource, ...]
    digests: tuple[str, ...]
    date: int
    origin: str = ""
    states: tuple[str, ...] = ()
    fixed: bool = False


def arguments(debian: Debian) -> list[str]:
    """Return mmdebstrap's arguments that select the archive: components, suite and mirror are set only here."""
    return [f"--components={','.join(debian.components)}", f"--architectures={debian.architecture}"]


def mirror(debian: Debian) -> list[str]:
    """Return the mirror as mmdebstrap's argument, with a snapshot's time filled in; empty for the default."""
    if debian.mirror is None:
        return []
    return [debian.mirror.replace(SNAPSHOT_ID, debian.snapshot or "")]


def sources(debian: Debian, cache: Cache, log: Path) -> tuple[AptSource, ...]:
    """Return the sources that mmdebstrap uses for a suite; queried once for each version of mmdebstrap."""
    process.require("mmdebstrap", "mmdebstrap")
    inputs = {"suite": debian.suite, "mirror": mirror(debian), "components": debian.components}

    def ask(directory: Path) -> None:
        with temporary.directory("sources") as name:
            argv = [
                "mmdebstrap", "--quiet", "--mode=root", "--variant=custom", "--format=null", *arguments(debian),
                f"--setup-hook=copy-out /etc/apt/sources.list {name}", "--setup-hook=exit 1",
                debian.suite, "-", *mirror(debian),
            ]  # fmt: skip
            here = namespace.current()
            if here.user:
                namespace.probe(here)
                argv = here.argv(argv)
            done = process.run(argv, deadline=60, log=log, check=False, env={"TMPDIR": str(name)})
            lists = Path(name, "sources.list")
            if not lists.is_file():
                output = process.tail(log.read_bytes()) if log.exists() else ""
                raise ToolError(
                    f"mmdebstrap does not know the sources of {debian.suite}",
                    argv=argv,
                    returncode=done.returncode,
                    hint="is os.debian.suite a suite of Debian or Ubuntu? Else name os.debian.mirror",
                    log=log,
                    tail=output,
                )
            (directory / "sources.list").write_bytes(lists.read_bytes())

    directory = STAGE.stored(cache, inputs, ask)
    found = parse_sources((directory / "sources.list").read_text())
    if not found:
        raise ImageError(f"mmdebstrap has no sources for {debian.suite}", log=log)
    return found


def _proxies() -> dict[str, str]:
    """Return the proxies of the environment, else apt's: they must reach the archive for apt as well."""
    proxies = urllib.request.getproxies()
    if "http" not in proxies and process.which("apt-config"):
        shown = process.run(["apt-config", "dump", "Acquire::http::Proxy"], deadline=10, capture=True, check=False)
        found = re.search(r'^Acquire::http::Proxy "([^"]+)";', shown.text, re.MULTILINE)
        if found and found[1] != "DIRECT":
            proxies["http"] = found[1]
    return proxies


class _Store:
    """Stores InRelease files: an unchanged one is not sent again, and one replaces an archive that does not answer."""

    def __init__(self, cache: Cache) -> None:
        self.directory = cache.root / "inrelease"
        self.directory.mkdir(parents=True, exist_ok=True)

    @property
    def pinned(self) -> bool:
        """Whether the stored files replace the archive: all jobs of one workflow see the same state of it."""
        return (self.directory / PINNED).exists()

    def path(self, url: str) -> Path:
        return self.directory / hashlib.sha256(url.encode()).hexdigest()


def _fetch(source: AptSource, store: _Store, opener: urllib.request.OpenerDirector) -> tuple[bytes, str | None]:
    """Return an InRelease, and a note when it is the stored one because the archive does not answer."""
    url = source.index
    path = store.path(url)
    mirror_hint = "check os.debian.repositories" if source.further else "check os.debian.mirror"
    suite_hint = f"{mirror_hint}: uri and suite" if source.further else f"{mirror_hint} and os.debian.suite"
    local = re.match(r"(?:file|copy):(?://)?(/.*)", url)
    if local:
        try:
            return Path(local[1]).read_bytes(), None
        except OSError as error:
            raise ImageError(f"no index at {url}: {error.strerror}", hint=mirror_hint) from error
    if store.pinned and path.exists():
        return path.read_bytes(), None
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
            raise ImageError(f"{url} is not the index of an archive", hint=suite_hint)
        if not path.exists() or path.read_bytes() != data:
            write_atomically(path, data)
        if stamp is not None:
            os.utime(path, (stamp.timestamp(), stamp.timestamp()))
        return data, None
    except urllib.error.HTTPError as error:
        if error.code == 304:
            return path.read_bytes(), None
        if error.code == 404:
            raise ImageError(f"the archive has no such suite: {url} (404)", hint=suite_hint) from error
        reason = f"status {error.code}"
    except (OSError, ValueError, OverflowError, http.client.HTTPException) as error:
        # A full disk or a file size limit met while storing the answer is not the archive's fault.
        causes.check(error, str(path))
        # ValueError and OverflowError: a redirect to an invalid URL.
        inner = getattr(error, "reason", error)
        reason = causes.reason(inner if isinstance(inner, BaseException) else error)
    if path.exists():
        return path.read_bytes(), f"{url} does not answer ({reason}): building from what it held when last seen"
    proxy = _proxy(url, opener)
    hint = (
        f"does the proxy {proxy} let this through? It comes from {urlsplit(url).scheme}_proxy or from apt's settings"
        if proxy
        else f"is the network up? {mirror_hint}. A proxy comes from http_proxy or from apt's settings"
    )
    raise HostError(f"the archive does not answer: {url} ({reason})", hint=hint)


def _proxy(url: str, opener: urllib.request.OpenerDirector) -> str:
    """Return the proxy used for a URL, without the password that it may contain; "" for none."""
    parts = urlsplit(url)
    if urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return ""
    handlers = [one for one in getattr(opener, "handlers", ()) if isinstance(one, urllib.request.ProxyHandler)]
    proxies: dict[str, str] = getattr(handlers[0], "proxies", {}) if handlers else {}
    scheme, slashes, rest = proxies.get(parts.scheme, "").rpartition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}"


def date_of(text: str) -> int:
    """Return the Date: field of an InRelease in seconds since 1970; raise `ImageError` if it is missing."""
    found = re.search(r"^Date: (.+)$", text, re.MULTILINE)
    try:
        return int(email.utils.parsedate_to_datetime(found[1]).timestamp()) if found else 0
    except ValueError as error:
        raise ImageError("the archive's index has no readable date") from error


def is_expired(text: str) -> bool:
    """Return whether an InRelease is no longer valid (Valid-Until), or says so in a form that is not readable."""
    found = re.search(r"^Valid-Until: (.+)$", text, re.MULTILINE)
    try:
        return found is not None and email.utils.parsedate_to_datetime(found[1]).timestamp() < time.time()
    except (ValueError, OverflowError):
        return True


def index(debian: Debian, cache: Cache, log: Path, events: Events, further: Sequence[AptSource] = ()) -> Index:
    """Return the state of a suite's sources and of `further` ones, fetched in parallel.

    Raises `HostError` when an archive does not answer, `UsageError` when the address of its snapshots is unknown.
    """
    store = _Store(cache)
    with Pool(max_workers=1) as pool:
        proxies = pool.submit(_proxies)
        found = sources(debian, cache, log)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies.result()))

    def fetch(wanted: Sequence[AptSource]) -> list[bytes]:
        with Pool(max_workers=len(wanted)) as pool:
            answers = list(pool.map(lambda source: _fetch(source, store, opener), wanted))
        for _, note in answers:
            if note:
                events.note(note)
        return [data for data, _ in answers]

    if debian.snapshot is not None:
        found = _at(debian, debian.snapshot, found, fetch)
    indexes = fetch((*found, *further))
    texts = [data.decode("utf-8", "replace") for data in indexes[: len(found)]]
    date = max(date_of(text) for text in texts) if debian.snapshot is None else snapshot_time(debian.snapshot)
    origin = re.search(r"^Origin: *(.+?) *$", texts[0], re.MULTILINE)
    digests = tuple(hashlib.sha256(data).hexdigest() for data in indexes)
    states = tuple(state(data.decode("utf-8", "replace")) for data in indexes)
    return Index(found, digests, date, origin[1] if origin else "", states, fixed=debian.snapshot is not None)


def _at(
    debian: Debian, time: str, found: Sequence[AptSource], fetch: Callable[[Sequence[AptSource]], list[bytes]]
) -> tuple[AptSource, ...]:
    """Return the sources as of a time; the archive's own index is read only if no setting gives the address."""
    service = snapshot.given()
    if debian.mirror is not None:
        return tuple(snapshot.at(source, source.uri, time) for source in found)
    if service is not None:
        return tuple(snapshot.at(source, snapshot.from_service(service, source), time) for source in found)
    texts = [data.decode("utf-8", "replace") for data in fetch(found)]
    settings = snapshot.apt_settings()
    return tuple(
        snapshot.at(source, snapshot.from_index(text, settings), time)
        for source, text in zip(found, texts, strict=True)
    )


#: Fields of an index that change with every update of the archive (Debian's repository format).
_MOVING = re.compile(r"^(Date|Valid-Until|Changelogs|Version|Description):.*\n", re.MULTILINE)
_PACKAGES = re.compile(r"^ ([0-9a-f]{64}) +\d+ +((?:\S+/)?Packages(?:\.\w+)?) *$", re.MULTILINE)


def state(text: str) -> str:
    """Return a digest of an InRelease's package information: its fields, and the sums of its package lists."""
    listed = _PACKAGES.findall(text)
    own = [(name, digest) for digest, name in listed if _in_use(name)]
    if not own:
        return hashlib.sha256(text.encode()).hexdigest()
    head = _MOVING.sub("", re.split(r"^(?:MD5Sum|SHA1|SHA256|SHA512):", text, maxsplit=1, flags=re.MULTILINE)[0])
    return hashlib.sha256("\n".join([head, *(f"{name} {digest}" for name, digest in sorted(own))]).encode()).hexdigest()


def _in_use(name: str) -> bool:
    """Return whether apt reads a list: not one of another architecture or of the installer."""
    folders = name.split("/")[:-1]
    binary = [one for one in folders if one.startswith("binary-")]
    return "debian-installer" not in folders and (not binary or binary[-1] in ("binary-amd64", "binary-all"))


def epoch(found: Index) -> int | None:
    """Return the latest allowed file time: SOURCE_DATE_EPOCH, else that of a snapshot, else None.

    None stands for the time of the newest package: other updates of the archive then change nothing.
    """
    given = source_date.given()
    return given if given is not None else found.date if found.fixed else None
