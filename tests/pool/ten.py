"""Ten jobs from one file, for `inv run` on the access point of a pool."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.images.calls import PROJECT, build
from tests.pool.job import Job

RECIPE = """\
# The program travels on the io disk, with its numbers.
extends: smoke.yaml
name: ten
job: {command: sh ./run, timeout: 60s, then: poweroff}
hypervisors: !replace [kvm]
submit: {margin: 4min, attributes: {Note: $(note)}}
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
COUNT, FAILING, ENDLESS, WANTING = 10, 3, 6, 8


def make(directory: Path, built: Path) -> Job:
    """Write ten jobs into the empty `directory`, with a project that has the image `built`; return the session."""
    project(directory, built)
    rows = ["io,inputs,note"]
    for number in range(COUNT):
        inputs(directory / f"in-{number}", {FAILING: FAILS, ENDLESS: NEVER}.get(number, SUM), number)
        wanting = " missing.txt" if number == WANTING else ""
        rows.append(f'io-{number}.raw,in-{number}/{wanting},"the job {number}, of ten"')
    (directory / "jobs.csv").write_text("\n".join(rows) + "\n")
    return session(directory, "ten")


def image(directory: Path) -> Path:
    """Build the image in a project of its own; return what was built."""
    for name in ("recipes", "kernels"):
        shutil.copytree(PROJECT / name, directory / name)
    (directory / "recipes" / "ten.yaml").write_text(RECIPE)
    return build("ten", cwd=directory)


def project(directory: Path, built: Path) -> None:
    """Copy the project of a built image to where its user has it."""
    own = directory / "project"
    for name in ("recipes", "kernels"):
        shutil.copytree(built.parents[1] / name, own / name)
    (own / "build").mkdir()
    subprocess.run(["cp", "-a", "--sparse=always", built, own / "build" / "ten"], check=True, timeout=60)


def inputs(directory: Path, script: str, number: int) -> None:
    """Write what a job gets: its program and its numbers."""
    directory.mkdir()
    (directory / "run").write_text(script)
    (directory / "numbers.txt").write_text(f"{number}\n1000\n")


def session(directory: Path, name: str) -> Job:
    """Return a session of `tests.pool.sessions` in a directory."""
    program = directory / "session"
    program.write_text(f"#!/bin/sh\nPYTHONPATH={PROJECT} exec python3 -m tests.pool.sessions.{name}\n")
    program.chmod(0o755)
    return Job(name, program, session=True)
