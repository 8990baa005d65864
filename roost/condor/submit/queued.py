"""The jobs made by the queue statements of a description: one row each, from the statement, a file or patterns.

It runs nothing and never raises; what condor_submit would refuse, and what is not known here, is collected as
`Remark`s of the description.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from roost.condor.submit.description import Description, Job, Remark
from roost.condor.submit.macros import Assignment
from roost.condor.submit.queue import Queue, row_values, selected, split_items
from roost.condor.submit.source_text import Traced, logical_lines

MAX_ROWS = 200

#: Returns the text of a file named in a description (include, queue from), or None when it cannot be read.
Reader = Callable[[str], str | None]

#: Returns the files, dirs or any names that match a `queue ... matching` pattern, or None where it cannot look.
Matcher = Callable[[str, str], list[str] | None]

#: The definitions in effect at a statement, by name in lower case.
Table = Mapping[str, Assignment]


def nothing_to_match(_pattern: str, _kind: str) -> None:
    """Return None: there is no directory to search."""


class Queued:
    """Adds queue statements to a description, and the jobs that they make, one after another.

    `open` is a statement whose list of items continues on the next line.
    """

    def __init__(self, description: Description, read_file: Reader, match: Matcher) -> None:
        self.description = description
        self.read_file = read_file
        self.match = match
        self.open: Queue | None = None
        self.process = 0

    def begin(self, queue: Queue, table: Table) -> None:
        """Add a statement."""
        self.description.queues.append(queue)
        if queue.unfinished:
            self.open = queue
        else:
            self._close(queue, table)

    def line(self, line: Traced, table: Table) -> None:
        """Add a line to the open statement's list."""
        queue = self.open
        assert queue is not None
        if line.text.startswith(")"):
            self.open = None
            queue.unfinished = False
            self._close(queue, table)
        elif not line.text.startswith("#"):
            queue.items += [line] if queue.keyword == "from" else split_items(line)

    def finish(self, table: Table, *, cut: bool) -> None:
        """Close a statement that is still open; that is not a mistake if the text was `cut`."""
        if self.open is None:
            return
        if not cut:
            what = "the item list is never closed by a line that begins with )"
            self.description.remarks.append(Remark("queue", self.open.line.at(), what))
        self._close(self.open, table)

    def _close(self, queue: Queue, table: Table) -> None:
        remarks = self.description.remarks
        if queue.problem:
            remarks.append(Remark("queue", queue.line.at(), queue.problem))
        rows: list[Traced] | None = queue.items
        if queue.file and queue.file.text and not queue.problem:
            rows = None
            if queue.command:
                self.description.runs_commands = True
                remarks.append(Remark("queue-command", queue.file.at(), queue.file.text))
            elif (text := self.read_file(queue.file.text)) is not None:
                rows = [row.strip() for row in logical_lines(text, queue.file.text, blank=True)]
                self._remark_odd_items(rows)
            else:
                remarks.append(Remark("queue-items", queue.file.at(), queue.file.text))
        elif queue.keyword == "matching":
            rows = self._matching(queue)
        self._add(queue, rows, dict(table))

    def _remark_odd_items(self, rows: list[Traced]) -> None:
        """Remark on items of a file that look like comments or blank lines, which are special in a description only."""
        if row := next((row for row in rows if row.text.startswith("#")), None):
            self.description.remarks.append(Remark("queue-comment", row.at(), row.text))
        if row := next((row for row in rows if not row.text), None):
            self.description.remarks.append(Remark("queue-blank", row.at(), ""))

    def _matching(self, queue: Queue) -> list[Traced] | None:
        """Return the names that match the patterns, each once; None when they are not known."""
        found: dict[str, Traced] = {}
        for item in queue.items:
            names = None if item.unknown else self.match(item.text, queue.kind)
            if names is None:
                return None
            found.update({name: Traced.of(name, item.at(), fixed=True) for name in names})
        return list(found.values())

    def _add(self, queue: Queue, rows: list[Traced] | None, table: Table) -> None:
        jobs, count, first = self.description.jobs, queue.count, self.process
        taken = [(index, row) for index, row in enumerate(rows or ()) if selected(queue, index, len(rows or ()))]
        self.process += (1 if count is None else count) * (1 if not queue.keyword else len(taken))
        if not queue.keyword:
            jobs.append(Job(table, _numbered(queue, first), queue, count))
            return
        if not taken:
            unknown: dict[str, Traced | None] = {name.lower(): None for name in queue.variables or ("Item",)}
            jobs.append(Job(table, unknown, queue, None if rows is None else 0))
            return
        total = None if count is None else count * len(taken)
        for number, (index, row) in enumerate(taken[:MAX_ROWS]):
            live: dict[str, Traced | None] = {
                name: Traced.of(str(index), queue.line.at(), fixed=True) for name in ("row", "itemindex")
            }
            live |= _numbered(queue, first + number * (1 if count is None else count))
            live |= row_values(queue, row)
            jobs.append(Job(table, live, queue, total, row))


def _numbered(queue: Queue, process: int) -> dict[str, Traced | None]:
    return dict.fromkeys(("process", "procid"), Traced.of(str(process), queue.line.at(), fixed=True))
