"""The functions of the submit language: $INT, $REAL, $STRING, $EVAL, $CHOICE, $SUBSTR, $RANDOM_..., $F. Pure.

Results follow condor_submit 24.12. The first argument is the name of a macro; any other text stands for itself,
except for $CHOICE, whose index must be a number, and $SUBSTR, which then has nothing to cut.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence

from roost.condor.submit.expression import ExpressionError, evaluate
from roost.condor.submit.source_text import BLANKS
from roost.condor.submit.values import Special

#: Returns the value of a macro as text, or None when there is no such macro.
Lookup = Callable[[str], str | None]

NAMES = frozenset(
    {"CHOICE", "SUBSTR", "INT", "REAL", "STRING", "EVAL", "BASENAME", "DIRNAME", "RANDOM_CHOICE", "RANDOM_INTEGER"}
)
_PATH = re.compile(r"F[pnxdqabfwuPNXDQABFWU]*")
_PLAIN = r"(?:[^%]|%%)*"
_FORMATS = {
    "INT": re.compile(rf"({_PLAIN}%[-+ 0#]*\d{{0,3}})l{{0,2}}([dixXuc]{_PLAIN})"),
    "REAL": re.compile(rf"({_PLAIN}%[-+ 0#]*\d{{0,3}}(?:\.\d{{1,3}})?)([fFeEgG]{_PLAIN})"),
    "STRING": re.compile(rf"({_PLAIN}%-?\d{{0,3}}(?:\.\d{{1,3}})?)(s{_PLAIN})"),
}
_CONVERSION = {
    "INT": re.compile(r"%[-+ 0#]*\d*(?:\.\d*)?(?:hh?|ll?|[jztI]\d*)?[diouxXc]"),
    "REAL": re.compile(r"%[-+ 0#]*\d*(?:\.\d*)?(?:l|L)?[fFeEgGaA]"),
    "STRING": re.compile(r"%[-+ 0#]*\d*(?:\.\d*)?s"),
}


class AbortError(ValueError):
    """condor_submit ends at this function with an error (or a crash)."""


def is_path_function(name: str) -> bool:
    """Return whether a name is $F with its option letters."""
    return _PATH.fullmatch(name) is not None


def result(  # noqa: PLR0911 - one return per function
    name: str, words: Sequence[str], value: str, lookup: Lookup
) -> str | None:
    """Return the result of a function for its arguments `words`, the first of which stands for `value`.

    None means that only submission decides it, or that roost does not compute it. Raises `AbortError`.
    """
    if name == "CHOICE":
        return _choice([word.strip(BLANKS) for word in words], value, lookup)
    if name.startswith("RANDOM_"):
        return _random(name, [word.strip(BLANKS) for word in words], lookup)
    if name == "SUBSTR":
        return _part(words, value if lookup(words[0]) is not None else "", lookup)
    form = ",".join(words[1:]) if len(words) > 1 else None
    if name in ("INT", "REAL"):
        return _number(name, value, form)
    if name == "EVAL":
        return _evaluated(value)
    if name == "STRING":
        text = _string(value)
        return text if form is None or text is None else _formatted(name, form, text)
    if name == "BASENAME":
        base = posixpath.basename(value)
        suffix = words[-1].lstrip(BLANKS) if len(words) > 1 else ""
        return base[: len(base) - len(suffix)] if base.lower().endswith(suffix.lower()) else base
    if name == "DIRNAME":
        return value[: value.rfind("/") + 1]
    return _file_name(name[1:], value)


def _whole(text: str) -> int | None:
    """Return a text as the integer that condor_submit reads; None if it is not known. Raises `AbortError`."""
    try:
        value = evaluate(text)
    except ExpressionError:
        raise AbortError from None
    if isinstance(value, str) or (isinstance(value, Special) and value is not Special.UNKNOWN):
        raise AbortError
    return None if isinstance(value, Special) else int(value)


def _choice(words: Sequence[str], value: str, lookup: Lookup) -> str | None:
    if len(words) < 2:
        raise AbortError
    choices = list(words[1:])
    if len(words) == 2:
        listed = lookup(words[1])
        if listed is None:
            raise AbortError
        choices = [word.strip(BLANKS) for word in listed.split(",")]
    index = _whole(value)
    if index is None:
        return None
    if not 0 <= index < len(choices):
        raise AbortError
    return choices[index]


def _random(name: str, words: Sequence[str], lookup: Lookup) -> str | None:
    if name == "RANDOM_CHOICE":
        return words[0] if len(words) == 1 and lookup(words[0]) is None else None
    if len(words) < 2 or not all(re.fullmatch(r"[+-]?\d+.*", word, re.DOTALL) for word in words[:2]):
        raise AbortError
    return None


def _part(words: Sequence[str], value: str, lookup: Lookup) -> str | None:
    if len(words) < 2:
        raise AbortError
    found = [_whole(word if (text := lookup(word)) is None else text) for word in words[1:3]]
    start, length = found[0], found[1] if len(found) > 1 else len(value)
    if start is None or length is None:
        return None
    text = value[start:] if start >= -len(value) else value
    return text[:length]


def _number(name: str, text: str, form: str | None) -> str | None:
    if form is not None and not _CONVERSION[name].search(form.replace("%%", "")):
        raise AbortError
    if name == "INT":
        whole = _whole(text)
        return None if whole is None else str(whole) if form is None else _formatted(name, form, whole)
    if _whole(text) is None or isinstance(value := evaluate(text), str | Special):
        return None
    if form is None:
        return f"{float(value):.16G}"
    made = _formatted(name, form, float(value))
    return made if made is None or "." in made else f"{made}.0"


def _formatted(name: str, form: str, value: str | float) -> str | None:
    match = _FORMATS[name].fullmatch(form)
    try:
        return (match[1] + match[2]) % value if match else None
    except (TypeError, ValueError, OverflowError):
        return None


def _string(text: str) -> str | None:
    """Return the result of $STRING: the string that the text evaluates to as an expression, else the text itself."""
    try:
        value = evaluate(text)
    except ExpressionError:
        return text
    if value is Special.UNKNOWN:
        return None
    return value if isinstance(value, str) else text


def _evaluated(text: str) -> str | None:
    try:
        value = evaluate(text)
    except ExpressionError:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.15E}"
    if isinstance(value, Special):
        return value.value if value is Special.UNDEFINED else None
    return str(value)


def _file_name(options: str, path: str) -> str | None:
    """Return the parts of a path selected by $F's letters (condor_utils/config.cpp, SPECIAL_MACRO_ID_FILENAME).

    p is the directory, d its last part (dd the last two), n the name, x the extension; b omits their
    slash or dot, w and u choose the slash, q quotes, with a by '. With f the result depends on the submitter.
    """
    flags = options.lower()
    if "f" in flags:
        return None
    unquoted = path[1:-1] if len(path) > 1 and path[0] == path[-1] and path[0] in "\"'" else path
    slash = "\\" if "w" in flags else "/" if "u" in flags else None
    if slash is not None:
        unquoted = re.sub(r"[/\\]", lambda _: slash, unquoted)
    base = unquoted[max(unquoted.rfind("/"), unquoted.rfind("\\") if slash == "\\" else -1) + 1 :]
    directory = unquoted[: len(unquoted) - len(base)]
    made = _parts(flags, directory, base)
    quote = ("'" if "a" in flags else '"') if "q" in flags else ""
    return f"{quote}{made}{quote}"


def _parts(flags: str, directory: str, base: str) -> str:
    stem, extension = posixpath.splitext(base)
    wanted = set(flags) & set("pdnx")
    if not directory and wanted & set("nx"):
        wanted -= set("pd")
    if not wanted or wanted == {"p", "x"}:
        return directory + base
    if wanted == {"x"}:
        return extension[1:] if "b" in flags else extension
    if "d" in wanted:
        parts = re.findall(r"[^/\\]*[/\\]", directory)
        directory = "".join(parts[-flags.count("d") :])
    elif "p" not in wanted:
        directory = ""
    if not wanted & set("nx"):
        return directory[:-1] if "b" in flags else directory
    return directory + (base if "x" in wanted else stem)
