"""Causes of mmdebstrap's failures, found in its log, as errors with a hint."""

from __future__ import annotations

import errno
import re
from collections.abc import Sequence

from roost.errors import HostError, ImageError, ToolError
from roost.host import causes, mapped, paths
from roost.sources import keyring
from roost.sources.bootstrap import Bootstrap

#: Causes that stop apt and dpkg. Other failures may be reported, also by packages' scripts, without stopping anything.
_STOPPING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENOMEM})

#: The message about a bootstrap that exceeded a limit, and those of shells and perl about the kernel's refusals.
_STOPPED = rf"(?m)^{re.escape(mapped.STOPPED)}(more than \d+ [\w ]{{1,40}}\(ROOST_RUN_[A-Z]+\))$"
_NO_FORK = r"(?m)(?:Cannot fork|fork: retry|[Ff]ork[^\n]{0,80}: Resource temporarily unavailable)$"
_MORE = "more than ROOST_RUN_PROCESSES were wanted, or more than this host allows (ulimit -u)"

#: apt's messages without gpgv: its script apt-key (until Debian 12), its method (since).
_NO_VERIFIER = (
    r"required for verification, but neither seems|Could not execute '[^']*' to verify signature|Cannot find gpgv"
)


class UnknownPackagesError(ImageError):
    """The archive does not have the packages `names`."""

    def __init__(self, names: Sequence[str], suite: str, error: ToolError) -> None:
        what = f"the archive of {suite} has no package {', '.join(names)}"
        hint = "check os.debian.packages, os.debian.components and kernel.use"
        super().__init__(what, hint=hint, log=error.log, tail=error.tail)
        self.names = tuple(names)


def explained(error: ToolError, wanted: Bootstrap) -> HostError | ImageError | ToolError:
    """Return the cause of mmdebstrap's failure, found in its log, as an error with a hint."""
    text = error.log.read_text(errors="replace")[-65536:] if error.log else error.tail
    limit = _limit(text, error)
    if limit is not None:
        return limit
    refused = causes.behind_words(text)
    if refused is not None and refused.number in _STOPPING:
        hint = f"{refused.hint}; it was in {paths.cache_root()} (ROOST_CACHE) or in memory"
        return causes.host_error(refused, error.problem.what, hint=hint, log=error.log, tail=error.tail)
    if re.search(_NO_VERIFIER, text):
        what = "apt on this host cannot verify signatures: gpgv is missing"
        return HostError(what, hint="apt-get install gpgv", log=error.log, tail=error.tail)
    unknown = sorted(set(re.findall(r"E: (?:Unable to locate package|Package '?)\s*'?([^\s']+)", text)))
    if unknown:
        return UnknownPackagesError(unknown, wanted.debian.suite, error)
    unsigned = re.search(r"E: The repository '(\S+) (\S+) (?:In)?Release' is not signed", text)
    # When only updating lists, apt keeps the old ones and reports this as a failure to fetch.
    unsigned = unsigned or re.search(r"GPG error: (\S+) (\S+) (?:In)?Release: The following signatures", text)
    if unsigned:
        return _unsigned(unsigned[1], unsigned[2], text, wanted, error)
    return _unanswered(text, error)


def _limit(text: str, error: ToolError) -> HostError | ImageError | None:
    """Return the error for a bootstrap that exceeded a limit, or would have."""
    stopped = re.findall(_STOPPED, text)
    if stopped:
        what = f"{error.problem.what}: its packages take {stopped[-1]}"
        return ImageError(what, hint="a package script runs out of control, or the limit is too low", log=error.log)
    if re.search(_NO_FORK, text):
        what = f"{error.problem.what}: it could not start another process"
        return HostError(what, hint=_MORE, log=error.log, tail=error.tail)
    return None


def _unanswered(text: str, error: ToolError) -> HostError | ImageError | ToolError:
    """Return the error for what could not be fetched, else the original failure."""
    absent = sorted({name.rpartition("/")[2] for name in re.findall(r"E: Failed to fetch (\S+[.]deb) +404", text)})
    if absent:
        return ImageError(
            f"the archive no longer has {', '.join(absent[:8])}",
            hint="build again once its index is updated; os.debian.snapshot keeps the packages of a point in time",
            log=error.log,
            tail=error.tail,
        )
    if re.search(r"E: Failed to fetch|Could not connect|Connection timed out|Temporary failure resolving", text):
        return HostError(
            "the archive does not answer",
            hint="is the network up, and is os.debian.mirror right?",
            log=error.log,
            tail=error.tail,
        )
    return error


def _unsigned(uri: str, suite: str, text: str, wanted: Bootstrap, error: ToolError) -> ImageError | HostError:
    """Return the error for an index that is not signed by a known key: of a further repository, or of the archive."""
    signer = re.findall(r"NO_PUBKEY ([0-9A-F]+)", text)
    signed = f"it is signed by {signer[-1]}" if signer else "it has no valid signature"
    address = re.sub(r"^(?:file|copy):/*", "/", uri).rstrip("/")
    for extra in wanted.repositories:
        if re.sub(r"^(?:file|copy):/*", "/", extra.repository.uri).rstrip("/") == address:
            return ImageError(
                f"{extra.repository.key} is not the key of the repository {extra.repository.uri}",
                hint=f"{signed}; the file holds {', '.join(extra.fingerprints)}",
                log=error.log,
                tail=error.tail,
            )
    return HostError(
        f"{uri} {suite} is not signed by a key that this host trusts: {signed}",
        hint=keyring.hint(wanted.index.origin),
        log=error.log,
        tail=error.tail,
    )
