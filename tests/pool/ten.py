"""Ten jobs from one file of jobs: io disks by `inv io`, the description by `inv submit`, as their user would."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from tests.images.calls import PROJECT, build, roost
from tests.pool.job import Job

RECIPE = """\
# The program travels on the io disk, with its numbers.
extends: smoke.yaml
name: ten
job: {command: sh ./run, timeout: 60s, then: poweroff}
submit: {margin: 4min}
"""
SUM = """\
result=0
while read -r number; do result=$((result + number)); done <numbers.txt
echo "$result" >"$ROOST_OUTPUT/sum"
"""
#: Leaves half of its work, and says so by its exit code.
FAILS = f"{SUM}exit 3\n"
#: Stops everything but init, roost's own runner and its clock among them: no power-off ever comes.
NEVER = f"{SUM}sync\nkill -STOP -1\n"
COUNT, FAILING, ENDLESS = 10, 3, 6


def make(folder: Path, project: Path) -> Job:
    """Write ten jobs into the empty `folder`; `project` becomes a project of its own."""
    for name in ("recipes", "kernels"):
        shutil.copytree(PROJECT / name, project / name)
    (project / "recipes" / "ten.yaml").write_text(RECIPE)
    built = build("ten", cwd=project)
    shutil.copy(built / "root.qcow2", folder)
    rows = ["io,inputs,label"]
    for number in range(COUNT):
        inputs = folder / f"in-{number}"
        inputs.mkdir()
        script = {FAILING: FAILS, ENDLESS: NEVER}.get(number, SUM)
        (inputs / "run").write_text(script)
        (inputs / "numbers.txt").write_text(f"{number}\n1000\n")
        rows.append(f"io-{number}.raw,in-{number}/,the job {number}")
    (folder / "jobs.csv").write_text("\n".join(rows) + "\n")
    made = roost("io", "ten", "--jobs", str(folder / "jobs.csv"), "--json", cwd=project)
    assert made.code == 0, made.err
    assert len(made.answer["files"]) == COUNT
    described = roost("submit", "ten", "--jobs", str(folder / "jobs.csv"), cwd=project)
    assert described.code == 0, described.err
    (folder / "job.sub").write_text(described.out)
    linted = roost("lint", str(folder / "job.sub"), "--json", cwd=project)
    assert linted.code == 0, json.dumps(linted.answer, indent=1)
    return Job("ten", folder / "job.sub")
