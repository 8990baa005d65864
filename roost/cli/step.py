"""The program of a run's DAG nodes: `python -m roost.cli.step STEP JOB...` in the run's directory. Not a task."""

from __future__ import annotations

import sys
from pathlib import Path

from roost.cli import lastresort, terminal
from roost.cli.main import ending


def main() -> int:
    """Do the step given by the arguments; return the exit code for DAGMan."""
    from roost.pipeline import workflow

    try:
        return workflow.step(Path.cwd(), sys.argv[1:])
    except Exception as error:
        wrong = lastresort.told(error)
    terminal.write_error(wrong)
    return wrong.exit_code


if __name__ == "__main__":
    with ending():
        sys.exit(main())
