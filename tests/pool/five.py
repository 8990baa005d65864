"""Five jobs as a DAG, one of which is killed and one of which waits for an input; and a sweep, for `inv run --dag`."""

from __future__ import annotations

from pathlib import Path

from tests.pool import ten
from tests.pool.job import Job

COUNT = 5
#: Long enough at work to be killed meanwhile.
SLEEPS = f"{ten.SUM}sync\nsleep 20\n"
#: 3 platforms, 4 sources, 7 sets of packages.
SWEEP = """\
axes:
  platform: [el8, el9, el10]
  source: [release, testing, upcoming, development]
  note: [one of many]
  packages: [client, server, compute, gateway, monitor, storage, all]
inputs: [in-0/]
"""


def make(directory: Path, built: Path) -> Job:
    """Write the jobs into the empty `directory`, with a project that has the image `built`; return the session."""
    ten.project(directory, built)
    rows = ["io,inputs,note"]
    for number in range(COUNT):
        ten.inputs(directory / f"in-{number}", SLEEPS if number == 1 else ten.SUM, number)
        late = " late.txt" if number == 3 else ""
        # What VARS, a description and a ClassAd each have a meaning for.
        rows.append(f'job-{number}.raw,in-{number}/{late},"{NOTE.replace(chr(34), chr(34) * 2)} {number}"')
    (directory / "jobs.csv").write_text("\n".join(rows) + "\n")
    (directory / "sweep.yaml").write_text(SWEEP)
    return ten.session(directory, "workflow")


NOTE = 'it\'s "two" words, $(Cluster) \\ and #'
