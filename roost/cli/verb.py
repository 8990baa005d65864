"""The common parts of all tasks: options as words, errors as exit codes, `--json` with an error object too."""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

from invoke.exceptions import Exit

from roost.cli import lastresort, parser, terminal
from roost.errors import RoostError, UsageError
from roost.host import interruption

# Makes the parser support `Verb`.
parser.install()

JSON_HELP = "one JSON object on standard output; progress goes to standard error"


def verb(
    *, rest: str | None = None, positional: tuple[str, ...] = (), help: dict[str, str] | None = None
) -> Callable[[Callable[..., None]], parser.Verb]:
    """Make a task from a function: errors become exit codes, and error objects with `--json`.

    A parameter that is a dataclass is replaced by its fields: each is a flag.
    """

    def decorate(function: Callable[..., None]) -> parser.Verb:
        signature, gathered = _flags(function)
        accepts_json = "json" in signature.parameters

        @functools.wraps(function)
        def body(*args: Any, **options: Any) -> None:
            json = accepts_json and options.get("json")
            try:
                function(*args, **gathered(options))
            except Exit:
                raise
            except KeyboardInterrupt:
                if json:
                    terminal.write_interruption()
                lastresort.write_error("roost: interrupted; nothing half-made is left\n")
                raise Exit(code=interruption.status()) from None
            except BrokenPipeError:
                lastresort.drop_output()
                raise Exit(code=lastresort.CLOSED) from None
            except Exception as error:
                wrong = lastresort.told(error)
                if json and interruption.interrupted():
                    # An error of the end itself, such as that of a tool that was killed.
                    terminal.write_interruption()
                elif json:
                    with contextlib.suppress(RoostError, BrokenPipeError):
                        terminal.write_json(terminal.error_json(wrong))
                terminal.write_error(wrong)
                raise Exit(code=wrong.exit_code) from None

        texts = {**({"json": JSON_HELP} if accepts_json else {}), **(help or {})}
        lists = [name for name, one in signature.parameters.items() if "list[" in str(one.annotation)]
        repeated = tuple(name for name in lists if name != rest)
        if "set" in repeated:
            texts.setdefault("set", "key=value laid over the recipe, such as machine.memory=2GiB; may be repeated")
        setattr(body, "__signature__", signature)  # noqa: B010 - invoke reads the flags off it
        task = parser.Verb(body, positional=positional, help=texts, iterable=repeated, auto_shortflags=False)
        task.rest = rest
        return task

    return decorate


def _flags(function: Callable[..., None]) -> tuple[inspect.Signature, Callable[[dict[str, Any]], dict[str, Any]]]:
    """Return a function's signature with dataclasses replaced by their fields, and a function that rebuilds them."""
    signature = inspect.signature(function, eval_str=True)
    annotated = {name: one.annotation for name, one in signature.parameters.items()}
    kinds = {name: kind for name, kind in annotated.items() if isinstance(kind, type) and is_dataclass(kind)}
    parameters: list[inspect.Parameter] = []
    for name, one in signature.parameters.items():
        parameters += inspect.signature(kinds[name], eval_str=True).parameters.values() if name in kinds else [one]

    def gathered(options: dict[str, Any]) -> dict[str, Any]:
        own = dict(options)
        values = {
            name: kind(**{field.name: own.pop(field.name) for field in fields(kind) if field.name in own})
            for name, kind in kinds.items()
        }
        return {**own, **values}

    return signature.replace(parameters=parameters), gathered


def finish(ok: bool, code: int = 1) -> None:
    """End the task with `code` unless `ok`."""
    if not ok:
        raise Exit(code=code)


def after_dashes() -> list[str]:
    """Return the words after `--` of this process's command line, each as it was given: invoke joins them."""
    return sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []


def at_most_one(words: list[str]) -> str | None:
    """Return the only word, or None; more are a `UsageError`."""
    if len(words) > 1:
        raise UsageError(f"one name at a time, not {len(words)}: {' '.join(words)}")
    return words[0] if words else None
