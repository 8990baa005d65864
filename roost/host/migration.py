"""QEMU's migration: the state of a machine, written to wherever a URI says."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

#: Seconds between two queries of the progress.
_POLL = 0.02


async def save(
    execute: Callable[..., Awaitable[object]], uri: str, deadline: float, gone: Callable[[], bool] = lambda: False
) -> str | None:
    """Have QEMU write the state of its machine to `uri`; return the error, or None.

    `execute` runs a QMP command with its arguments (QEMU QMP Reference Manual, Migration) and may return None when
    there is no answer; `gone` is whether QEMU has exited. After `deadline` seconds the migration is cancelled.
    """
    ends = time.monotonic() + deadline
    await execute("migrate-set-parameters", {"max-bandwidth": 1 << 40})
    await execute("migrate", {"uri": uri})
    while time.monotonic() < ends and not gone():
        answer = await execute("query-migrate")
        status = answer.get("status") if isinstance(answer, dict) else None
        if status == "completed":
            return None
        if not isinstance(answer, dict) or status in (None, "failed", "cancelled"):
            reason = answer.get("error-desc", "QEMU does not say why") if isinstance(answer, dict) else "no answer"
            return str(reason)
        await asyncio.sleep(_POLL)
    await execute("migrate_cancel")
    return f"not done after {deadline:.0f} s"
