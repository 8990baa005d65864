"""docs/tutorial.md, as somebody types it: every command, in order; the image's system is the small one of `smoke`."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.documented import PROJECT, Block, blocks
from tests.images.calls import wrapper

pytestmark = [pytest.mark.images, pytest.mark.slow]
#: What becomes of the recipe that `inv new` wrote: its job and its test, on busybox.
SMALL = """\
extends: [smoke.yaml]
name: sums
hypervisors: !replace [kvm]
files: !replace
  - {path: /opt/job/run, source: "files/sums/run", mode: "0755"}
boot_test: !replace
  timeout: 2min
  inputs: ["files/sums/numbers.txt"]
  evict: false
  expect:
    - {exit: 0}
    - {file: /output/result.txt, on: io, matches: "^42$"}
"""
BLOCKS = [block for block in blocks(PROJECT / "docs/tutorial.md") if block.language in {"sh", "text"}]


def _typed(block: Block, project: Path) -> str:
    """Run the commands of a block as a shell does; return what they wrote."""
    done = subprocess.run(
        ["bash", "-euc", block.text],
        cwd=project,
        env={**os.environ, "XDG_CONFIG_HOME": str(project / "config")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, f"{block}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.timeout(1800)
def test_the_tutorial_goes_from_nothing_to_results(project: Path) -> None:
    wrapper(project)
    recipe = project / "recipes/sums.yaml"
    said = ""
    for block in BLOCKS:
        if block.language == "text":
            # What the page shows is what was seen.
            assert block.text in said, block
        elif not block.title:
            said = _typed(block, project)
            if "./inv new" in block.text:
                # The page shows what was written.
                shown = next(one for one in blocks(PROJECT / "docs/tutorial.md") if one.language == "yaml")
                squeezed = re.sub(r"\s*#.*|\s+", "", recipe.read_text())
                assert all(re.sub(r"\s+", "", line) in squeezed for line in shown.text.splitlines())
                recipe.write_text(SMALL)
    published = (project / "published.sub").read_text()
    assert re.search(r"^universe +=", published, re.MULTILINE) and str(project / "images/sums") in published
    assert {path.name for path in (project / "night/results").iterdir()} == {"one", "two"}
