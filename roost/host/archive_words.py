"""Damage of archives and compressed files in plain words.

tarfile, gzip, bz2, lzma, zstandard and lz4 raise exceptions of many classes, with messages such as "Error -3 while
decompressing data: invalid distance too far back". The user needs to know one of three things.
"""

from __future__ import annotations

import os
import re

#: The file ends before its end mark; a check sum or a structure in it is wrong; it is something else.
CUT, DAMAGED, OTHER = "it is cut off", "its data is damaged", "it is in another format"
#: The hint for each of them.
AGAIN = "fetch or pack it again"
#: Parts of the libraries' messages for the first and the last of them.
_CUT = re.compile(r"unexpected end of data|truncated|end-of-stream marker|incomplete", re.IGNORECASE)
_OTHER = re.compile(
    r"not an? (?:gzip|bzip2|lzma|lz4)|bad magic|unknown frame|incorrect header check|format not supported"
    r"|could not be opened|missing or bad|empty file|invalid header|bad checksum",
    re.IGNORECASE,
)


class PlainError(Exception):
    """Damage that roost itself has found; the message is for the user."""


def told(error: BaseException) -> str:
    """Return why an archive or a compressed file cannot be read, from an exception of what reads it."""
    if isinstance(error, PlainError):
        return str(error)
    if isinstance(error, OSError) and error.errno:
        return error.strerror or os.strerror(error.errno)
    message = str(error)
    if isinstance(error, EOFError) or _CUT.search(message):
        return CUT
    return OTHER if _OTHER.search(message) else DAMAGED
