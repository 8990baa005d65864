"""Reduce a description to its first job, for a parser that would make all of them. Pure.

condor_submit's parser counts to a million, reads `/dev/zero` as a list of items, waits for a FIFO and searches
`/proc/*/*/*`. Its verdict on the lines of a description does not depend on that: the first row is enough.
"""

from __future__ import annotations

from roost.condor.submit.description import Description
from roost.condor.submit.queue import Queue, arguments_of, parse_queue
from roost.condor.submit.source_text import Traced, logical_lines

#: The maximum number of rows, and of jobs per row, left unchanged.
FEW = 100


def short(text: str, description: Description) -> str | None:
    """Return the text with every large queue statement reduced to its first row; None where that row is not known."""
    large = {queue.place: queue for queue in description.queues if _is_large(queue)}
    if not large:
        return text
    first = {job.queue.place: job.row for job in reversed(description.jobs) if job.queue is not None}
    lines = text.split("\n")
    starts = [line for line in logical_lines(text, description.file) if not line.text.startswith("#")]
    ends = [line.at().line for line in starts[1:]] + [len(lines) + 1]
    inside = False
    done = set()
    for line, end in zip(starts, ends, strict=True):
        begin = line.at().line
        if inside:
            # A row of a removed list, or the line that closes it.
            lines[begin - 1 : end - 1] = [""] * (end - begin)
            inside = not line.text.startswith(")")
            continue
        arguments = arguments_of(line.strip())
        queue = large.get(arguments.at()) if arguments is not None else None
        if arguments is None or queue is None:
            continue
        row = first.get(queue.place)
        if queue.keyword and row is None:
            return None
        lines[begin - 1 : end - 1] = [_statement(queue, row), *[""] * (end - begin - 1)]
        done.add(queue.place)
        inside = parse_queue(arguments).unfinished
    # A statement in an included file is not found here.
    return "\n".join(lines) if done == large.keys() else None


def _is_large(queue: Queue) -> bool:
    many = queue.count is not None and queue.count > FEW
    return many or len(queue.items) > FEW or queue.keyword == "matching" or queue.file is not None


def _statement(queue: Queue, row: Traced | None) -> str:
    if row is None:
        return "queue"
    names = ",".join(queue.variables)
    return f"queue {names} {'from' if queue.keyword == 'from' else 'in'} ({row.text})"
