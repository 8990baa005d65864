"""What a publication and a verification say on their way: which file, how many bytes of how many."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.pipeline import publish as publishing
from tests.publish import lab


def test_bytes_are_counted_sent_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    root = lab.project(tmp_path / "project")
    lab.ready(root)
    heard = lab.Heard()
    done = lab.publish(root, str(tmp_path / "srv"), events=heard)
    size = sum(file.size for file in done.release.files)
    counts = [count for count, _ in heard.bytes["publish"]]
    assert counts == sorted(counts) and counts[-1] == 2 * size == heard.bytes["publish"][0][1]
    assert {"publish: sending root.qcow2", "publish: reading root.qcow2 back"} <= set(heard.words)
    heard = lab.Heard()
    assert publishing.verify(str(tmp_path / "srv"), key=None, events=heard)["ok"]
    assert heard.begun == ["verify"] and heard.words == [f"verify: smoke {done.release.version}"]
    assert heard.bytes["verify"][-1] == (size, 0)
