"""Regular expressions that a recipe brings: compiled and searched within bounds.

Python's own engine backtracks without end: `(a+)+$` takes years over forty letters. The `regex` package takes the
same expressions and a bound of processor time (its README, "Timeout").
"""

from __future__ import annotations

import re
import time
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex

#: Characters of an expression; it is written by hand.
LENGTH = 1000
#: Seconds of processor time of all searches of one `Searches`, and of one of them.
IN_ALL, ONE = 10.0, 2.0


class PatternError(ValueError):
    """An expression that cannot be used; the text says why."""


class TooSlowError(Exception):
    """An expression was not searched for to the end."""


def compiled(pattern: str, *, lines: bool = False) -> regex.Pattern[str]:
    """Return a compiled expression; with `lines` ^ and $ are those of lines. Raises `PatternError`."""
    # It takes a while to load, and few recipes need it.
    import regex

    if len(pattern) > LENGTH:
        raise PatternError(f"it has {len(pattern)} characters, at most {LENGTH} are allowed")
    try:
        with warnings.catch_warnings():
            # What Python warns of means something else in the next version, and in other engines.
            warnings.simplefilter("error")
            # Python's own messages and its grammar: what it refuses is not an expression.
            re.compile(pattern)
            return regex.compile(pattern, regex.MULTILINE if lines else 0)
    except (re.error, regex.error, Warning, ValueError) as error:
        raise PatternError(str(error)) from error
    except (RecursionError, MemoryError) as error:
        raise PatternError("it is nested too deep") from error
    except OverflowError as error:
        raise PatternError(str(error) or "a number in it is too large") from error


class Searches:
    """Searches texts for expressions, all of them together within `IN_ALL` seconds of processor time."""

    def __init__(self, seconds: float = IN_ALL) -> None:
        self._left = seconds

    def search(self, pattern: regex.Pattern[str], text: str) -> bool:
        """Return whether the expression is somewhere in the text; raise `TooSlowError` when that takes too long."""
        if self._left <= 0:
            raise TooSlowError
        begin = time.process_time()
        try:
            return pattern.search(text, timeout=min(ONE, self._left)) is not None
        except (TimeoutError, MemoryError, RecursionError) as error:
            raise TooSlowError from error
        finally:
            self._left -= time.process_time() - begin
