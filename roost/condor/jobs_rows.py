"""Write the values of a file of jobs so that condor_submit reads each one unchanged. Pure.

`queue A, B, C from (` splits a row at blanks as well as at commas, and only the last variable takes the rest (set_vars
in condor_submit, 23.0 to 25; some versions also accept the unit separator, Debian's do not). So one variable with
a blank or a comma is put last; if there are more, each value becomes its own macro, and the row has its number.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from roost.errors import Location, Problem

#: Prefix of roost's own macros; a column name cannot start with it.
PREFIX = "roost_"
NUMBER = f"{PREFIX}row"

#: Where a description uses a variable: inside the string of a job attribute, inside other quotes, or unquoted.
Use = Literal["attribute", "quoted", "bare"]

_ASSIGNMENT = re.compile(r"\s*(?P<name>[^\s=]+)\s*=(?P<value>.*)", re.DOTALL)
_REFERENCE = re.compile(r"\$[A-Za-z_]*\(([^()]*)")
_QUOTE = re.compile(r'(?<!\\)"')
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Rows:
    """The parts of a queue statement: its variables and rows, the macros defined before it, and the omitted columns."""

    variables: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    macros: tuple[tuple[str, str], ...] = ()
    left_out: tuple[str, ...] = ()


def uses(lines: Iterable[str]) -> dict[str, frozenset[Use]]:
    """Return how the lines of a description use each macro, by its name in lower case."""
    found: dict[str, set[Use]] = {}
    for line in lines:
        match = _ASSIGNMENT.match(line)
        value = match["value"] if match else line
        attribute = match is not None and match["name"].lower().startswith(("+", "my."))
        quotes, before = [quote.start() for quote in _QUOTE.finditer(value)], 0
        for reference in _REFERENCE.finditer(value):
            while before < len(quotes) and quotes[before] < reference.start():
                before += 1
            quoted = before % 2
            use: Use = ("attribute" if attribute else "quoted") if quoted else "bare"
            for word in _WORD.findall(reference[1]):
                found.setdefault(word.lower(), set()).add(use)
    return {name: frozenset(where) for name, where in found.items()}


def problems(
    variables: Sequence[str],
    rows: Sequence[Sequence[str]],
    used: Mapping[str, frozenset[Use]],
    where: Sequence[Location] = (),
) -> Iterator[Problem]:
    """Yield the values that a description uses and cannot express; `where` has the location of each row."""
    for column, name in enumerate(variables):
        use = used.get(name.lower())
        for number, row in enumerate(rows) if use else ():
            if what := _problem(row[column], use or frozenset()):
                place = where[number] if where else None
                hint = f"change the value, or remove $({name}) from the recipe"
                yield Problem(f"{name} = {_shown(row[column])} {what}", place, hint)


def _problem(value: str, use: frozenset[Use]) -> str | None:
    """Return why a submit description cannot carry a value to where it is used, or None."""
    if not all(letter.isprintable() or letter == "\t" or unicodedata.category(letter) == "Zs" for letter in value):
        return "has a line break or another control character, which cannot stand in a submit description"
    if value.endswith("\\"):
        return "ends in a backslash, which would join it with the next line"
    if "$$" in value:
        return "has $$, which HTCondor expands on the execution point"
    if '"' in value and use not in ({"attribute"}, {"bare"}):
        return "has a double quote, which would end the quotes that the value stands in"
    if '\\"' in value and "attribute" in use:
        return "has a backslash before a double quote, which job attributes cannot have"
    return None


def _shown(value: str) -> str:
    return repr(value if len(value) < 60 else f"{value[:57]}...")


def arrange(variables: Sequence[str], rows: Sequence[Sequence[str]], used: Mapping[str, frozenset[Use]]) -> Rows:
    """Return the rows of a queue statement from which condor_submit reads the given values.

    A column that the description does not use is omitted where it would need macros. Values that `problems` reports
    are not checked again.
    """
    use = {name: used.get(name.lower(), frozenset()) for name in variables}
    columns = {name: [encoded(row[number], use[name]) for row in rows] for number, name in enumerate(variables)}
    plain = [name for name, values in columns.items() if all(_is_plain(value) for value in values)]
    others = [name for name in variables if name not in plain]
    kept = [name for name in others if use[name]]
    if (
        not kept
        and plain
        and len(others) == 1
        and not any(_problem(value, frozenset()) for value in columns[others[0]])
    ):
        kept = others
    left_out = tuple(name for name in others if name not in kept)
    if plain and len(kept) == 1:
        return Rows((*plain, *kept), _rows(columns, [*plain, *kept]), (), left_out)
    numbers = [str(number) for number in range(len(rows))]
    macros = [(f"{PREFIX}{name}_{number}", columns[name][int(number)]) for name in kept for number in numbers]
    macros += [(name, f"$({PREFIX}{name}_$({NUMBER}))") for name in kept]
    # condor_submit would skip a row that is blank.
    if kept or not plain or (len(plain) == 1 and not all(columns[plain[0]])):
        columns[NUMBER] = numbers
        plain = [NUMBER, *plain]
    return Rows(tuple(plain), _rows(columns, plain), tuple(macros), left_out)


def _rows(columns: Mapping[str, Sequence[str]], names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(zip(*(columns[name] for name in names), strict=True))


def encoded(value: str, use: frozenset[Use]) -> str:
    """Return the text that condor_submit expands to `value`; in an attribute's string a quote needs a backslash."""
    text = value.replace("$", "$(DOLLAR)")
    return text.replace('"', '\\"') if use == {"attribute"} else text


def _is_plain(text: str) -> bool:
    r"""Return whether a text is one value anywhere in a row: # begins a comment, ) ends the list, \ joins lines."""
    return (
        not re.search(r"[\s,]", text)
        and not text.startswith(("#", ")"))
        and not text.endswith("\\")
        and text.isprintable()
    )
