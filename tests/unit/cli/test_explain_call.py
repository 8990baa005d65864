"""`inv explain FILE|-|TEXT` and `inv lint FILE|-`: what is read, and what is not."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from roost.cli import show
from roost.errors import UsageError
from roost.pipeline import explain, lint, stdin


def codes(result: dict[str, Any]) -> list[str]:
    return [match["code"] for match in result["matches"]]


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))


def test_words_are_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert codes(explain.explain(["held", "with", "code", "13"])) == ["hold-13"]
    assert codes(explain.explain(["VMGAHP_ERR_CRITICAL"])) == ["VMGAHP_ERR_CRITICAL"]
    assert codes(explain.explain(["fmt-case"])) == ["fmt-case"]


def test_a_word_that_says_nothing_may_have_meant_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = explain.explain(["nope"])
    assert (result["matches"], result["note"]) == (
        [],
        "nope is neither a file nor a message that roost knows",
    )
    assert "nope is neither a file" in show.explain(result)
    assert "note" not in explain.explain(["two words"]) and "note" not in explain.explain(["VMGAHP_ERR_CRITICAL"])


def test_a_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("job").write_text("HoldReasonCode = 13\n")
    for name in ("job", "./job", str(tmp_path / "job")):
        assert codes(explain.explain([name])) == ["hold-13"]
    assert codes(explain.explain(["job"], named=True)) == ["hold-13"]


def test_the_end_of_a_long_log_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Path("long").open("wb") as file:
        file.truncate(1 << 30)
        file.seek(0, os.SEEK_END)
        file.write(b"\nHoldReasonCode = 13\n")
    assert codes(explain.explain(["long"])) == ["hold-13"]


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, b"HoldReasonCode = 13\n")
    assert codes(explain.explain(["-"])) == ["hold-13"]
    feed(monkeypatch, b"universe = vm\n")
    assert lint.lint("-").file == "standard input"


def test_endless_standard_input_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdin, "INPUT_BYTES", 1000)
    feed(monkeypatch, b"y\n" * 1000)
    with pytest.raises(UsageError, match="too large"):
        explain.explain(["-"])


@pytest.mark.parametrize("word", ["gone.log", "./gone", "/tmp/x/gone", "logs/gone.txt", "pipe", "."])
def test_a_file_that_cannot_be_read_is_said(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with pytest.raises(UsageError, match=r"no such file|is not a file"):
        explain.explain([word])


@pytest.mark.parametrize("words", [[], [""], ["  "]])
def test_nothing_is_no_text(words: list[str]) -> None:
    with pytest.raises(UsageError, match="nothing to explain"):
        explain.explain(words)
