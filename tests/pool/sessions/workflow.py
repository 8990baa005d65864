"""A run as a DAG: one guest killed, an input that comes late, a throttle; then the rescue DAG; and three of a sweep."""

from __future__ import annotations

import time

from tests.pool.five import COUNT
from tests.pool.sessions.access_point import HERE, ads, call, keep, roost, until
from tests.pool.sessions.hasten import Hasten

#: The job whose guest is killed, and the one whose input comes late.
KILLED, LATE = "job-1", "job-3"
#: How the sweep's workflow is written, and which of its jobs run.
SWEEP, SHOWN = "sweep", 3


def main() -> None:
    """Write, submit, kill, wait, mend, submit again."""
    code, written, said = roost("run", "ten", "--jobs", "jobs.csv", "--dag", "out", "--max-jobs", "3")
    if code:
        raise SystemExit(said)
    text = (HERE / "out" / "run.dag").read_text()
    # Three of its jobs follow each other; HTCondor finds the end of the sweep's by itself.
    hasten = Hasten(r"job-\d+")
    call("condor_submit_dag", str(HERE / "out" / "run.dag"))
    until("the guest at work", lambda: hasten.kill(KILLED), 300)

    def begun() -> bool:
        hasten.ended()
        # One has two guests, and one has none yet.
        return hasten.begun() >= COUNT

    # The sweep's guests are to stand behind these.
    until("the guests of the other jobs", begun, 420)
    sweep = _sweep()
    call("condor_submit_dag", str(HERE / SWEEP / "run.dag"))
    _wait("out", hasten)
    first = (HERE / "out" / "report.json").read_text()
    rescue = [path.name for path in (HERE / "out").glob("run.dag.rescue*")]
    (HERE / "late.txt").write_text("here\n")
    call("condor_submit_dag", str(HERE / "out" / "run.dag"))
    _wait("out", hasten)
    _wait(SWEEP)
    everything = ads("condor_history", "RoostJob =!= undefined")
    keep(
        written=written,
        text=text,
        first=first,
        rescue=rescue,
        second=(HERE / "out" / "report.json").read_text(),
        jobs=[{key: ad.get(key) for key in ("ClusterId", "RoostJob", "Note", "JobStatus")} for ad in everything],
        disks=sorted(path.name for name in ("disks", "returned") for path in (HERE / "out" / name).iterdir()),
        sweep=sweep | {"report": (HERE / SWEEP / "report.json").read_text()},
    )


def _wait(directory: str, hasten: Hasten | None = None) -> None:
    """Wait until no DAGMan works in a directory."""

    def at_work() -> bool:
        if hasten:
            hasten.ended()
        dagmans = ads("condor_q", "JobUniverse == 7")
        return any(f"/{directory}/run.dag" in f"{ad.get('Args')} {ad.get('Arguments')}" for ad in dagmans)

    until(f"the end of {directory}", lambda: not at_work(), 600)
    time.sleep(1)


def _sweep() -> dict[str, object]:
    """Write the workflow of the sweep, and mark all but three of its jobs as done."""
    code, written, said = roost("run", "ten", "--jobs", "sweep.yaml", "--dag", SWEEP)
    if code:
        raise SystemExit(said)
    call("condor_submit_dag", "-no_submit", str(HERE / SWEEP / "run.dag"))
    for path in (HERE / SWEEP).glob("run.dag.condor.sub"):
        path.unlink()
    dag = HERE / SWEEP / "run.dag"
    nodes = [line.split()[1] for line in dag.read_text().splitlines() if line.startswith("JOB ")]
    bases = [node.removeprefix("io-") for node in nodes if node.startswith("io-")]
    left = bases[:: len(bases) // SHOWN][:SHOWN]
    done = [node for node in nodes if node.partition("-")[2] not in left]
    # As a rescue DAG has it; DAGMan 23.9 takes DONE in no other file with edges between such nodes.
    dag.with_name("run.dag.rescue001").write_text("".join(f"DONE {node}\n" for node in done))
    return {"written": written, "nodes": len(nodes), "left": left}


if __name__ == "__main__":
    main()
