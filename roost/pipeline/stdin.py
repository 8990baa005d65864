"""Standard input as a task reads it: whole, up to a limit."""

from __future__ import annotations

import sys

from roost.errors import UsageError

#: Maximum bytes of standard input.
INPUT_BYTES = 64 << 20


def standard_input(what: str) -> bytes:
    """Return standard input; more than any log or description has is refused."""
    data = sys.stdin.buffer.read(INPUT_BYTES + 1)
    if len(data) > INPUT_BYTES:
        raise UsageError(f"standard input is too large for {what}: more than {INPUT_BYTES >> 20} MiB")
    return data
