"""`python -m roost.cli.factory_job NODE`: what one job of `inv factory --dag` does; people run `inv factory`.

With `--at DIRECTORY` it is a node of the access point: a publication, or the report at the end.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from roost.cli import factory_view, lastresort
from roost.cli.main import ENDING, end_task
from roost.host import interruption, temporary

USAGE = 2


def main(words: list[str]) -> int:
    """Run a node; return its exit status."""
    from roost.pipeline import factory_job as story

    home = None
    if words[:1] == ["--at"] and len(words) == 3:
        home, words = Path(words[1]), words[2:]
    if len(words) != 1:
        lastresort.write_error(f"{__doc__}\n")
        return USAGE
    for one in ENDING:
        signal.signal(one, end_task)
    try:
        view = factory_view.Lines(sys.stderr)
        if home is None:
            return story.remote(words[0], Path.cwd(), view, lastresort.told)
        return story.on_access_point(words[0], home, view, lastresort.told)
    except KeyboardInterrupt:
        temporary.clear()
        sys.stderr.flush()
        os._exit(interruption.status())
    except Exception as error:
        wrong = lastresort.told(error)
        lastresort.write_error(f"{wrong}\n")
        return wrong.exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
