"""`inv test`: the checks of the code run beside the unit tests, are shown in one piece, count, and end with it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from roost.cli import development

LINE = "import sys; sys.stderr.write('one\\n'); print('two', flush=True); sys.exit({})"


@pytest.mark.parametrize("code", [0, 1, 3])
def test_what_runs_beside_is_shown_and_judged(code: int, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with development._beside("-c", LINE.format(code)) as passed:
        assert passed() == (code == 0)
    assert capfdbinary.readouterr().err == b"one\ntwo\n"


def test_what_runs_beside_ends_with_the_block() -> None:
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt), development._beside("-c", "import time; time.sleep(100)"):
        raise KeyboardInterrupt
    assert time.monotonic() - begin < 20


def test_what_tests_import_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(development, "_run", lambda argv: "PYTHONDONTWRITEBYTECODE" not in os.environ)
    assert development.test(["tests/unit"], unit=True)


@pytest.mark.parametrize("failing", [None, "check-code", "tests/unit", "tests/images"])
@pytest.mark.parametrize("unit", [False, True])
def test_each_part_runs_and_counts(failing: str | None, unit: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def run(argv: Sequence[str]) -> bool:
        called.append(argv[1])
        return argv[1] != failing

    @contextmanager
    def beside(*words: str) -> Iterator[object]:
        called.append(words[-1])
        yield lambda: words[-1] != failing

    monkeypatch.setattr(development, "_run", run)
    monkeypatch.setattr(development, "_beside", beside)
    parts = ["check-code", "tests/unit", *([] if unit else ["tests/images"])]
    assert development.test([], unit=unit) == (failing not in parts)
    assert called == parts
