"""What every task is made of: options as words, errors as exit codes, `--json` with an error object too."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable
from typing import Any

from invoke.exceptions import Exit

from roost.cli import lastresort, parser, terminal
from roost.errors import RoostError, UsageError

# The parser that knows what a `Verb` is.
parser.install()

JSON_HELP = "one JSON object on standard output; progress goes to standard error"


def verb(
    *, rest: str | None = None, positional: tuple[str, ...] = (), help: dict[str, str] | None = None
) -> Callable[[Callable[..., None]], parser.Verb]:
    """Make a task of a function: errors become exit codes, `--json` gets its error object too."""

    def decorate(function: Callable[..., None]) -> parser.Verb:
        accepts_json = "json" in inspect.signature(function).parameters

        @functools.wraps(function)
        def body(*args: Any, **options: Any) -> None:
            try:
                function(*args, **options)
            except Exit:
                raise
            except KeyboardInterrupt:
                lastresort.write_error("roost: interrupted; nothing half-made is left\n")
                raise Exit(code=130) from None
            except BrokenPipeError:
                lastresort.drop_output()
                raise Exit(code=141) from None
            except Exception as error:
                wrong = lastresort.told(error)
                if accepts_json and options.get("json"):
                    with contextlib.suppress(RoostError, BrokenPipeError):
                        terminal.write_json(terminal.error_json(wrong))
                terminal.write_error(wrong)
                raise Exit(code=wrong.exit_code) from None

        texts = {**({"json": JSON_HELP} if accepts_json else {}), **(help or {})}
        lists = [name for name, one in inspect.signature(function).parameters.items() if "list[" in str(one.annotation)]
        repeated = tuple(name for name in lists if name != rest)
        if "set" in repeated:
            texts["set"] = "key=value laid over the recipe, such as machine.memory=2GiB; may be repeated"
        task = parser.Verb(body, positional=positional, help=texts, iterable=repeated, auto_shortflags=False)
        task.rest = rest
        return task

    return decorate


def finish(ok: bool, code: int = 1) -> None:
    """End the task with `code` unless what it promises holds."""
    if not ok:
        raise Exit(code=code)


def at_most_one(words: list[str]) -> str | None:
    """Return the only word, or None; more are a `UsageError`."""
    if len(words) > 1:
        raise UsageError(f"one name at a time, not {len(words)}: {' '.join(words)}")
    return words[0] if words else None
