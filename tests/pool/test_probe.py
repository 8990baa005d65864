"""`inv probe` on a real execution point: what works is advertised and matched, what is broken is not, and says why."""

from __future__ import annotations

import re
from concurrent.futures import Future

import pytest

from tests.pool.harness import PoolResult

pytestmark = [pytest.mark.pool, pytest.mark.timeout(900)]


@pytest.fixture(scope="session")
def said(pool_probe: Future[PoolResult]) -> dict[str, list[str]]:
    """Return what the session said: the words of each line, by the first one."""
    (result,) = pool_probe.result().jobs
    found: dict[str, list[str]] = {}
    for line in result.said().splitlines():
        key, _, value = line.partition(": ")
        found.setdefault(key, []).append(value)
    return found


def test_a_machine_that_works_advertises_it_and_is_matched(said: dict[str, list[str]]) -> None:
    assert said["works"][0] == "true", said
    assert re.fullmatch(r"a guest answered and powered itself off after \d+ s", said["reason"][0])
    # The pool has no KVM: the guest saw emulation.
    assert said["facts"][0].split()[:2] == ["false", "raw,qcow2"] and "virtio" in said["facts"][0]
    assert said["matched"] == ["2"]


def test_a_machine_that_is_broken_says_why_and_is_not_matched(
    said: dict[str, list[str]], pool_probe: Future[PoolResult]
) -> None:
    assert said["works"][1] == "false", said
    assert "libvirt" in said["reason"][1]
    # HTCondor alone would have sent the job there.
    assert said["HasVM"] == ["true"], pool_probe.result().log("StartLog")[-8000:]
    assert said["unmatched"] == ["1"]


def test_nothing_is_left(said: dict[str, list[str]]) -> None:
    assert "left" not in said


def test_a_bad_disk_holds_its_job_and_leaves_the_machine_in_service(
    said: dict[str, list[str]], pool_probe: Future[PoolResult]
) -> None:
    assert said["held"] == ["5 6 12"], said
    assert "VMGAHP_ERR_BAD_IMAGE" in said["hold reason"][0]
    assert said["HasVM after a bad disk"] == ["true"]
    assert "disk tiny.raw is declared qcow2 and is none" in pool_probe.result().log("VMGahpLog")
