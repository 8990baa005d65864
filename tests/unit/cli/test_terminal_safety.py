"""What strangers wrote never acts on the terminal, by whatever function it is shown."""

from __future__ import annotations

import ast
import io
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

import roost
from roost.cli import terminal
from roost.errors import Location, Problem, RecipeError, ToolError, UsageError
from roost.host.safetext import one_line, safe

#: Colours, a title, an answer that is typed, a C1 introducer, a line rewritten, a direction turned, no UTF-8, a bell.
HOSTILE = "\x1b[31m\x1b]0;title\x07\x9b31m\r\x08\x7f\u202egnp.exe\u2028\u200b\udcff\x00\x1b[6n"


def harmless(text: str) -> bool:
    """Return whether nothing in a text acts on a terminal."""
    return not any(unicodedata.category(char) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for char in text if char not in "\n\t")


def _rich(say: Callable[[terminal.RichEvents], None]) -> str:
    stream = io.StringIO()
    progress = Progress(console=Console(file=stream, force_terminal=False, width=200))
    say(terminal.RichEvents(progress))
    return stream.getvalue()


def _plain(say: Callable[[terminal.PlainEvents], None]) -> str:
    stream = io.StringIO()
    say(terminal.PlainEvents(stream))
    return stream.getvalue()


@pytest.mark.parametrize("make", [_rich, _plain])
def test_progress_is_harmless(make: Callable[[Callable[[object], None]], str]) -> None:
    """Names of stages, their details, notes: from recipes, URLs, files."""

    def say(events: object) -> None:
        assert isinstance(events, terminal.RichEvents | terminal.PlainEvents)
        events.begin(HOSTILE, HOSTILE)
        events.end(HOSTILE, 1.0, True)
        events.note(f"{HOSTILE} [red]")

    text = make(say)
    assert "title" in text and harmless(text)


def test_results_and_errors_are_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    """Every task ends in one of these."""
    terminal.write_text(HOSTILE)
    terminal.write_json({HOSTILE.replace("\udcff", ""): HOSTILE})
    where = Location(HOSTILE, 1, 1)
    for error in (
        UsageError(HOSTILE, where=where, hint=HOSTILE, log=Path(HOSTILE.replace("\0", "")), tail=HOSTILE),
        RecipeError([Problem(HOSTILE, where, HOSTILE)]),
        ToolError(HOSTILE, argv=[HOSTILE], returncode=1, tail=HOSTILE),
    ):
        terminal.write_error(error)
        terminal.write_json(terminal.error_json(error))
    said = capsys.readouterr()
    assert "title" in said.out and "title" in said.err
    assert harmless(said.out) and harmless(said.err)


def test_json_keeps_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    """Escapes of JSON are read back as what they stand for."""
    text = HOSTILE.replace("\udcff", "")
    terminal.write_json({"text": text})
    assert json.loads(capsys.readouterr().out) == {"text": text}


def test_ordinary_text_stays(capsys: pytest.CaptureFixture[str]) -> None:
    """Tabs, lines, letters of every script, wide blanks."""
    text = "a\tb\nÜber → 漢字　\u00a0é 😀\n"
    terminal.write_text(text)
    assert capsys.readouterr().out == text
    assert safe("a\x1b") == "a\\x1b" and one_line("a\nb") == "a\\nb" and safe("\udcff") == "\\xff"


#: Who may write to the standard streams: the one place that makes text safe. What stands in host/, what is run in a
#: tree and the oracle are children that answer their parent, which shows it by `process.tail`.
WRITERS = {
    "cli/greeting.py",
    "cli/terminal.py",
    "cli/lastresort.py",
    "cli/development.py",
    "condor/oracle.py",
    "customize/apply.py",
    "pipeline/repro_worker.py",
}


def test_nothing_else_writes_to_the_terminal() -> None:
    """`print`, sys.stdout.write and sys.stderr.write are for the modules above."""
    package = Path(roost.__file__).parent
    found = set()
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {
                "print",
                "sys.stdout.write",
                "sys.stderr.write",
                "sys.stdout.buffer.write",
            }:
                found.add(str(path.relative_to(package)))
    assert {one for one in found if not one.startswith("host/")} <= WRITERS
