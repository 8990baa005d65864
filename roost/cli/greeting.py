"""A line on the terminal before anything else is loaded: long tasks take a second to import.

This module loads nothing but the interpreter's own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

#: Tasks that take more than a moment, and show what they do.
LONG = frozenset({"boot", "build", "factory", "lock", "publish", "repro", "run", "shell", "ssh"})


def require_python() -> None:
    """End the process where an older Python runs roost: this module is the last that it can read."""
    if sys.version_info >= (3, 11):  # noqa: UP036 - pip refuses an older one, a checkout on PYTHONPATH does not
        return
    sys.stderr.write("roost needs Python 3.11 or later, and {} is {}.{}\n".format(sys.executable, *sys.version_info))
    sys.stderr.write("Debian 12, Ubuntu 24.04 and EL 10 have it: make the virtual environment with theirs\n")
    raise SystemExit(3)


def greet(argv: Sequence[str]) -> None:
    """Say on a terminal which task begins, if it is a long one; nothing in a log, for help, or for a wrong call."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    named = words[0] if words else ""
    if named not in LONG or any(word in {"-h", "--help"} for word in words) or not live():
        return
    what = next((word for word in words[1:] if not word.startswith("-")), "")
    # A word that a terminal could act on is not repeated.
    said = f"roost: {named} {what}" if what.isascii() and what.isprintable() else f"roost: {named}"
    try:
        sys.stderr.write(f"{said.strip()}\n")
        sys.stderr.flush()
    except (OSError, AttributeError, ValueError):
        # Who has no standard error is told nothing.
        return


def live() -> bool:
    """Return whether standard error is a terminal that lines can be drawn over on.

    Not one that says it cannot (TERM=dumb, or none), nor the log of a CI, which some run on a pseudo-terminal.
    """
    if os.environ.get("TERM", "") in ("", "dumb", "unknown") or os.environ.get("CI", "") not in ("", "0", "false"):
        return False
    return sys.stderr is not None and sys.stderr.isatty()
