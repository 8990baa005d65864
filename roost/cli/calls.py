"""How tasks are called here: messages name them as `inv TASK`, and show them as the user can type them.

In a checkout that is `./inv TASK`. JSON and files keep `inv TASK`.
"""

from __future__ import annotations

import os
import re
import shlex

#: Set by `./inv`: the path by which it was called, such as ./inv or ../inv.
CALLED = "ROOST_CALLED"
_TASK = re.compile(r"(?<![\w./-])inv (?=[a-z])")


def typed(text: str) -> str:
    """Return a message with `inv TASK` as it is called here."""
    called = os.environ.get(CALLED)
    if not called:
        return text
    program = f"{shlex.quote(called)} "
    return _TASK.sub(lambda _: program, text)
