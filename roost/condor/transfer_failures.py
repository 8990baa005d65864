"""The direction, side and cause of a failed file transfer: hold codes 12 and 13.

The code alone is ambiguous: an older shadow keeps the starter's words with the code of the file's direction, so
that code 13 also stands for output that could not be read on the execution point
(condor_shadow.V6.1/baseshadow.cpp, the table in improveReasonAttributes). The words are unambiguous.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from roost.recipe.words import shown

Way = Literal["in", "out"]
Side = Literal["access", "execution"]

_OUT = re.compile(
    r"transfer(?:ring)? (?:output|checkpoint) files failure|output file transfer stalled"
    r"|\bSTARTER\b[^;\n|]{0,400}? failed to send"
    r"|\bSHADOW\b[^;\n|]{0,400}? failed to (?:receive|write|create)|remaps? result(?:s|ed) in a cycle"
    r"|failed to (?:send|transfer) output|TransferOutputError|upload aborted|failed to upload",
    re.IGNORECASE,
)
_IN = re.compile(
    r"transfer(?:ring)? input files failure|input file transfer stalled|\bSHADOW\b[^;\n|]{0,400}? failed to send"
    r"|\bSTARTER\b[^;\n|]{0,400}? failed to (?:receive|write|create)"
    r"|failed to (?:receive|read|transfer) (?:input )?files?\b|TransferInputError|non-existent file"
    r"|(?:non-zero exit|failed to execute)[^\n]{0,200}plugin|FILETRANSFER:\d",
    re.IGNORECASE,
)
#: A message without a direction: a path below the execute directory belongs to a job that has run.
_READING = re.compile(r"\berror:? reading from (?:file )?(?P<path>\S{1,400})", re.IGNORECASE)
_EXECUTE = re.compile(r"/execute/|/dir_\d+/|[\\/]execute[\\/]")

_SIDE = re.compile(r"failure at (?:the )?(access|execution) point", re.IGNORECASE)
#: Where the error message itself comes from, in the output of older shadows.
_STARTER_SAYS = re.compile(r"\bSTARTER\b[^;\n|]{0,300}?(?:failed to (?:write|create)|: \|?(?:error|reading))", re.I)
_SHADOW_SAYS = re.compile(r"\bSHADOW\b[^;\n|]{0,300}?(?:failed to (?:write|create)|: \|?(?:error|reading))", re.I)

_FILE = re.compile(r"\b(?:reading from|writing to|write to|read from|open)(?: file)? (?P<path>[^\s:]{1,400})", re.I)
_PLUGIN = re.compile(r"plugin|using protocol|URL file\s*=|FILETRANSFER:\d|could not resolve host", re.IGNORECASE)
_ERRNO = re.compile(r"\berrno\W{0,3}(\d{1,3})\b", re.IGNORECASE)
_WORDS = (
    (28, r"no space left"), (122, r"quota exceeded|disk quota"), (13, r"permission denied"),
    (2, r"no such file or directory|non-existent file|does not exist"), (21, r"is a directory"),
    (30, r"read-only file system"), (5, r"input/output error"), (27, r"file too large"),
    (110, r"timed out|connection (?:reset|refused|closed)|transfer stalled"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed transfer: `way` is in or out, `side` where it failed, `number` the errno (None: not given)."""

    way: Way
    side: Side | None
    number: int | None
    path: str | None = None
    plugin: bool = False
    cycle: bool = False


def find(text: str) -> Failure | None:
    """Return the failed transfer described by a text, or None."""
    way: Way
    reading = _READING.search(text)
    if _OUT.search(text):
        way = "out"
    elif _IN.search(text):
        way = "in"
    elif reading:
        way = "out" if _EXECUTE.search(reading["path"]) else "in"
    else:
        return None
    named = _FILE.search(text)
    return Failure(
        way,
        _side(text, way),
        number(text),
        named["path"] if named else None,
        _PLUGIN.search(text) is not None,
        re.search(r"remaps? result(?:s|ed) in a cycle", text, re.IGNORECASE) is not None,
    )


def _side(text: str, way: Way) -> Side | None:
    if side := _SIDE.search(text):
        return "access" if side[1].lower() == "access" else "execution"
    if _SHADOW_SAYS.search(text):
        return "access"
    if _STARTER_SAYS.search(text):
        return "execution"
    if reading := _READING.search(text):
        return "execution" if way == "out" or _EXECUTE.search(reading["path"]) else "access"
    return None


def number(text: str) -> int | None:
    """Return the errno named in a text, by number or in words, or None."""
    if found := _ERRNO.search(text):
        return int(found[1])
    return next((value for value, words in _WORDS if re.search(words, text, re.IGNORECASE)), None)


_FULL = (28, 122)
_DENIED = (1, 13)


def why(failure: Failure) -> tuple[str, str]:
    """Return the cause of a failed transfer and the fix."""
    cases = _output(failure) if failure.way == "out" else _input(failure)
    cause, fix = next((cause, fix) for holds, cause, fix in cases if holds)
    named = f": {shown(failure.path, 300)}" if failure.path and not failure.plugin else ""
    return f"{cause}{named}", f"{fix}; then condor_release"


def _full(failure: Failure) -> str:
    return "the disk quota is exceeded" if failure.number == 122 else "there is no space left"


def _output(failure: Failure) -> list[tuple[bool, str, str]]:
    """Return the possible causes of missing output as (applies, cause, fix); the last one always applies."""
    access, number = failure.side == "access", failure.number
    returns = "the directory at the access point that the output returns to"
    return [
        (
            failure.cycle,
            "transfer_output_remaps leads in a circle: an output is written to a path that is renamed again",
            "give each output one plain name in transfer_output_remaps",
        ),
        (
            number in _FULL and failure.side == "execution",
            f"{_full(failure)} on the execute machine",
            "ask for more request_disk",
        ),
        (
            number in _FULL,
            f"{_full(failure)} in {returns}",
            "free some space there, or return the output elsewhere with transfer_output_remaps",
        ),
        (
            number in {*_DENIED, 30} and access,
            f"{returns} may not be written to (permission denied)",
            "make the directory writable for the job's owner",
        ),
        (
            number in _DENIED,
            "the output is there, but the starter may not read it (permission denied)",
            "keep the disk's owner and mode as they were: mode 0644",
        ),
        (
            number == 2 and access,
            f"{returns} does not exist",
            "make the directory before the job ends, or correct transfer_output_remaps",
        ),
        (
            failure.plugin,
            "the plugin for the URL of output_destination or transfer_output_remaps could not write there",
            "test the URL and its credentials by hand",
        ),
        (
            number in {2, None},
            "a file of transfer_output_files was not in the sandbox when the job ended",
            "name only files of transfer_input_files in transfer_output_files, and remove vm_no_output_vm",
        ),
        (
            number == 110,
            "the transfer of the output stalled or was cut off: the network, or a busy access point",
            "check whether the access point is overloaded; if it repeats, return less, or tell its administrator",
        ),
        (
            True,
            f"the output could not be {'written at the access point' if access else 'read where the job ran'} "
            f"(errno {number})",
            f"check {returns}: space, quota, modes",
        ),
    ]


def _input(failure: Failure) -> list[tuple[bool, str, str]]:
    """Return the possible causes of missing input, as `_output` does."""
    number = failure.number
    return [
        (
            failure.plugin,
            "the plugin that fetches a URL on the execute machine failed: the URL, its host or the credentials",
            "fetch the URL by hand from another machine; check its spelling and that it needs no password",
        ),
        (
            number in _FULL,
            f"{_full(failure)} where the input is written to: the sandbox on the execute machine",
            "ask for enough request_disk: a sparse raw disk travels at its full size",
        ),
        (
            number in _DENIED and failure.side == "execution",
            "the execute machine may not write the input (permission denied)",
            "tell its administrator",
        ),
        (
            number in _DENIED,
            "an input exists, but may not be read by the job's owner (permission denied)",
            "chmod the file and the directories on the way to it",
        ),
        (
            number == 21,
            "an input is a directory where a file is expected",
            "name the file, or end the directory's name with a slash",
        ),
        (
            number is None,
            "a file of transfer_input_files could not be sent; most often it is not there",
            "check that each file exists where you submit and may be read; separate them with commas, without quotes",
        ),
        (
            number == 2,
            "a file of transfer_input_files could not be sent: it is not there",
            "check whether each file exists where you submit; separate them with commas, without quotes",
        ),
        (
            number == 110,
            "the transfer of the input stalled or was cut off: the network, or a busy access point",
            "check whether the access point is overloaded; send less, or publish large images on a shared path or osdf://",
        ),
        (True, f"a file of transfer_input_files could not be sent (errno {number})", "read the file by hand there"),
    ]
