"""A stage of a build: declared modules and tools turn declared inputs into a result, stored under its key.

The key is the name of the stage, its inputs, a digest of the code that makes the result (`roost.store.closure`), and
the identity of the tools: a stale result is never taken for a fresh one. While the stage runs it may use only these
tools (`roost.host.declared`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.host import declared
from roost.store import closure, keys
from roost.store.cache import Cache


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: its name, which is its directory in the cache; the modules that make its result; their tools.

    `tools` may name any file of the host by its path. `left_out` are modules that the makers import and that do not
    influence the result.
    """

    name: str
    makers: tuple[str, ...]
    tools: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def key(self, inputs: Mapping[str, Any]) -> str:
        """Return the key of the stage's result for `inputs`, which are JSON."""
        made_by = {"code": _code(self.makers, self.left_out), "tools": keys.tools(self.tools)}
        return keys.digest({"stage": self.name, "inputs": inputs, **made_by})

    def parts(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return everything that the key is made from, so that a later build can tell what changed."""
        return {
            "inputs": dict(inputs),
            "code": closure.listed(self.makers, (*closure.LEFT_OUT, *self.left_out)),
            "tools": keys.tools(self.tools),
        }

    @contextmanager
    def running(self) -> Iterator[None]:
        """Restrict the block to the tools that the stage declares."""
        with declared.only(self.tools):
            yield

    def stored(self, cache: Cache, inputs: Mapping[str, Any], make: Callable[[Path], None]) -> Path:
        """Return the directory of the result; `make` fills an empty one unless it is cached."""

        def made(directory: Path) -> None:
            with self.running():
                make(directory)

        return cache.put(self.name, self.key(inputs), made)


@functools.cache
def _code(makers: tuple[str, ...], left_out: tuple[str, ...]) -> str:
    return closure.digest(makers, (*closure.LEFT_OUT, *left_out))
