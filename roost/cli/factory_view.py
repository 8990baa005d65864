"""A factory at work as it is shown: a live table on a terminal, a line for each thing that happens elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TextIO

from roost.factory.graph import STEPS, Graph, Node
from roost.factory.outcome import Outcome
from roost.factory.progress import Progress
from roost.host.safetext import one_line, safe

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

#: Rows that a live table leaves of a terminal to what is above and below it.
MARGIN = 6


class View(Progress, Protocol):
    """Progress that learns the graph once it is known."""

    def expect(self, graph: Graph) -> None:
        """Say what there is to do."""


def _what(node: Node) -> str:
    return f"{node.label}: {STEPS[node.kind]}" if node.kind in STEPS else node.label


class Lines:
    """A line for each node that begins or ends, and for each note: for logs and CI."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._total = self._ended = 0
        self._noted: set[str] = set()

    def _say(self, text: str) -> None:
        with self._lock, contextlib.suppress(OSError):  # progress that nobody takes stops nothing
            self._stream.write(f"roost: {one_line(text)}\n")
            self._stream.flush()

    def expect(self, graph: Graph) -> None:
        """Say how much there is to do."""
        self._total = len(graph)
        images = sum(1 for node in graph if node.kind == "image")
        self._say(f"{images} image{'s' if images != 1 else ''}, {len(graph)} steps")

    def began(self, node: Node) -> None:
        """Say that a node's work starts."""
        self._say(f"{_what(node)} ...")

    def doing(self, node: Node, what: str) -> None:
        """Say nothing: several nodes at once would make the lines of each unreadable."""

    def note(self, node: Node, text: str) -> None:
        """Say a note, once: what is so on this host is so for every image."""
        with self._lock:
            told = text in self._noted
            self._noted.add(text)
        if not told:
            self._say(f"{_what(node)}: note: {text}")

    def ended(self, node: Node, outcome: Outcome) -> None:
        """Say how a node ended; the whole reason of a failure, a line each."""
        with self._lock:
            self._ended += 1
        words = {"done": "done", "cached": "nothing to do", "failed": "FAILED", "stopped": "stopped"}
        head = f"[{self._ended}/{self._total}] {_what(node)}"
        if outcome.state == "skipped":
            brief = outcome.failure.brief if outcome.failure else ""
            self._say(f"{head}: not run: {brief}")
            return
        self._say(f"{head}: {words[outcome.state]} after {outcome.seconds:.1f} s")
        for line in (outcome.failure.text.splitlines() if outcome.failure else ())[:20]:
            self._say(f"{_what(node)}: {line}")


class LiveTable:
    """A table of the images that are worked on or failed, and how many of all are done."""

    def __init__(self, live: Live, console: Console) -> None:
        self._live, self._console = live, console
        self._lock = threading.Lock()
        self._graph = Graph()
        self._running: dict[str, tuple[Node, float, str]] = {}
        self._ended: dict[str, Outcome] = {}
        self._noted: set[str] = set()
        self._start = time.monotonic()

    def expect(self, graph: Graph) -> None:
        """Learn what there is to do."""
        with self._lock:
            self._graph = graph

    def began(self, node: Node) -> None:
        """Add a node to the table."""
        with self._lock:
            self._running[node.key] = (node, time.monotonic(), "")

    def doing(self, node: Node, what: str) -> None:
        """Change what a node is said to do."""
        with self._lock:
            if node.key in self._running:
                self._running[node.key] = (node, self._running[node.key][1], what)

    def note(self, node: Node, text: str) -> None:
        """Show a note above the table, once."""
        from rich.markup import escape

        with self._lock:
            told = text in self._noted
            self._noted.add(text)
        if told:
            return
        self._console.print(f"[yellow]![/] {escape(safe(f'{_what(node)}: {text}'))}", highlight=False)

    def ended(self, node: Node, outcome: Outcome) -> None:
        """Take a node out of the table; a failure stays as lines above it."""
        from rich.markup import escape

        with self._lock:
            self._running.pop(node.key, None)
            self._ended[node.key] = outcome
        if outcome.state == "failed" and outcome.failure is not None:
            text = escape(safe(f"{_what(node)}: {outcome.failure.text}"))
            self._console.print(f"[red]✗[/] {text} [dim]{outcome.seconds:.1f} s[/]", highlight=False)
        elif outcome.state == "done":
            self._console.print(f"[green]✓[/] {escape(one_line(_what(node)))} [dim]{outcome.seconds:.1f} s[/]")

    def __rich__(self) -> Table:
        """Return the table as it is now."""
        from rich.markup import escape
        from rich.table import Table

        table = Table(box=None, pad_edge=False, show_header=False, expand=True)
        table.add_column(no_wrap=True, ratio=2, overflow="ellipsis")
        table.add_column(no_wrap=True, width=9)
        table.add_column(no_wrap=True, ratio=3, overflow="ellipsis", style="dim")
        table.add_column(no_wrap=True, justify="right", width=7)
        now = time.monotonic()
        with self._lock:
            running = list(self._running.values())
            ended, total = len(self._ended), len(self._graph)
            bad = sum(1 for one in self._ended.values() if one.state == "failed")
        for node, since, what in running[: max(1, self._console.height - MARGIN)]:
            step = STEPS.get(node.kind, "")
            table.add_row(f"● {escape(one_line(node.label))}", step, escape(one_line(what)), f"{now - since:.0f} s")
        failed = f", [red]{bad} failed[/]" if bad else ""
        table.add_row(f"[bold]{ended} of {total} steps[/]{failed}", "", "", f"{now - self._start:.0f} s")
        return table


@contextmanager
def shown() -> Iterator[View]:
    """Yield the view that fits standard error: live on a terminal, else lines."""
    if not sys.stderr.isatty():
        yield Lines(sys.stderr)
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(stderr=True)
    with Live(console=console, refresh_per_second=4, transient=True) as live:
        view = LiveTable(live, console)
        live.update(view)
        yield view
