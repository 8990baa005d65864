"""The queue statement: `queue 3`, `queue a,b from jobs.csv`, `queue in (x y)`, `queue matching files *.raw`.

The meaning follows condor_utils/submit_utils.cpp (SubmitForeachArgs::parse_queue_args): the keyword
is looked for first, the names before it are the variables, and the text before those is the count.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import islice

from roost.condor.submit.expression import ExpressionError, evaluate
from roost.condor.submit.source_text import BLANKS, Traced
from roost.errors import Location

MAX_COUNT = 2**31 - 1

_KEYWORD = re.compile(r"(?:^|(?<=[\s,]))(in|from|matching)(?=\s|\(|$)", re.IGNORECASE)
#: A slice consists of integers: `[ab]*.raw` is a pattern.
_QUALIFIER = re.compile(
    r"(files|dirs|any|table)(?=\s|\(|$)|\[(\s*[+-]?\d{0,9}(?::\s*[+-]?\d{0,9}){0,2})\]", re.IGNORECASE
)
_STATEMENT = re.compile(r"queue(?=\s|$)|iter(?:a|at|ate)?(?=\s|$)", re.IGNORECASE)
#: Matched backwards from the end: a search from the front would try each position.
_VARIABLES = re.compile(r"(?:[A-Za-z_.,\s]|\d+(?=[A-Za-z]))*")


@dataclass(slots=True)
class Queue:
    """One queue statement.

    `count` is None when it is not known. `items` are the rows written in the description, `file` is the other source of
    rows, and `command` is set when that source is a program's output. `kind` is what `matching`
    looks for: files, dirs or any. `slice` has the first item, the item to stop before, and the step.
    """

    line: Traced
    count: int | None = 1
    keyword: str = ""
    variables: tuple[str, ...] = ()
    items: list[Traced] = field(default_factory=list)
    file: Traced | None = None
    command: bool = False
    problem: str | None = None
    unfinished: bool = False
    kind: str = "any"
    slice: tuple[int | None, ...] = ()
    #: The location of the statement's arguments as written.
    place: Location | None = None


def arguments_of(line: Traced) -> Traced | None:
    """Return the text after the keyword of a queue statement, or None if the line is not one."""
    match = _STATEMENT.match(line.text)
    return line.cut(match.end()).strip() if match else None


def parse_queue(arguments: Traced) -> Queue:
    """Return the statement with these (expanded) arguments; `problem` says why condor_submit refuses it."""
    queue = Queue(arguments)
    text = arguments.text
    keyword = _KEYWORD.search(text)
    count = text
    if keyword:
        queue.keyword = keyword[1].lower()
        head = text[: keyword.start()].rstrip(BLANKS)
        names = _VARIABLES.match(head[::-1])
        count = head[: len(head) - names.end()] if names else head
        queue.variables = tuple(re.split(r"[\s,]+", head[len(count) :].strip(BLANKS + ","))) if names else ()
        queue.variables = tuple(name for name in queue.variables if name)
        rest = arguments.cut(keyword.end()).strip()
        while match := _QUALIFIER.match(rest.text):
            word = (match[1] or "").lower()
            queue.kind = word if word in ("files", "dirs") else queue.kind
            if not word:
                queue.slice = tuple(int(one) if one.strip("+- ") else None for one in match[2].split(":"))
            if word and (word == "table") != (queue.keyword == "from"):
                queue.problem = "Queue keyword conflict"
            rest = rest.cut(match.end()).strip()
        _read_items(queue, rest)
    _read_count(queue, count.strip(BLANKS), unknown=arguments.unknown)
    return queue


def _read_items(queue: Queue, rest: Traced) -> None:
    if rest.text.startswith("("):
        closed = rest.text.endswith(")")
        inner = rest.cut(1, len(rest.text) - 1 if closed else None).strip()
        queue.unfinished = not closed
        if inner.text:
            queue.items += [inner] if queue.keyword == "from" else split_items(inner)
    elif queue.keyword == "from":
        queue.command = rest.text.endswith("|")
        queue.file = rest
        if not rest.text:
            queue.problem = "Invalid Queue count expression"
    else:
        if not rest.text:
            queue.problem = "Invalid Queue count expression"
        queue.items += split_items(rest)


def split_items(text: Traced) -> list[Traced]:
    """Return the items of an `in` or `matching` list, which are separated by blanks and commas."""
    return [text.cut(match.start(), match.end()) for match in re.finditer(r"[^\s,]+", text.text)]


def _read_count(queue: Queue, text: str, *, unknown: bool) -> None:
    if not text:
        return
    try:
        value = evaluate(text)
    except ExpressionError:
        value = ""
    if isinstance(value, bool | int | float):
        queue.count = int(value)
        if not 0 <= queue.count < MAX_COUNT:
            queue.problem = queue.problem or "Queue count out of range"
    else:
        queue.count = None
        if not unknown:
            queue.problem = queue.problem or "Invalid Queue count expression"


def selected(queue: Queue, index: int, rows: int) -> bool:
    """Return whether a statement's slice selects the row with this index (submit_utils.cpp, qslice::selected)."""
    first, end, step = (*queue.slice, None, None, None)[:3]
    begin = 0 if first is None else first + rows if first < 0 else first
    stop = rows if end is None else end + rows if end < 0 else end
    return begin <= index < stop and (not step or (index - begin) % step == 0)


def row_values(queue: Queue, row: Traced) -> dict[str, Traced]:
    """Return the variables that one row sets; a single variable takes the whole row."""
    names = queue.variables or ("Item",)
    if len(names) == 1 or queue.keyword != "from":
        return {names[0].lower(): row}
    values: dict[str, Traced] = {}
    start = 0
    for name, match in zip(names, separators(queue, row), strict=False):
        values[name.lower()] = row.cut(start, match.start()).strip()
        start = match.end()
    for name in names[len(values) :]:
        values[name.lower()] = row.cut(start).strip()
        start = len(row.text)
    return values


def separators(queue: Queue, row: Traced) -> list[re.Match[str]]:
    """Return the separators of the values of a row: one blank or comma each, and the blanks after it.

    So `a , b` has an empty value in the middle (SubmitForeachArgs::split_item).
    """
    separator = r"\x1f[ \t]*" if "\x1f" in row.text else r"[, \t][ \t]*"
    return list(islice(re.finditer(separator, row.text), len(queue.variables) - 1))
