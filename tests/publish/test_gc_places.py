"""Collections on real servers: killed when it may be, beside publications, and what is listed is whole all the time."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from roost.events import Silent
from roost.publish import gc as collection
from roost.publish import layout, verify
from roost.publish.retention import Rules
from roost.publish.targets.kinds import open_target
from roost.publish.upload import current, walk
from tests.publish import cellar, lab
from tests.publish.conftest import Place

#: Catalogues in which a collection is killed twice; a server takes its time.
ROUNDS = {"directory": 12, "s3": 3, "sftp": 4}

#: Rounds of publications with collections beside them.
BESIDE = {"directory": 12, "s3": 4, "sftp": 4}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "SIZES", cellar.SMALL)


def _sound(url: str) -> set[str]:
    result = verify.verify(url)
    assert not result["problems"], result["problems"]
    return {image["version"] for image in result["images"]}


def _fill(root: Path, url: str) -> None:
    """Publish four versions, two of them on a base that goes with them."""
    base = cellar.base(root / "work", size="128k")
    for seed, version in ((1, "b1"), (2, "b2")):
        cellar.overlay(root, base, seed)
        lab.publish(root, url, version=version)
    cellar.versions(root, url, 2)


def test_a_collection_that_is_killed_leaves_a_valid_catalogue_and_is_ended_by_the_next(
    root: Path, place: Place
) -> None:
    kind = place.url.partition(":")[0] if "://" in place.url else "directory"
    rng, rounds, killed = random.Random(kind), ROUNDS[kind], 0
    with lab.nursery(place.env) as nursery:
        _fill(root, f"{place.url}/first")
        (done,) = nursery.start(root, f"{place.url}/first", keep=1)
        # The first one loads what it needs and may be slow: those that end before their kill say how long it takes.
        span = done["seconds"]
        for number in range(rounds):
            url = f"{place.url}/{number}"
            _fill(root, url)
            for _ in range(2):
                (left,) = nursery.start(root, url, [rng.uniform(0, 1.1 * span)], keep=1)
                killed += left is None
                span = min(span, left["seconds"] if left else span)
                assert "v01" in _sound(url)
                latest = current(open_target(url), "smoke")
                assert latest is not None
                assert latest.version == "v01"
            (done,) = nursery.start(root, url, keep=1)
            assert done["ok"]
            assert _sound(url) == {"v01"}
            rest = walk(open_target(url), "")
            # A file that was under way may have a writer on another host: it goes when it is a day old.
            under_way = [path for path in rest if layout.is_partial(path.rpartition("/")[2])]
            assert not [path for path in under_way if path.count("/") > 2]
            assert [path for path in rest if not path.startswith("smoke/v01/") and path not in under_way] == [
                "allowed_signers",
                "smoke/latest.json",
            ]
            tomorrow = time.time() + 2 * 86400
            collection.collect(url, Rules(1), Silent(), delete=True, now=tomorrow)
            assert not [path for path in walk(open_target(url), "") if layout.is_partial(path.rpartition("/")[2])]
    assert killed > rounds // 2
    print(f"{killed} collections killed")


def test_a_publication_killed_after_the_collection_of_its_version_is_resumed(root: Path, place: Place) -> None:
    """Half a collection is not an obstacle to the publisher: the same version comes back, whole."""
    with lab.nursery(place.env) as nursery:
        _fill(root, place.url)
        cellar.overlay(root, root / "work/base.qcow2", 1)
        nursery.start(root, place.url, [0.05], keep=1)
        (done,) = nursery.start(root, place.url, version="b1")
        assert "error" not in done, done
        assert "b1" in _sound(place.url)


def test_collections_beside_publications_harm_nobody(root: Path, place: Place) -> None:
    """A publisher finds the base of its overlay there just when the last version that stood on it is taken away."""
    kind = place.url.partition(":")[0] if "://" in place.url else "directory"
    rng, span = random.Random(kind), 0.0
    one, two = cellar.base(root / "one", 7, size="128k"), cellar.base(root / "two", 8, size="128k")
    with lab.nursery(place.env) as publisher, lab.nursery(place.env) as collector, lab.nursery(place.env) as other:
        for number in range(BESIDE[kind]):
            url = f"{place.url}/{number // 4}"
            for step, base in enumerate((one, two)):
                cellar.overlay(root, base, 3 * number + step)
                (done,) = publisher.start(root, url, version=f"w{3 * number + step:02}")
                span = span or done["seconds"]
            # Now w(n+1) on the base `two` is the latest, and only what goes stands on `one`.
            cellar.overlay(root, one, 3 * number + 2)
            version = f"w{3 * number + 2:02}"
            publisher.ask(root, url, version=version)
            time.sleep(rng.uniform(0, 0.7 * span))
            collector.ask(root, url, keep=1)
            other.ask(root, url, [0.2 * span, None], keep=1)
            (done,) = publisher.answers()
            assert "error" not in done, done
            for answer in [*collector.answers(), *other.answers()]:
                assert answer is None or "error" not in answer, answer
            found = _sound(url)
            assert version in found
        (done,) = collector.start(root, url, keep=1)
        assert "error" not in done, done
        assert _sound(url) == {version}
        bases = [path for path in walk(open_target(url), "_base") if path.endswith("base.qcow2")]
        assert bases == [f"_base/{cellar.sha(one)}/base.qcow2"]
