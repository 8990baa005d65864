"""Paths inside of a tree: links stay inside, whatever they say."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.host import rooted


@pytest.mark.parametrize(
    ("link", "target", "asked", "found"),
    [
        ("boot", "/etc", "/boot/passwd", "etc/passwd"),
        ("boot", "../../../../etc", "boot/passwd", "etc/passwd"),
        ("lib", "usr/lib", "/lib/modules", "usr/lib/modules"),
        ("a", "/b", "/a/../c", "c"),
        ("x", "..", "x/x/x/y", "y"),
    ],
)
def test_links_are_followed_inside(link: str, target: str, asked: str, found: str, tmp_path: Path) -> None:
    root = tmp_path / "tree"
    for folder in ("etc", "usr/lib", "b"):
        (root / folder).mkdir(parents=True)
    (root / link).symlink_to(target)
    assert rooted.resolve(root, asked) == root / found


def test_a_hosts_file_is_never_seen(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    (root / "boot").mkdir(parents=True)
    (root / "boot/vmlinuz-1").symlink_to("/etc/passwd")
    (root / "up").symlink_to(tmp_path)
    assert Path("/etc/passwd").is_file()
    assert not rooted.is_file(root, "/boot/vmlinuz-1")
    assert not rooted.exists(root, "/up/tree")
    assert rooted.names(root, "/up") == []
    assert rooted.names(root, "/boot") == ["vmlinuz-1"]


def test_a_loop_and_a_file_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Too many levels"):
        rooted.resolve(tmp_path, "/a/c")
    with pytest.raises(NotADirectoryError):
        rooted.resolve(tmp_path, "/file/c")
    assert not rooted.exists(tmp_path, "/a")


@given(st.lists(st.sampled_from(["a", "b", "..", ".", "", "/"]), max_size=8))
def test_no_path_leads_out(tmp_path_factory: pytest.TempPathFactory, parts: list[str]) -> None:
    root = tmp_path_factory.mktemp("tree")
    (root / "a").symlink_to("../../..")
    (root / "b").symlink_to("/a/../..")
    assert rooted.resolve(root, "/".join(parts)).is_relative_to(root)
