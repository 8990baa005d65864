"""What git says has changed: a real repository, committed, staged, new, removed and ignored files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from roost.errors import UsageError
from roost.factory import revisions


def git(root: Path, *words: str) -> None:
    settings = [
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@t",
        "-c",
        "init.defaultBranch=main",
        "-c",
        "commit.gpgsign=false",
    ]
    subprocess.run(["git", "-C", str(root), *settings, *words], check=True, capture_output=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    top = tmp_path.resolve() / "a repository"
    top.mkdir()
    git(top, "init", "-q")
    (top / ".gitignore").write_text("ignored\n")
    for name in ("kept", "changed", "staged", "removed", "naïve\nname"):
        (top / name).write_text("old")
    git(top, "add", "-A")
    git(top, "commit", "-qm", "one")
    return top


def names(paths: frozenset[Path], root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in paths}


def test_all_that_is_not_as_it_was_has_changed(root: Path) -> None:
    for name in ("changed", "staged", "new", "ignored", "naïve\nname"):
        (root / name).write_text("now")
    git(root, "add", "staged")
    (root / "removed").unlink()
    seen = revisions.since(root, "HEAD")
    assert names(seen.changed, root) == {"changed", "staged", "new", "removed", "naïve\nname"}
    assert names(seen.known, root) == {".gitignore", "kept", "changed", "staged", "new", "removed", "naïve\nname"}
    git(root, "add", "-A")
    git(root, "commit", "-qm", "two")
    assert not revisions.since(root, "HEAD").changed
    assert names(revisions.since(root, "HEAD~1").changed, root) == names(seen.changed, root)


def test_no_program_of_the_repository_is_run(root: Path) -> None:
    (root / ".gitattributes").write_text("* diff=evil\n")
    evil = f"touch '{root}/ran'"
    git(root, "config", "diff.evil.command", f"{evil}; true")
    git(root, "config", "diff.evil.textconv", f"{evil}; cat")
    git(root, "config", "core.fsmonitor", f"{evil}; true")
    hook = root / ".git/hooks/post-index-change"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{evil}\n")
    hook.chmod(0o755)
    (root / "changed").write_text("now")
    # As it was, but younger than the index: git writes down that it is.
    (root / "kept").touch()
    (root / "ran").unlink(missing_ok=True)
    assert root / "changed" in revisions.since(root, "HEAD").changed
    assert not (root / "ran").exists()


@pytest.mark.parametrize("revision", ["nosuch", "--output=x", "", "HEAD~5", "HEAD:kept"])
def test_a_revision_that_is_none_is_a_wrong_call(root: Path, revision: str) -> None:
    with pytest.raises(UsageError):
        revisions.since(root, revision)
    assert not (root / "x").exists()


def test_the_repository_of_a_path(root: Path) -> None:
    (root / "sub").mkdir()
    assert revisions.repository(root / "sub/file") == root
    assert revisions.repository(root.parent / "file") is None
