"""How tasks are called here: messages name them as `inv TASK`, and show them as the user can type them.

In a checkout that is `./inv TASK`, elsewhere `roost TASK`. In JSON that is so for messages; other values, and files,
keep `inv TASK`.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping
from typing import Any

#: The program that was called: set by `./inv`, as ./inv or ../inv, or by the installed command.
CALLED = "ROOST_CALLED"
#: The keys of JSON whose values are messages for people.
MESSAGES = frozenset({"what", "hint", "fix", "problems"})
_TASK = re.compile(r"(?<![\w./-])inv (?=[a-z])")


def remember(program: str) -> None:
    """Let messages name tasks by the program that was called, if it is the installed command `roost`."""
    if CALLED not in os.environ and os.path.basename(program) == "roost":  # noqa: PTH119 (pathlib takes time to load)
        os.environ[CALLED] = "roost" if shutil.which("roost") == program else program


def typed(text: str) -> str:
    """Return a message with `inv TASK` as it is called here."""
    called = os.environ.get(CALLED)
    if not called:
        return text
    program = f"{shlex.quote(called)} "
    return _TASK.sub(lambda _: program, text)


def typed_json(value: Any, key: str = "") -> Any:
    """Return a value for JSON with `inv TASK` in its messages as it is called here; `key` is the value's own."""
    if isinstance(value, str):
        return typed(value) if key in MESSAGES else value
    if isinstance(value, Mapping):
        return {name: typed_json(one, str(name)) for name, one in value.items()}
    return [typed_json(one, key) for one in value] if isinstance(value, list | tuple) else value
