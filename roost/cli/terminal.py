"""Display of progress and results: rich on a terminal, plain lines elsewhere, JSON on request.

Progress always goes to standard error; standard output carries only a task's result.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from roost.cli import calls, fold, greeting, lastresort
from roost.errors import HostError, RoostError, problems_json
from roost.events import Events
from roost.host import interruption
from roost.host.safetext import one_line, safe

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class PlainEvents:
    """A line when a stage begins and ends, for each note, and once a minute for a running stage: for logs and CI."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._begun: dict[str, float] = {}
        self._reported_at: dict[str, float] = {}

    def _print(self, text: str) -> None:
        with self._lock, contextlib.suppress(OSError):  # a failure to show progress stops nothing
            self._stream.write(f"{safe(text)}\n")
            self._stream.flush()

    def begin(self, name: str, detail: str) -> None:
        """Print that a stage starts."""
        self._begun[name] = self._reported_at[name] = time.monotonic()
        self._print(f"roost: {name}{f' ({detail})' if detail else ''} ...")

    def end(self, name: str, seconds: float, ok: bool) -> None:
        """Print how long a stage took."""
        self._begun.pop(name, None)
        self._print(f"roost: {name}: {'done' if ok else 'failed'} after {seconds:.1f} s")

    def progress(self, name: str, done: float, total: float) -> None:
        """Print the number of bytes once a minute; other counts would make logs unreadable."""
        if name in BYTES:
            seconds = time.monotonic() - self._begun.get(name, time.monotonic())
            self.doing(name, transferred(done, total, seconds))

    def doing(self, name: str, text: str) -> None:
        """Print once a minute what a stage does."""
        now = time.monotonic()
        if name in self._begun and now - self._reported_at[name] >= MINUTE:
            self._reported_at[name] = now
            self._print(f"roost: {name}: {one_line(text)}")

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Print nothing: a log is not watched for the remaining time."""

    def note(self, text: str) -> None:
        """Print a note."""
        self._print(f"roost: note: {calls.typed(text)}")


class RichEvents:
    """A live line per running stage on a terminal."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._expected: dict[str, float] = {}

    def begin(self, name: str, detail: str) -> None:
        """Start a spinner for a stage."""
        from rich.markup import escape

        text = escape(one_line(f"{name} ({detail})" if detail else name))
        self._tasks[name] = self._progress.add_task(text, total=None, amount="", expected=self._expected.get(name, 0.0))

    def end(self, name: str, seconds: float, ok: bool) -> None:
        """Turn the spinner into a line."""
        from rich.markup import escape

        task = self._tasks.pop(name, None)
        if task is not None:
            self._progress.remove_task(task)
        mark = "[green]✓[/]" if ok else "[red]✗[/]"
        self._progress.console.print(f"{mark} {escape(one_line(name))} [dim]{seconds:.1f} s[/]")

    def progress(self, name: str, done: float, total: float) -> None:
        """Advance a stage's bar; for bytes it shows their number and rate."""
        if name in self._tasks:
            task = next(one for one in self._progress.tasks if one.id == self._tasks[name])
            amount = transferred(done, total, task.elapsed or 0.0) if name in BYTES else ""
            # Without a total the bar only shows activity.
            self._progress.update(task.id, completed=done, total=total or None, amount=amount)

    def doing(self, name: str, text: str) -> None:
        """Show on a stage's line what it does, replacing the previous text."""
        from rich.markup import escape

        if name in self._tasks:
            self._progress.update(self._tasks[name], description=escape(one_line(f"{name}: {text}")))

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Make stages that begin from now on show their remaining time, as far as it is known."""
        self._expected.update(seconds)

    def note(self, text: str) -> None:
        """Show a note above the running stages."""
        from rich.markup import escape

        self._progress.console.print(f"[yellow]![/] {escape(safe(calls.typed(text)))}")


#: Stages whose progress is in bytes.
BYTES = frozenset({"download", "publish", "verify"})
#: Seconds before a rate is meaningful, columns below which a line has no bar, and those of a bar, bytes and times.
SETTLED, NARROW, BESIDE = 1.0, 80, 66


#: Seconds between two log lines about one stage, and the minimum duration of a stage whose end is predicted.
MINUTE, FORETOLD = 60.0, 5.0


def left(expected: float, seconds: float) -> str:
    """Return the approximate remainder of the `expected` seconds after `seconds`; empty if unknown.

    A stage that takes longer than the last time shows nothing, rather than a number that does not change.
    """
    rest = expected - seconds
    if expected < FORETOLD or rest < 1:
        return ""
    if rest > 100:
        return f"about {rest / 60:.0f} min left"
    step = 10 if rest > 30 else 5 if rest > 10 else 1
    return f"about {max(step, round(rest / step) * step)} s left"


def transferred(done: float, total: float, seconds: float) -> str:
    """Return the bytes done of the total, the rate, and the remaining time at that rate."""
    parts = [f"{done / (1 << 20):.1f} of {total / (1 << 20):.1f} MiB" if total else f"{done / (1 << 20):.1f} MiB"]
    if seconds >= SETTLED and done > 0:
        rate = done / seconds
        parts.append(f"{rate / (1 << 20):.1f} MiB/s")
        if total > done:
            parts.append(f"{(total - done) / rate:.0f} s left")
    return ", ".join(parts)


def is_live() -> bool:
    """Return whether standard error is a terminal on which lines can be overwritten."""
    return greeting.live()


@contextmanager
def events() -> Iterator[Events]:
    """Yield the sink for standard error: live on a terminal, else lines."""
    if not is_live():
        yield PlainEvents(sys.stderr)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
    from rich.table import Column
    from rich.text import Text

    console = Console(stderr=True, highlight=False)
    narrow = console.width < NARROW
    # On a wide line all other columns fit next to the text, however long it is.
    room = Column(no_wrap=True, overflow="ellipsis", ratio=1, max_width=None if narrow else console.width - BESIDE)
    text = TextColumn("{task.description}", table_column=room)
    columns: list[ProgressColumn] = [SpinnerColumn(), text]
    if not narrow:
        columns.append(BarColumn(bar_width=20))
    columns.append(TextColumn("{task.fields[amount]}", table_column=Column(no_wrap=True)))

    class Left(ProgressColumn):
        """The remaining time, if known from the last time; byte progress shows its own."""

        def render(self, task: Task) -> Text:
            text = "" if task.fields["amount"] else left(task.fields["expected"], task.elapsed or 0.0)
            return Text(text, style="dim", no_wrap=True)

    columns += [Left(), TimeElapsedColumn()]
    with Progress(*columns, console=console, transient=True, expand=narrow) as progress:
        yield RichEvents(progress)


#: Set once standard output has a result, or a part of one.
answered = threading.Event()


def write_json(value: Mapping[str, Any]) -> None:
    """Write the one JSON object of a task to standard output."""
    # JSON escapes all control characters except DEL.
    _write(json.dumps(calls.typed_json(value), indent=2, ensure_ascii=True).replace("\x7f", "\\u007f") + "\n")


def write_text(text: str, *, whole: bool = False) -> None:
    """Write a task's result to standard output, escaping what a terminal would act on.

    On a terminal long lines are wrapped between words; `whole` disables it, for a printed file.
    """
    shown = safe(text if text.endswith("\n") else text + "\n")
    _write(shown if whole else fold.folded(calls.typed(shown), fold.columns(sys.stdout)))


def write_prompt(text: str) -> None:
    """Write a question to standard error: the answer follows on its line."""
    sys.stderr.write(safe(calls.typed(text)))
    sys.stderr.flush()


def _write(text: str) -> None:
    # Before the first byte: an interruption on the way must not add an object to a part of another.
    answered.set()
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        lastresort.drop_output()
        raise HostError(f"standard output cannot be written: {error.strerror}") from error


def error_json(error: RoostError) -> dict[str, Any]:
    """Return an error as `--json` reports it."""
    return {"ok": False, "error": problems_json(error.problems, error.log, error.tail)}


def write_interruption() -> None:
    """Write the error object of an interrupted task, unless standard output has a result; never wait for its reader."""
    if answered.is_set() or not lastresort.takes_output():
        return
    try:
        write_json(error_json(RoostError(f"interrupted by {interruption.cause()}")))
    except (RoostError, OSError):
        lastresort.drop_output()


def write_error(error: RoostError) -> None:
    """Write an error to standard error, red on a terminal, never interpreting what it quotes."""
    text = fold.folded(calls.typed(safe(str(error))), fold.columns(sys.stderr))
    if is_live() and not os.environ.get("NO_COLOR"):
        text = f"\x1b[31m{text}\x1b[0m"
    lastresort.write_error(f"{text}\n")
