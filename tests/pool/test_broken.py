"""Broken submit descriptions: the pool does with them what the lint said it would, and its answers are explained."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from roost.condor.explain import explain
from roost.condor.lint import lint_file
from roost.condor.rules import Effect, Severity
from tests.pool.conftest import Pools
from tests.pool.harness import PoolResult
from tests.pool.job import JobResult

# The first test waits for the root file system of all pools.
pytestmark = [pytest.mark.pool, pytest.mark.timeout(1200)]

#: What the lint calls it, and what the harness sees: outcome, status at that time, HasVM of the execution point.
SEEN = {
    Effect.REJECTED: ("refused", "", None),
    Effect.HELD: ("held", "held", None),
    Effect.HASVM_FALSE: ("requeued", "idle", False),
    Effect.RUNS_FOREVER: ("timeout", "running", None),
}


def _agree(pools: Pools, pool: str, result: PoolResult, name: str) -> None:
    """Assert that lint and pool agree, and that what the pool said is traced to a rule that the lint named."""
    job = result.one(name)
    report = lint_file(pools.directory / "in" / pool / name / "job.sub")
    codes = {finding.rule.code for finding in report.findings if finding.rule.severity == Severity.ERROR}
    assert codes, "the lint sees nothing wrong"
    assert (job.outcome, job.status, job.has_vm) == SEEN[report.effect], f"{report.render()}\n{_said(job, result)}"
    explained = explain(_said(job, result))
    assert explained, _said(job, result)
    assert codes & {code for one in explained for code in one.lint_codes}, f"{codes}: {explained}"
    assert all(one.meaning and one.cause and one.fix for one in explained)


def _said(job: JobResult, result: PoolResult) -> str:
    """Return what a person has in hand: condor_submit's text, or the job's event log and VMGahpLog."""
    if job.outcome == "refused":
        return job.reason
    return "\n".join([job.events, *result.gahp_errors()])


def test_refused_by_condor_submit(pools: Pools, pool_outcomes: Future[PoolResult]) -> None:
    _agree(pools, "outcomes", pool_outcomes.result(), "refused")


def test_a_disk_that_is_not_transferred(pools: Pools, pool_outcomes: Future[PoolResult]) -> None:
    _agree(pools, "outcomes", pool_outcomes.result(), "not-transferred")


def test_raw_declared_as_qcow2(pools: Pools, pool_requeued: Future[PoolResult]) -> None:
    _agree(pools, "requeued", pool_requeued.result(), "declared-qcow2")


def test_a_device_of_the_other_hypervisor(pools: Pools, pool_wrong_bus: Future[PoolResult]) -> None:
    _agree(pools, "wrong-bus", pool_wrong_bus.result(), "xvda")


def test_an_overlay_without_its_base(pools: Pools, pool_no_base: Future[PoolResult]) -> None:
    _agree(pools, "no-base", pool_no_base.result(), "overlay")


def test_qcow2_without_a_format(pools: Pools, pool_runs_forever: Future[PoolResult]) -> None:
    _agree(pools, "runs-forever", pool_runs_forever.result(), "no-format")


def test_a_missing_input_is_held_as_the_lint_warned(pools: Pools, pool_outcomes: Future[PoolResult]) -> None:
    # A file that is absent is only a warning: descriptions are also linted away from their files.
    result = pool_outcomes.result()
    report = lint_file(pools.directory / "in" / "outcomes" / "missing" / "job.sub")
    (warning,) = report.findings
    assert warning.rule.severity == Severity.WARNING and "nothing.raw" in warning.message
    job = result.one("missing")
    assert (job.outcome, job.code) == ("held", 13)
    explained = explain(_said(job, result))
    assert warning.rule.code in {code for one in explained for code in one.lint_codes}, explained
