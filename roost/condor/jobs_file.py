"""A file of jobs: comma-separated values, one job per row, with the names of the variables in the first row.

A column named after a disk of the recipe (`variable_of`) gives each job its own file for that disk; `mac` gives it
its own address; every other column is a variable `$(NAME)` for the recipe's commands and attributes.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from roost.condor.from_recipe import DECIDED, OVERRIDABLE
from roost.condor.jobs_rows import PREFIX
from roost.condor.submit.source_text import BLANKS
from roost.errors import Location, Problem, RecipeError, UsageError
from roost.host import causes, files
from roost.recipe.words import counted, shown

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

#: Names that condor_submit itself defines, and commands that a vm job cannot have.
_TAKEN = frozenset(
    [
        *("cluster", "clusterid", "process", "procid", "node", "step", "row", "item", "itemindex", "dollar"),
        *("input", "output", "error", "arguments", "environment", "if", "elif", "else", "endif", "include", "use"),
    ]
)
#: Prefixes of the commands of vm jobs and of roost's own macros.
_RESERVED = ("vm_", "xen_", "my_", PREFIX)

#: Size limit of a file of jobs in bytes; a row has about 50.
MAX_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class Jobs:
    """The rows of a file of jobs; `lines` has the line number of each, counted from 1.

    `directory` is the absolute base of relative paths. `sizes` has the size in bytes of each value that is a file.
    `image` is the column that names each job's recipe, None if all jobs share one.
    """

    file: str
    variables: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    directory: Path
    sizes: Mapping[str, int] = field(default_factory=dict)
    image: str | None = None

    def column(self, variable: str) -> tuple[str, ...]:
        """Return the values of one variable, row by row."""
        number = self.variables.index(variable)
        return tuple(row[number] for row in self.rows)

    def named(self, variable: str) -> str | None:
        """Return the column of this name, ignoring case: condor_submit's names are case-insensitive."""
        return next((name for name in self.variables if name.lower() == variable.lower()), None)

    def only(self, numbers: Sequence[int]) -> Jobs:
        """Return the jobs reduced to these rows."""
        rows, lines = tuple(self.rows[number] for number in numbers), tuple(self.lines[number] for number in numbers)
        return replace(self, rows=rows, lines=lines)

    def with_column(self, variable: str, values: Sequence[str]) -> Jobs:
        """Return the jobs with these values of a variable, row by row: in its column, or in a new one at the end."""
        column = self.named(variable)
        at = len(self.variables) if column is None else self.variables.index(column)
        variables = self.variables if column else (*self.variables, variable)
        rows = tuple((*row[:at], value, *row[at + 1 :]) for row, value in zip(self.rows, values, strict=True))
        return replace(self, variables=variables, rows=rows)

    def problem(self, number: int, what: str, hint: str | None = None) -> Problem:
        """Return a problem located at row `number`."""
        return Problem(what, Location(self.file, self.lines[number]), hint)


def variable_of(disk: str) -> str:
    """Return the name of the column for a disk: `io-disk` is `io_disk`, `io-2` is `io2` (see `_header`)."""
    name = re.sub(r"_+(?=[0-9])", "", re.sub(r"[^A-Za-z0-9_]", "_", disk))
    return f"disk{name}" if name[:1].isdigit() else name


def read_jobs(path: Path) -> Jobs:
    """Read a file of jobs; raise `RecipeError` with every mistake in it, `UsageError` when it cannot be read."""
    try:
        data = files.read_argument(str(path), MAX_BYTES)
    except OSError as error:
        hint = causes.hint(error) or "give a file of comma-separated values"
        raise UsageError(files.unreadable(path, error), hint=hint) from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        encoding = "UTF-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "not UTF-8"
        raise UsageError(f"{path} is {encoding} text", hint="save it as UTF-8") from error
    return with_sizes(parse_jobs(text, str(path), path.absolute().parent))


def with_sizes(jobs: Jobs) -> Jobs:
    """Return the jobs with the size of each value that is a file."""
    sizes = {}
    for value in {value for row in jobs.rows for value in row if value}:
        try:
            status = (jobs.directory / value).stat()
        except (OSError, ValueError):
            continue
        sizes[value] = status.st_size
    return replace(jobs, sizes=sizes)


def parse_jobs(text: str, file: str, directory: Path) -> Jobs:
    """Return the jobs in a text; raise `RecipeError` with every mistake in it. Pure."""
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True, strict=True)
    read: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            # Blanks at the ends of a value are dropped: a submit description cannot express them.
            values = [value.strip(BLANKS) for value in row]
            if any(values):
                read.append((reader.line_num, values))
    except csv.Error as error:
        what, hint = _unreadable(str(error))
        raise RecipeError([Problem(what, Location(file, reader.line_num), hint)]) from error
    if not read:
        raise RecipeError(
            [Problem("there are no jobs", Location(file), "the first row names the variables, such as io")]
        )
    (line, header), rows = read[0], read[1:]
    if (separator := _separator(header)) is not None:
        hint = "save it with commas: io,inputs,scale; a value with a comma goes in double quotes"
        raise RecipeError(
            [Problem(f"the values are separated by {separator}, not by commas", Location(file, line), hint)]
        )
    problems = [Problem(what, Location(file, line), hint) for what, hint in _header(header)]
    if not rows:
        problems.append(Problem("there is a header row and no job", Location(file, line), "add a row for each job"))
    for number, values in rows:
        problems += [Problem(what, Location(file, number), hint) for what, hint in _row(values, header)]
    if problems:
        raise RecipeError(problems)
    return Jobs(
        file,
        tuple(header),
        tuple(tuple(values) for _, values in rows),
        tuple(number for number, _ in rows),
        directory,
    )


def _unreadable(error: str) -> tuple[str, str | None]:
    """Return an error of Python's csv module in terms of the file, and a hint."""
    if "field larger" in error:
        return (
            f"a value is longer than {csv.field_size_limit()} characters",
            "name a file in inputs instead",
        )
    if "unexpected end" in error:
        hint = "close it; a double quote in a value is written twice"
        return "not comma-separated values: a double quote is opened here or before, and never closed", hint
    if "expected after" in error:
        hint = 'a value in double quotes ends at the next one: write "" for a double quote in it'
        return "not comma-separated values: there is something between a closing double quote and the comma", hint
    return "not comma-separated values", None


def _separator(header: list[str]) -> str | None:
    """Return the separator of the first row if it is not a comma, else None."""
    names = {"semicolons": ";", "tabs": "\t", "vertical bars": "|"}
    return next((word for word, letter in names.items() if len(header) == 1 and letter in header[0]), None)


def _header(names: list[str]) -> Iterator[tuple[str, str | None]]:
    for number, name in enumerate(names, 1):
        if not is_name(name):
            what = "has no name" if not name else f"is named {name!r}, which is not a valid variable name"
            yield f"column {number} {what}", "a letter or _, then letters, digits and _, such as io"
    for _number, what, hint in taken_names(names):
        yield what, hint


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a variable."""
    return _NAME.fullmatch(text) is not None


def taken_names(names: Sequence[str]) -> Iterator[tuple[int, str, str | None]]:
    """Yield the names that condor_submit does not accept as user variables: index, reason, hint."""
    seen: set[str] = set()
    for number, name in enumerate(names):
        lower = name.lower()
        if not is_name(name):
            pass
        elif re.search(r"_[0-9]", name):
            # Seen with 24.12: `queue io_2 from (` is "Invalid Queue count expression".
            what = f"condor_submit takes no variable {name}: a digit cannot follow _"
            yield number, what, f"{re.sub('_+(?=[0-9])', '', name)}"
        elif lower in DECIDED or lower in OVERRIDABLE or lower in _TAKEN or lower.startswith(_RESERVED):
            yield number, f"a variable {name} would be taken for condor_submit's own {name}", "choose another name"
        elif lower in seen:
            yield number, f"two columns are named {name}: names are not case-sensitive", None
        seen.add(lower)


def _row(values: list[str], header: list[str]) -> Iterator[tuple[str, str | None]]:
    if len(values) != len(header):
        verb = "is" if len(values) == 1 else "are"
        yield f"there {verb} {counted(len(values), 'value')} for {counted(len(header), 'variable')}", None
    for value, name in zip(values, header, strict=False):
        # No file name, command or submit description can have them; a line break is judged where the value is used.
        found = next((one for one in value if unicodedata.category(one) == "Cc" and one not in "\t\n\r"), None)
        if found is not None:
            which = "a NUL byte" if found == "\0" else f"the control character U+{ord(found):04X}"
            yield f"the value of {shown(name)} has {which}", "remove it; is the whole file text?"
