"""`inv verify` of what a stranger wrote: each record may hold anything, and one that is wrong does not end it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from roost.publish import layout
from roost.publish.targets.kinds import open_target
from roost.publish.verify_version import Keys, verify_version

VERSION = "20260101-abcdef123456"


def release(**changes: Any) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": "smoke", "version": VERSION, "created": "2026-01-01T00:00:00Z", "identity": "x", "untested": False,
        "files": [], "hypervisors": {"kvm": {"verdict": "passed"}},
    }  # fmt: skip
    return {**told, **changes}


def problems(root: Path, files: dict[str, bytes]) -> list[str]:
    """Return what is found of a version that has these files."""
    for name, data in files.items():
        path = root / "smoke" / VERSION / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    found = verify_version(open_target(str(root)), "smoke", VERSION, Keys((), ""), {})
    assert not found.to_json()["ok"]
    return [f"{one.file}: {one.what}" for one in found.problems]


@pytest.mark.parametrize("told", [[], 5, "x", {"kvm": 5}, {"kvm": []}])
def test_hypervisors_of_another_type(told: Any, tmp_path: Path) -> None:
    problems(tmp_path, {layout.RELEASE: json.dumps(release(hypervisors=told)).encode()})


@pytest.mark.parametrize("booted", [5, "root.raw", [5], [None], [[]], {"a": 1}, [{"name": "x"}], True])
@pytest.mark.parametrize("part", ["disks", "kernel", "bases"])
def test_a_verdict_of_another_shape(part: str, booted: Any, tmp_path: Path) -> None:
    verdict = json.dumps({"passed": True, part: booted}).encode()
    found = problems(tmp_path, {layout.RELEASE: json.dumps(release()).encode(), "boot/kvm.json": verdict})
    assert any("boot/kvm.json" in one and "an invalid list of what was booted" in one for one in found)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("../../../outside", "names a file outside of its version"),
        ("/proc/kcore", "names a file outside of its version"),
        ("../../bases/../../outside/x", "names a file outside of its version"),
        ("a" * 300, "File name too long"),
        ("link", "Too many levels"),
        ("directory", "a directory, not a file"),
    ],
)
def test_sums_of_what_is_not_a_file_of_the_version(path: str, said: str, tmp_path: Path) -> None:
    """Without a release.json the sums say what there is: nothing outside is read, and the rest is still judged."""
    here = tmp_path / "catalogue/smoke" / VERSION
    here.mkdir(parents=True)
    (tmp_path / "outside").write_bytes(b"secret")
    (here / "link").symlink_to("link")
    (here / "directory").mkdir()
    sums = "".join(f"{'0' * 64}  {one}\n" for one in (path, "gone.raw")).encode()
    found = problems(tmp_path / "catalogue", {layout.SUMS: sums})
    assert any(said in one for one in found), found
    assert any("gone.raw: is missing" in one for one in found)
