"""The packages that bootstraps share: each works on a copy of its own, and what is new comes back whole."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from roost.recipe.debian import Debian
from roost.sources import mmdebstrap
from roost.sources.archive import Index
from roost.sources.bootstrap import Bootstrap
from roost.store.cache import Cache

WANTED = Bootstrap(Debian(suite="bookworm"), None, "busybox", (), Index((), (), 1), 1)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path))
    shared = tmp_path / "packages" / "amd64"
    shared.mkdir(parents=True)
    (shared / "a_1_all.deb").write_bytes(b"a")
    return Cache(tmp_path)


def test_two_bootstraps_at_once_do_not_see_each_other(cache: Cache) -> None:
    with mmdebstrap._packages(cache, WANTED) as (one, shared), mmdebstrap._packages(cache, WANTED) as (other, _):
        before = shared.stat().st_mtime_ns
        (one / "b_1_all.deb").write_bytes(b"b")
        (other / "a_1_all.deb").write_bytes(b"written again")
        assert sorted(path.name for path in other.glob("*.deb")) == ["a_1_all.deb"]
        assert shared.stat().st_mtime_ns == before
    assert {path.name: path.read_bytes() for path in shared.iterdir()} == {"a_1_all.deb": b"a", "b_1_all.deb": b"b"}
    assert not list((cache.root / "work").iterdir())


def test_a_bootstrap_that_failed_leaves_nothing(cache: Cache) -> None:
    with contextlib.suppress(KeyError), mmdebstrap._packages(cache, WANTED) as (mine, shared):
        (mine / "half_1_all.deb").write_bytes(b"h")
        raise KeyError
    assert [path.name for path in shared.iterdir()] == ["a_1_all.deb"]
