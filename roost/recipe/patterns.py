"""Regular expressions from a recipe, compiled and searched within bounds.

Python's own engine backtracks exponentially: `(a+)+$` takes years on forty letters. The `regex` package accepts the
same expressions and a limit on processor time (its README, "Timeout").
"""

from __future__ import annotations

import re
import time
import warnings
from typing import TYPE_CHECKING

from roost.recipe import pattern_words

if TYPE_CHECKING:
    import regex

#: The maximum length of an expression in characters.
LENGTH = 1000
#: Limits in seconds of processor time: of all searches of one `Searches`, and of a single one.
IN_ALL, ONE = 10.0, 2.0


class PatternError(ValueError):
    """An expression that cannot be used; the message is the reason."""


class TooSlowError(Exception):
    """A search was not completed in time."""


def compiled(pattern: str, *, lines: bool = False) -> regex.Pattern[str]:
    """Return a compiled expression; with `lines`, ^ and $ match at each line. Raises `PatternError`."""
    # The import is slow, and few recipes need it.
    import regex

    if len(pattern) > LENGTH:
        raise PatternError(f"it has {len(pattern)} characters, at most {LENGTH} are allowed")
    try:
        with warnings.catch_warnings():
            # Python warns of syntax that has another meaning in the next version and in other engines.
            warnings.simplefilter("error")
            # Python's own grammar and messages decide what is a valid expression.
            re.compile(pattern)
            return regex.compile(pattern, regex.MULTILINE if lines else 0)
    except (re.error, regex.error, Warning, ValueError) as error:
        raise PatternError(pattern_words.told(error)) from error
    except (RecursionError, MemoryError) as error:
        raise PatternError("it is nested too deep") from error
    except OverflowError as error:
        raise PatternError(pattern_words.told(error)) from error


class Searches:
    """Searches texts for expressions, within `IN_ALL` seconds of processor time in total."""

    def __init__(self, seconds: float = IN_ALL) -> None:
        self._left = seconds

    def search(self, pattern: regex.Pattern[str], text: str) -> bool:
        """Return whether the expression matches in the text; raise `TooSlowError` when the search takes too long."""
        if self._left <= 0:
            raise TooSlowError
        begin = time.process_time()
        try:
            return pattern.search(text, timeout=min(ONE, self._left)) is not None
        except (TimeoutError, MemoryError, RecursionError) as error:
            raise TooSlowError from error
        finally:
            self._left -= time.process_time() - begin
