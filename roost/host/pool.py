"""Threads that are not waited for when the task is interrupted: their tools have been killed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from threading import Thread, current_thread
from types import TracebackType
from typing import ParamSpec, TypeVar

from roost.host import capacity, interruption

#: Seconds that interrupted threads have to clean up.
GRACE = 1.0

_P = ParamSpec("_P")
_T = TypeVar("_T")
_In = TypeVar("_In")


class Pool(ThreadPoolExecutor):
    """Threads for a `with` block; it ends when they have ended, and soon after an interruption."""

    def __init__(self, max_workers: int, thread_name_prefix: str = "roost") -> None:
        self._known: list[Thread] = []
        super().__init__(max_workers, thread_name_prefix, initializer=self._note)

    def _note(self) -> None:
        self._known.append(current_thread())

    def submit(self, call: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Make the call in a thread, in the caller's context, so that it belongs to the same stage."""
        context = copy_context()
        return super().submit(lambda: context.run(call, *args, **kwargs))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for the threads; when interrupted, kill their tools and wait no longer than `GRACE`."""
        # An interruption can surface as another error, for example of a lock that it released early.
        ordinary = kind is None or issubclass(kind, Exception)
        if ordinary and not interruption.interrupted():
            super().__exit__(kind, error, trace)
            return
        interruption.interrupt()
        self.shutdown(wait=False, cancel_futures=True)
        ends = time.monotonic() + GRACE
        for thread in self._known:
            thread.join(max(0.0, ends - time.monotonic()))


def each(work: Callable[[_In], _T], given: Iterable[_In], done: Callable[[int], None]) -> list[_T]:
    """Do `work` for each item, as many at a time as there are cores, and return the results in order.

    The first failure ends it. `done` receives the number of finished items. Only items in progress are held in memory.
    """
    workers = capacity.cores()
    results: list[_T] = []
    waiting: deque[Future[_T]] = deque()

    def take() -> None:
        results.append(waiting.popleft().result())
        done(len(results))

    with Pool(max_workers=workers) as pool:
        try:
            for one in given:
                waiting.append(pool.submit(work, one))
                if len(waiting) > 4 * workers:
                    take()
            while waiting:
                take()
        except BaseException:
            for future in waiting:
                future.cancel()
            raise
    return results
