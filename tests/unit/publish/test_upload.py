"""What a publication and a verification say on their way: which file, how many bytes of how many."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.cli import publish as publish_tasks
from roost.errors import ImageError
from roost.pipeline import publish as publishing
from roost.publish import layout, upload
from roost.publish.targets.kinds import open_target
from tests.publish import lab


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a build that passed."""
    monkeypatch.setenv("ROOST_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    root = lab.project(tmp_path / "project")
    lab.ready(root)
    return root


def test_bytes_are_counted_sent_and_read_back(root: Path, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("name", ["root.qcow2", "io.raw", "kvm.sub", "SHA256SUMS", "SHA256SUMS.sig"])
@pytest.mark.parametrize("kind", ["directory", "storage"])
@pytest.mark.parametrize("cut", [False, True])
def test_a_version_that_lacks_a_file_is_not_published_already(
    root: Path, tmp_path: Path, name: str, kind: str, cut: bool
) -> None:
    """It is repaired as the message says."""
    place = str(tmp_path / "srv") if kind == "directory" else f"memory://{tmp_path}"
    done = lab.publish(root, place)
    catalogue, version = open_target(place), f"smoke/{done.release.version}"
    assert not lab.publish(root, place).new
    path = f"{version}/{name}"
    whole = catalogue.size(path)
    assert whole
    if cut:
        catalogue.write(path, b"")
    else:
        catalogue.remove(path)
    shown = publish_tasks._verified(publishing.verify(place, key=None, events=lab.Heard()))
    assert f"publish it again:\n  {done.url}/{version}\n\nverification failed" in shown
    with pytest.raises(ImageError) as raised:
        lab.publish(root, place)
    said = str(raised.value)
    assert f"{done.url}/{path} {'has 0 bytes' if cut else 'is missing'}" in said
    assert f"(remove {done.url}/{version} and publish again; inv verify {done.url} shows all)" in said
    assert not any(catalogue.names(f"smoke/{layout.CLAIMS}"))
    for one in upload.walk(catalogue, version):
        catalogue.remove(one)
    assert lab.publish(root, place).new
    assert publishing.verify(place, key=None, events=lab.Heard())["ok"]


def test_a_record_that_was_cut_off_is_said_how_to_repair(root: Path, tmp_path: Path) -> None:
    done = lab.publish(root, str(tmp_path / "srv"))
    version = tmp_path / "srv" / done.release.directory
    (version / layout.RELEASE).write_bytes(b"")
    with pytest.raises(ImageError, match=r"release\.json is not JSON") as raised:
        lab.publish(root, str(tmp_path / "srv"))
    assert f"remove {version} and publish again" in str(raised.value)
