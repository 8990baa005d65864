"""mkosi is measured where it builds the same image, and left out with the reason where it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.errors import HostError, ImageError, ToolError
from roost.pipeline import bench_mkosi
from tests.fake_tools import FakeTools

PACKAGES = ["linux-image-cloud-amd64", "openssh-server"]
BUILDS = """\
case "$*" in
--version) echo "mkosi 25.3" ;;
*build) echo '{"packages": [{"name": "linux-image-cloud-amd64"}, {"name": "openssh-server"}]}' >image.manifest ;;
esac
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    """Return a PATH on which a test's mkosi is before any of the host's."""
    fake = FakeTools(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{fake.directory}:/usr/bin:/bin")
    return fake


def _why(directory: Path) -> str:
    with pytest.raises((HostError, ImageError, ToolError)) as caught:
        bench_mkosi.command(directory, "bookworm", PACKAGES)
    return bench_mkosi.reason(caught.value)


def test_what_builds_the_same_image_is_measured(tools: FakeTools, tmp_path: Path) -> None:
    tools.put("mkosi", BUILDS)
    directory = tmp_path / "mkosi"
    assert bench_mkosi.command(directory, "bookworm", PACKAGES) == ["mkosi", "--directory", directory]
    said = (directory / "mkosi.conf").read_text()
    assert "Packages=linux-image-cloud-amd64 openssh-server\n" in said
    # mkosi 25: "A cache directory must be configured in order to use --incremental".
    assert f"CacheDirectory={directory}/cache\n" in said and (directory / "cache").is_dir()
    bench_mkosi.change(directory, "2\n")
    assert (directory / "mkosi.extra/etc/changed").read_text() == "2\n"


def test_no_mkosi_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _why(tmp_path / "mkosi") == "mkosi is left out: it is not installed"


def test_an_older_one_is_left_out(tools: FakeTools, tmp_path: Path) -> None:
    tools.put("mkosi", "echo mkosi 14")
    assert _why(tmp_path / "mkosi") == "mkosi is left out: mkosi 14 is older than 25"
    assert tools.calls("mkosi") == [["--version"]]


def test_one_that_fails_is_left_out_with_its_last_words(tools: FakeTools, tmp_path: Path) -> None:
    words = "‣ Found systemd-repart with version 252 but version 254 or newer is required\n‣ (Use ToolsTree=default)"
    tools.put("mkosi", f"[ \"$1\" = --version ] && {{ echo mkosi 25.3; exit; }}\nprintf '{words}\\n' >&2; exit 1")
    why = _why(tmp_path / "mkosi")
    assert "version 254 or newer is required" in why and why.endswith("(Use ToolsTree=default)")


@pytest.mark.parametrize("manifest", ['{"packages": [{"name": "openssh-server"}]}', "", "[]"])
def test_another_image_is_not_a_peer(tools: FakeTools, tmp_path: Path, manifest: str) -> None:
    tools.put("mkosi", f"[ \"$1\" = --version ] && {{ echo mkosi 26; exit; }}\necho '{manifest}' >image.manifest")
    why = _why(tmp_path / "mkosi")
    assert "linux-image-cloud-amd64" in why or "image.manifest cannot be read" in why
