"""The steps of `inv explain`: a hold reason or a log, explained in plain words."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from roost.condor import explain as explanation
from roost.errors import UsageError
from roost.pipeline.stdin import standard_input

#: Bytes read at the end of a log, which has the results of the jobs.
LOG_BYTES = 4 << 20


def explain(words: Sequence[str], *, named: bool = False) -> dict[str, Any]:
    """Explain a text: that of a file, of standard input (`-`), or the words themselves.

    A single word that names a file is read; with `named` the last word is always a file. Raises `UsageError` for a file
    that cannot be read.
    """
    text = " ".join(words[:-1] if named else words)
    if named or (len(words) == 1 and _means_file(words[0])):
        data = standard_input("a log") if words[-1] == "-" else _log(Path(words[-1]))
        text = f"{text if named else ''}\n{data.decode('utf-8', 'replace')}"
    if not text.strip():
        raise UsageError("nothing to explain", hint="inv explain TEXT, or inv explain FILE, or - for standard input")
    matches = [match.to_json() for match in explanation.explain(text)]
    if (
        not matches
        and len(words) == 1
        and not re.search(r"\s", words[0])
        and words[0] != "-"
        and not _is_there(words[0])
    ):
        return {"matches": [], "note": f"{words[0]} is neither a file nor a message that roost knows"}
    return {"matches": matches}


def _is_there(word: str) -> bool:
    return "\0" not in word and os.path.lexists(word)


def _means_file(word: str) -> bool:
    """Return whether a word is a file name or - rather than the text: the file exists, or it looks like a path."""
    if word == "-":
        return True
    try:
        if os.path.lexists(word):
            return True
    except ValueError:
        return False
    return re.fullmatch(r"(?:\.{0,2}/)?[\w.+-]+(?:/[\w.+-]+)*\.(?:log|txt|out|err|sub)|\.{0,2}/\S+", word) is not None


def _log(path: Path) -> bytes:
    """Return the end of a log. A pipe or a device is not opened: reading it might not end."""
    try:
        if not path.is_file():
            what = f"{path} is not a file" if path.exists() else f"no such file: '{path}'"
            raise UsageError(what, hint="inv explain FILE, or - for standard input")
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_BYTES))
            return file.read(LOG_BYTES)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from error
