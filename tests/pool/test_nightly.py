"""`inv factory --dag` under a real DAGMan: jobs build and boot; one is killed, one sent away, one fails."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from tests.pool.harness import PoolResult
from tests.pool.nightly import VARIANTS
from tests.pool.sessions.nightly import CLOSED, KILLED, SENT_AWAY

pytestmark = [pytest.mark.pool, pytest.mark.timeout(1500)]

TRIES = 3
VANILLA, LOCAL = 5, 12


@pytest.fixture(scope="module")
def seen(pool_nightly: Future[PoolResult]) -> dict[str, Any]:
    """Return what the session saw."""
    return pool_nightly.result().one("nightly").facts()


def _images(left: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {image["name"]: image for image in left["result"]["images"]}


def _jobs(seen: dict[str, Any], node: str) -> list[dict[str, Any]]:
    return [job for job in seen["jobs"] if job["DAGNodeName"] == node]


def test_a_recipe_with_a_mistake_is_named_and_the_others_are_in_the_workflow(seen: dict[str, Any]) -> None:
    assert seen["code"] == 2
    broken = {image["name"]: image["cause"] for image in seen["written"]["images"] if image["cause"]}
    assert list(broken) == ["typo"] and "is not a size" in broken["typo"]
    assert "typo" in _images(seen["first"]) and not any("typo" in job["DAGNodeName"] for job in seen["jobs"])


def test_the_first_dag_publishes_what_it_can_and_leaves_a_rescue_dag(seen: dict[str, Any]) -> None:
    images = _images(seen["first"])
    assert [name for name, image in images.items() if image["published"]] == [
        name for name in VARIANTS if name != CLOSED
    ]
    assert images[CLOSED]["booted"] and "publish" in images[CLOSED]["cause"]
    assert seen["first"]["rescue"] == ["factory.dag.rescue001"]


def test_an_image_that_cannot_be_built_is_named_and_stops_no_other(seen: dict[str, Any]) -> None:
    for left in (seen["first"], seen["second"]):
        tight = _images(left)["tight"]
        assert not tight["built"] and "too small" in " ".join([tight["cause"], *tight["problems"]])


def test_a_killed_job_is_tried_again_by_dagman(seen: dict[str, Any]) -> None:
    killed, again = sorted(_jobs(seen, KILLED), key=lambda job: int(job["ClusterId"]))
    assert (killed["ExitBySignal"], again["ExitBySignal"]) == (True, False)


def test_a_job_that_was_sent_away_is_run_again_by_htcondor(seen: dict[str, Any]) -> None:
    (job,) = _jobs(seen, SENT_AWAY)
    assert job["NumJobStarts"] == 2


def test_the_rescue_dag_does_the_rest_and_nothing_else(seen: dict[str, Any]) -> None:
    images = _images(seen["second"])
    assert all(images[name]["published"] for name in VARIANTS)
    # That of the first report and that of the second.
    assert len(_jobs(seen, "report")) == 2
    # What fails each time is tried again each time.
    assert len(_jobs(seen, f"publish_{CLOSED}")) == TRIES + 1
    assert len(_jobs(seen, "image_tight")) == 2 * TRIES
    once = {f"{kind}_{name}" for kind in ("image", "boot", "publish") for name in VARIANTS}
    for node in once - {KILLED, f"publish_{CLOSED}"}:
        assert len(_jobs(seen, node)) == 1, node


def test_the_jobs_are_those_of_a_normal_user(seen: dict[str, Any]) -> None:
    assert {job["User"].partition("@")[0] for job in seen["jobs"]} == {"submitter"}
    universes = {job["DAGNodeName"].partition("_")[0]: job["JobUniverse"] for job in seen["jobs"]}
    assert universes == dict.fromkeys(("layer", "image", "boot"), VANILLA) | dict.fromkeys(("publish", "report"), LOCAL)


def test_the_bytes_are_those_of_a_build_without_a_pool(seen: dict[str, Any]) -> None:
    assert seen["built"]["codes"] == [0, 0]
    assert seen["published"] == seen["built"]["sums"]
    assert all(seen["published"][name] for name in VARIANTS)


def test_the_catalogue_is_whole(seen: dict[str, Any]) -> None:
    assert seen["verified"]["code"] == 0, seen["verified"]
