"""A line on the terminal before other modules are loaded: long tasks take a second to import.

This module imports only the standard library.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

#: Tasks that take more than a moment, and show their progress.
LONG = frozenset({"boot", "build", "factory", "lock", "publish", "repro", "run", "shell", "ssh"})


def require_python() -> None:
    """Exit with an error if an older Python runs roost: this module is the last that it can parse."""
    if sys.version_info >= (3, 11):  # noqa: UP036 - pip refuses an older one, a checkout on PYTHONPATH does not
        return
    sys.stderr.write("roost needs Python 3.11 or later, and {} is {}.{}\n".format(sys.executable, *sys.version_info))
    sys.stderr.write("Debian 12, Ubuntu 24.04 and EL 10 have it: make the virtual environment with theirs\n")
    raise SystemExit(3)


def greet(argv: Sequence[str]) -> None:
    """Print which task begins if it is a long one and this is a terminal; nothing for help or a wrong call."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    named = words[0] if words else ""
    if named not in LONG or any(word in {"-h", "--help"} for word in words) or not live():
        return
    what = next((word for word in words[1:] if not word.startswith("-")), "")
    # Words that could affect a terminal are not repeated.
    line = f"roost: {named} {what}" if what.isascii() and what.isprintable() else f"roost: {named}"
    try:
        sys.stderr.write(f"{line.strip()}\n")
        sys.stderr.flush()
    except (OSError, AttributeError, ValueError):
        # There is no standard error.
        return


def live() -> bool:
    """Return whether standard error is a terminal on which lines can be overwritten.

    Terminals that cannot (TERM=dumb, or none) are excluded, and so is the log of a CI, which may be a pseudo-terminal.
    """
    if os.environ.get("TERM", "") in ("", "dumb", "unknown") or os.environ.get("CI", "") not in ("", "0", "false"):
        return False
    return sys.stderr is not None and sys.stderr.isatty()
