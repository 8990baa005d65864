"""The progress of a factory: a live table on a terminal, otherwise a line for each event."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol, TextIO

from roost.cli import calls, terminal
from roost.factory.graph import STEPS, Graph, Node
from roost.factory.outcome import Failure, Outcome, grouped
from roost.factory.progress import Progress
from roost.host.safetext import one_line, safe

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live

#: No broken images.
NONE: Mapping[str, Failure] = MappingProxyType({})
#: Rows that a live table leaves of a terminal to what is above and below it.
MARGIN = 6
#: Minimum columns for an image's name.
NAMES = 20
#: Columns for a running step's time, and the minimum for its description.
TIME, WORDS = 7, 12
#: How finished steps are shown.
MARKS = {
    "done": "[green]✓[/]", "cached": "[green]=[/]", "failed": "[red]✗[/]",
    "skipped": "[dim]–[/]", "stopped": "[dim]–[/]",
}  # fmt: skip


class View(Progress, Protocol):
    """Progress that learns the graph once it is known."""

    def expect(self, graph: Graph, broken: Mapping[str, Failure] = NONE) -> None:
        """Receive the graph of the work; `broken` maps images without steps to their mistakes."""


def _what(node: Node) -> str:
    return f"{node.label}: {STEPS[node.kind]}" if node.kind in STEPS else node.label


def _mistakes(broken: Mapping[str, Failure]) -> list[str]:
    """Return a line for each mistake, once for all variants of a recipe."""
    found = grouped(broken)
    return [f"{name}: not built: {line}" for name, why in found.items() for line in why.text.splitlines()]


class Lines:
    """A line for each node that begins or ends, for each note, and once a minute for a running node: for logs, CI."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._total = self._ended = 0
        self._noted: set[str] = set()
        self._told: dict[str, float] = {}

    def _print(self, text: str) -> None:
        with self._lock, contextlib.suppress(OSError):  # a failure to show progress stops nothing
            self._stream.write(f"roost: {one_line(calls.typed(text))}\n")
            self._stream.flush()

    def expect(self, graph: Graph, broken: Mapping[str, Failure] = NONE) -> None:
        """Show the number of images and steps, and the broken images."""
        self._total = len(graph)
        images = sum(1 for node in graph if node.kind == "image") + len(broken)
        self._print(f"{images} image{'s' if images != 1 else ''}, {len(graph)} steps")
        for line in _mistakes(broken):
            self._print(line)

    def began(self, node: Node) -> None:
        """Show that a node's work starts."""
        self._told[node.key] = time.monotonic()
        self._print(f"{_what(node)} ...")

    def doing(self, node: Node, what: str) -> None:
        """Show once a minute what a node does."""
        now = time.monotonic()
        if now - self._told.get(node.key, now) >= terminal.MINUTE:
            self._told[node.key] = now
            self._print(f"{_what(node)}: {what}")

    def note(self, node: Node, text: str) -> None:
        """Show a note, once: a fact about this host is the same for every image."""
        with self._lock:
            noted = text in self._noted
            self._noted.add(text)
        if not noted:
            self._print(f"{_what(node)}: note: {text}")

    def ended(self, node: Node, outcome: Outcome) -> None:
        """Show how a node ended; a failure with its whole reason, line by line."""
        with self._lock:
            self._ended += 1
        words = {"done": "done", "cached": "nothing to do", "failed": "FAILED", "stopped": "stopped"}
        # A job of a workflow knows only its own node.
        head = f"[{self._ended}/{self._total}] {_what(node)}" if self._total else _what(node)
        if outcome.state == "skipped":
            brief = outcome.failure.brief if outcome.failure else ""
            self._print(f"{head}: not run: {brief}")
            return
        self._print(f"{head}: {words[outcome.state]} after {outcome.seconds:.1f} s")
        for line in (outcome.failure.text.splitlines() if outcome.failure else ())[:20]:
            self._print(f"{_what(node)}: {line}")


class LiveTable:
    """A table of the images with their steps, and the number of finished steps."""

    def __init__(self, live: Live, console: Console) -> None:
        self._live, self._console = live, console
        self._lock = threading.Lock()
        self._graph = Graph()
        self._running: dict[str, tuple[Node, float, str]] = {}
        self._ended: dict[str, Outcome] = {}
        self._noted: set[str] = set()
        self._start = time.monotonic()

    def expect(self, graph: Graph, broken: Mapping[str, Failure] = NONE) -> None:
        """Receive the graph of the work; broken images stay above the table."""
        from rich.markup import escape

        with self._lock:
            self._graph = graph
        for line in _mistakes(broken):
            self._console.print(f"[red]✗[/] {escape(one_line(calls.typed(line)))}", highlight=False)

    def began(self, node: Node) -> None:
        """Add a node to the table."""
        with self._lock:
            self._running[node.key] = (node, time.monotonic(), "")

    def doing(self, node: Node, what: str) -> None:
        """Change the description of a node's current work."""
        with self._lock:
            if node.key in self._running:
                self._running[node.key] = (node, self._running[node.key][1], what)

    def note(self, node: Node, text: str) -> None:
        """Show a note above the table, once."""
        from rich.markup import escape

        with self._lock:
            noted = text in self._noted
            self._noted.add(text)
        if noted:
            return
        self._console.print(f"[yellow]![/] {escape(safe(calls.typed(f'{_what(node)}: {text}')))}", highlight=False)

    def ended(self, node: Node, outcome: Outcome) -> None:
        """Record how a node ended; a failure stays as lines above the table."""
        from rich.markup import escape

        with self._lock:
            self._running.pop(node.key, None)
            self._ended[node.key] = outcome
        if outcome.state == "failed" and outcome.failure is not None:
            text = escape(safe(calls.typed(f"{_what(node)}: {outcome.failure.text}")))
            self._console.print(f"[red]✗[/] {text} [dim]{outcome.seconds:.1f} s[/]", highlight=False)

    def __rich__(self) -> Group:
        """Return the current table: the images that fit, running and failed ones before finished and waiting ones."""
        from rich.console import Group
        from rich.markup import escape
        from rich.table import Table
        from rich.text import Text

        with self._lock:
            graph, ended, running = self._graph, dict(self._ended), dict(self._running)
        kinds = [kind for kind in STEPS if any(node.kind == kind for node in graph)]
        table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
        longest = max((len(one_line(node.label)) for node in graph), default=0)
        widths = [max(5, len(STEPS[kind])) for kind in kinds]
        # Two blanks separate columns.
        beside = self._console.width - sum(widths) - TIME - 2 * (len(widths) + 1)
        names = min(max(5, longest), max(NAMES, self._console.width * 2 // 5))
        worded = beside - names - 2 >= WORDS
        if not worded:
            names = min(max(5, longest), max(5, beside))
        table.add_column("image", no_wrap=True, width=names, overflow="ellipsis")
        for kind, width in zip(kinds, widths, strict=True):
            table.add_column(STEPS[kind], no_wrap=True, width=width)
        if worded:
            table.add_column("", no_wrap=True, ratio=1, overflow="ellipsis", style="dim")
        table.add_column("", no_wrap=True, justify="right", width=TIME)
        now = time.monotonic()
        rows: dict[str, dict[str, Node]] = {}
        for node in graph:
            if node.image is not None or node.key in running:
                rows.setdefault(node.image or node.key, {})[node.kind] = node
        room = max(1, self._console.height - MARGIN)
        shown = list(rows)
        if len(shown) > room:
            shown = sorted(shown, key=lambda key: _rank(rows[key], running, ended))[:room]
        for key in (key for key in rows if key in set(shown)):
            steps = rows[key]
            at = next((node for node in steps.values() if node.key in running), None)
            words, seconds = (running[at.key][2], f"{now - running[at.key][1]:.0f} s") if at else ("", "")
            marks = [_mark(steps.get(kind), running, ended) for kind in kinds]
            label = next(iter(steps.values())).label
            description = [escape(one_line(words))] if worded else []
            table.add_row(escape(one_line(label)), *marks, *description, seconds)
        bad = sum(1 for one in ended.values() if one.state == "failed")
        failed = f", [red]{bad} failed[/]" if bad else ""
        hidden = f", {len(rows) - len(shown)} images more" if len(rows) > len(shown) else ""
        count = f"[bold]{len(ended)} of {len(graph)} steps[/]{failed}{hidden}"
        # Below the table: its first column has no room for it on a narrow terminal.
        return Group(table, Text.from_markup(f"{count}, {now - self._start:.0f} s"))


def _mark(node: Node | None, running: Mapping[str, object], ended: Mapping[str, Outcome]) -> str:
    """Return the cell of a step: how it ended, or whether it runs."""
    if node is None:
        return ""
    if node.key in running:
        return "[yellow]●[/]"
    return MARKS[ended[node.key].state] if node.key in ended else "[dim]·[/]"


def _rank(steps: Mapping[str, Node], running: Mapping[str, object], ended: Mapping[str, Outcome]) -> int:
    """Return the sort rank of an image where not all fit: running, failed, waiting, done."""
    keys = [node.key for node in steps.values()]
    if any(key in running for key in keys):
        return 0
    if any(key in ended and ended[key].state == "failed" for key in keys):
        return 1
    return 3 if all(key in ended for key in keys) else 2


@contextmanager
def shown() -> Iterator[View]:
    """Yield the view for standard error: live if lines can be overwritten (`terminal.is_live`), else lines."""
    if not terminal.is_live():
        yield Lines(sys.stderr)
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        view = LiveTable(live, console)
        live.update(view)
        yield view
