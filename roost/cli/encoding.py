"""Files, their names and arguments are UTF-8, whatever the locale says: a recipe means the same everywhere.

Python takes the encoding of a locale such as POSIX or de_DE.ISO-8859-1 for names of files, for texts and for the pipes
to its tools. Its UTF-8 mode (PEP 540) takes UTF-8 for all of them, and can only be chosen when it starts.
"""

from __future__ import annotations

import os
import sys

MODE, OUTPUT = "PYTHONUTF8", "PYTHONIOENCODING"
_ESCAPED = ":backslashreplace"


def require_utf8() -> None:
    """Start this program again in Python's UTF-8 mode unless names of files are UTF-8 already; else return.

    What the terminal cannot show is still written as escapes: its encoding stays that of the locale.
    """
    if sys.getfilesystemencoding().lower() in {"utf-8", "utf8"}:
        if os.environ.get(OUTPUT, "").endswith(_ESCAPED):
            # Only for this process: roost's own workers answer in UTF-8.
            del os.environ[OUTPUT]
        return
    if os.environ.get(MODE) == "1":
        # An option of Python's, such as -E, takes precedence.
        return
    os.environ[MODE] = "1"
    if OUTPUT not in os.environ and sys.stdout is not None:
        os.environ[OUTPUT] = f"{sys.stdout.encoding}{_ESCAPED}"
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
