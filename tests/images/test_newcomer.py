"""What a newcomer does with README alone: the commands of `.ci/newcomer`, which runs them on fresh machines."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.documented import PROJECT, blocks, calls
from tests.images.calls import wrapper

pytestmark = [pytest.mark.images, pytest.mark.slow]
SCRIPT = PROJECT / ".ci/newcomer"


def typed() -> list[str]:
    """Return the tasks that the script calls, in their order."""
    return re.findall(r"^type_in \./inv ([\w-]+)", SCRIPT.read_text(), re.MULTILINE)


@pytest.mark.timeout(1800)
def test_the_newcomers_path_from_a_recipe_to_a_page(project: Path) -> None:
    wrapper(project)
    done = subprocess.run(
        [SCRIPT],
        cwd=project,
        env={**os.environ, "XDG_CONFIG_HOME": str(project / "config")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1700,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    assert re.search(rf"^newcomer: {len(typed()) + 1} commands, \d+ min \d+ s$", done.stdout, re.MULTILINE)


def test_readme_has_each_of_these_tasks() -> None:
    known = {words[0] for block in blocks(PROJECT / "README.md") for words in calls(block)}
    assert set(typed()) <= known
