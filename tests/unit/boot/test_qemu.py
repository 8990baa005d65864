"""QEMU's options that depend on the host."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import pytest

from roost.boot import qemu


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of programs that are found first."""
    qemu.has_ring.cache_clear()
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    _program(tmp_path / "qemu-system-x86_64", "exit 1")
    yield tmp_path
    qemu.has_ring.cache_clear()


def _program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(("status", "expected"), [(0, True), (1, False)])
def test_a_ring_is_used_where_qemu_opens_a_file_with_it(
    tools: Path, monkeypatch: pytest.MonkeyPatch, status: int, expected: bool
) -> None:
    monkeypatch.setattr(platform, "release", lambda: "6.1.0-28-amd64")
    _program(tools / "qemu-img", f'echo "$*" >{tools}/arguments\nexit {status}')
    assert qemu.has_ring() is expected
    assert "file.aio=io_uring" in (tools / "arguments").read_text()


def test_rings_that_count_as_locked_memory_are_not_used(tools: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "release", lambda: "5.10.0-28-amd64")
    _program(tools / "qemu-img", "exit 0")
    assert qemu.has_ring() is False
