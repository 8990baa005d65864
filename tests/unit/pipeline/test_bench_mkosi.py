"""mkosi is measured where it builds the same image, and left out with the reason where it does not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roost.errors import HostError, ImageError, ToolError
from roost.pipeline import bench_mkosi
from roost.recipe.debian import Debian
from roost.sources.aptsource import AptSource
from roost.sources.archive import Index
from roost.sources.bootstrap import Bootstrap
from roost.sources.packages import Package, Selection
from tests.fake_tools import FakeTools

SOURCES = (
    AptSource("http://deb.example/debian", "bookworm", ("main",)),
    AptSource("http://security.example/debian", "bookworm-security", ("main", "contrib")),
)
CHOSEN = (Package("apt", "2.6.2", "amd64", "0" * 64), Package("openssh-server", "1:9.2p1-2", "amd64", "1" * 64))
WANTED = Bootstrap(
    Debian(suite="bookworm", packages=["openssh-server"]), None, "busybox", (),
    Index(SOURCES, (), 1, "Debian"), None, (), Selection(CHOSEN),
)  # fmt: skip
APT, SSH = (json.dumps({"name": one.name, "version": one.version}) for one in CHOSEN)


def _mkosi(*packages: str, version: str = "27~devel", boot: str = "GRUB") -> str:
    """Return a mkosi that builds a disk of these packages."""
    manifest = f'{{"packages": [{", ".join(packages)}]}}'
    return f"""\
case "$*" in
--version) echo "mkosi {version}" ;;
*build) echo '{manifest}' >image.manifest; echo 'xx{boot}xx' >image.raw ;;
esac
"""


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    """Return a PATH on which a test's mkosi is before any of the host's."""
    fake = FakeTools(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{fake.directory}:/usr/bin:/bin")
    monkeypatch.setattr(bench_mkosi, "GRUB", tmp_path / "i386-pc")
    (tmp_path / "i386-pc").mkdir()
    (tmp_path / "i386-pc/linux.mod").touch()
    return fake


def _why(directory: Path) -> str:
    with pytest.raises((HostError, ImageError, ToolError)) as caught:
        bench_mkosi.prepare(directory, WANTED)
    return bench_mkosi.reason(caught.value)


def test_what_builds_the_same_image_is_measured(tools: FakeTools, tmp_path: Path) -> None:
    tools.put("mkosi", _mkosi(APT, SSH))
    directory = tmp_path / "mkosi"
    bench_mkosi.prepare(directory, WANTED)
    # One --force: with a second, the cached tree is removed that the next measurement begins with. So it is by a build
    # that is not incremental, in its own cache.
    cold = [
        "--directory",
        str(directory),
        "--force",
        "--incremental=no",
        f"--cache-directory={directory}/cold",
        "build",
    ]
    # Not a build from packages that is taken for one from the cached tree.
    again = ["--directory", str(directory), "--force", "--incremental=strict", "build"]
    first = ["--directory", str(directory), "--force", "build"]
    assert tools.calls("mkosi") == [["--version"], cold, first, again]
    assert [str(word) for word in bench_mkosi.cold(directory)[1:]] == cold
    assert [str(word) for word in bench_mkosi.again(directory)[1:]] == again
    assert (directory / "cold").is_dir()
    bench_mkosi.change(directory, "2\n")
    assert (directory / "mkosi.extra/etc/changed").read_text() == "2\n"


def test_it_gets_the_same_packages_from_the_same_sources(tools: FakeTools, tmp_path: Path) -> None:
    tools.put("mkosi", _mkosi(APT, SSH))
    directory = tmp_path / "mkosi"
    bench_mkosi.prepare(directory, WANTED)
    said = (directory / "mkosi.conf").read_text().splitlines()
    # All by name: mkosi installs no apt by itself, mmdebstrap does.
    assert "Packages=apt openssh-server" in said and "Release=bookworm" in said
    # mkosi 25: "A cache directory must be configured in order to use --incremental".
    assert f"CacheDirectory={directory}/cache" in said and (directory / "cache").is_dir()
    keys = "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n"
    # Its own list has indexes of sources and of debug symbols too, which not every mirror has.
    assert (directory / "mkosi.sandbox/etc/apt/sources.list.d/mkosi.sources").read_text() == (
        f"Types: deb\nURIs: http://deb.example/debian\nSuites: bookworm\nComponents: main\n{keys}\n"
        f"Types: deb\nURIs: http://security.example/debian\nSuites: bookworm-security\nComponents: main contrib\n{keys}"
    )


def test_its_image_boots_by_the_shortest_way(tools: FakeTools, tmp_path: Path) -> None:
    tools.put("mkosi", _mkosi(APT, SSH))
    directory = tmp_path / "mkosi"
    bench_mkosi.prepare(directory, WANTED)
    said = (directory / "mkosi.conf").read_text().splitlines()
    assert {"Bootable=yes", "Bootloader=none", "BiosBootloader=grub", "Initrds=", "KernelModulesInitrd=no"} <= {*said}
    assert (directory / "mkosi.extra/usr/lib/grub/i386-pc/linux.mod").exists()
    for name in ("mkosi.prepare", "mkosi.postinst"):
        assert (directory / name).stat().st_mode & 0o111 == 0o111


def test_no_mkosi_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _why(tmp_path / "mkosi") == "mkosi is left out: it is not installed"


def test_no_grub_is_said(tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.put("mkosi", _mkosi(APT, SSH))
    monkeypatch.setattr(bench_mkosi, "GRUB", tmp_path / "none")
    assert "its image would not boot: no" in _why(tmp_path / "mkosi")


def test_an_older_one_is_left_out(tools: FakeTools, tmp_path: Path) -> None:
    tools.put("mkosi", "echo mkosi 14")
    assert _why(tmp_path / "mkosi") == "mkosi is left out: mkosi 14 is older than 25"
    assert tools.calls("mkosi") == [["--version"]]


def test_one_that_fails_is_left_out_with_its_last_words(tools: FakeTools, tmp_path: Path) -> None:
    words = "‣ Found systemd-repart with version 252 but version 254 or newer is required\n‣ (Use ToolsTree=default)"
    tools.put("mkosi", f"[ \"$1\" = --version ] && {{ echo mkosi 25.3; exit; }}\nprintf '{words}\\n' >&2; exit 1")
    why = _why(tmp_path / "mkosi")
    assert "version 254 or newer is required" in why and why.endswith("(Use ToolsTree=default)")


@pytest.mark.parametrize(
    ("made", "why"),
    [
        ((SSH,), "its image has no apt 2.6.2"),
        ((APT, SSH.replace("9.2", "9.1")), "its image has no openssh-server 1:9.2p1-2"),
        ((APT, SSH, '{"name": "nano", "version": "7"}'), "its image also has nano 7"),
        (("null",), "image.manifest cannot be read"),
    ],
)
def test_another_image_is_not_a_peer(tools: FakeTools, tmp_path: Path, made: tuple[str, ...], why: str) -> None:
    tools.put("mkosi", _mkosi(*made))
    assert why in _why(tmp_path / "mkosi")


def test_a_disk_that_does_not_boot_is_not_a_peer(tools: FakeTools, tmp_path: Path) -> None:
    tools.put("mkosi", _mkosi(APT, SSH, boot=""))
    assert "its image has no boot loader" in _why(tmp_path / "mkosi")
