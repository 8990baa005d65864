"""pydantic's errors in the terms of the recipe's author."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel

from roost.recipe.merge import EXTENDS, LOADERS_OWN, VARIABLES
from roost.recipe.nodes import Node
from roost.recipe.quantities import format_size
from roost.recipe.schema import homes, keys
from roost.recipe.variables import BEGINS
from roost.recipe.words import did_you_mean, kind, listed, near, shown

Message = tuple[str, str | None]

#: The expected value, by the type of pydantic's error.
_EXPECTED = {
    "string_type": "text",
    "string_sub_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping (lines of `key: value`)",
    "model_type": "a mapping (lines of `key: value`)",
    "model_attributes_type": "a mapping (lines of `key: value`)",
    "uuid_type": "a UUID in quotes",
    "uuid_parsing": "a UUID such as 6a2f0c36-6d3c-5d0c-9b5e-0c6f1d8e2a11",
    "url_type": "a URL",
    "url_parsing": "a URL",
    "none_required": "nothing",
}

#: Types of pydantic's errors for a value of another kind than its key has.
WRONG_KIND = frozenset({*_EXPECTED, "literal_error", "enum"})

#: Pattern of the model → description with a sample, which is clearer than the pattern itself.
PATTERNS = {
    r"^[a-z0-9][a-z0-9._+-]*$": "lower-case letters, digits and . _ + -, a letter or digit first",
    r"^/[^\x00\n]*$": "an absolute path: it begins with /",
    r"^[^\x00\n\r]*$": "one line of text",
    r"^[^\x00-\x1f\x7f]*$": "one line of text",
    r"^[^\x00\n]+$": "the name of a file",
    r"^(/[A-Za-z0-9._+-]+)+/?$": "an absolute path of letters, digits and . _ + -",
    r"^[A-Za-z0-9:_.\\@-]+$": "the name of a systemd unit, such as ssh.service",
    r"^[a-z][a-z0-9.+-]*$": "lower-case letters, digits and . + -, a letter first",
    r"^[a-z0-9][a-z0-9+.:~=/-]*$": "a package: NAME, NAME=VERSION or NAME/SUITE",
    r"^(https?|file|copy)://?[^\s\"'<>]+$": "a URL that begins with http://, https://, file: or copy:",
    r"^(https?|file)://[^\s\"'<>]+$": "a URL that begins with http://, https:// or file://",
    r"^[0-9a-f]{64}$": "64 lower-case hexadecimal digits",
    r"^[!-~]+$": "one parameter: ASCII without blanks, not empty",
    r"^[a-z_][a-z0-9_-]*$": "lower-case letters, digits, _ and -, a letter first",
    r"^[A-Za-z0-9._-]+$": "letters, digits and . _ -",
    r"^[a-z]+[0-9]*$": "a device such as vda or sda1",
    r"^[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?$": "a host name: letters, digits and -, at most 63",
    r"^[A-Za-z0-9_]+$": "letters, digits and _",
    r"^[^\s,\"'\x00]+$": "a name without blanks, commas and quotes",
    r"^[A-Za-z0-9_+/-]+$": "a time zone such as Europe/Berlin",
    r"^[A-Za-z0-9_.@-]+$": "a locale such as C.UTF-8",
    r"^[0-9]{8}T[0-9]{6}Z$": "a time such as 20261101T000000Z",
    r"^[A-Za-z0-9._+~/-]+$": "a suite or component such as stable, main or ./",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "the name of an environment variable",
    r"^[A-Za-z0-9*](?:[A-Za-z0-9._*-]*[A-Za-z0-9*])?$": "a host name, in which * stands for any characters",
    r"^(?:[A-Za-z0-9._+/:-]|\$\([A-Za-z_][A-Za-z0-9_.]*\)|\$F[pndxqabfuw]*\([A-Za-z_][A-Za-z0-9_]*\))+$": (
        "a file name of letters, digits and . _ + / : -, and of $(MACROS)"
    ),
    r"^[0-7]{3,4}$": 'octal digits in quotes, such as "0755"',
}


def _expected(error: Mapping[str, Any], node: Node | None) -> Message:
    kinds = [str(error["type"]), *error.get("others", ())]
    wanted = " or ".join(dict.fromkeys(_EXPECTED[name] for name in kinds if name in _EXPECTED))
    value = node.value if node is not None else error.get("input")
    return f"expected {wanted}, found {kind(value)}", _conversion(wanted, value)


def _conversion(wanted: str, value: object) -> str | None:
    """Return how to rewrite the found value as the wanted type, if that is possible."""
    if wanted == "text" and isinstance(value, bool | int | float):
        return "put it in quotes"
    if wanted in {"a whole number", "a number"} and isinstance(value, str):
        return "leave out the quotes" if value.strip().lstrip("+-").isdigit() else None
    if wanted == "true or false" and isinstance(value, str) and value.lower() in {"yes", "no", "on", "off"}:
        return f"write {'true' if value.lower() in {'yes', 'on'} else 'false'}: YAML 1.2 has no {value.lower()}"
    if wanted == "a list" and isinstance(value, str | int | float):
        return f"write [{shown(str(value))}]"
    return None


def _unknown_key(error: Mapping[str, Any], _node: Node | None) -> Message:
    path = tuple(error["loc"])
    key = str(path[-1])
    known = keys(path[:-1])
    if len(path) == 1:
        known = [*known, *LOADERS_OWN]
    home = homes().get(key)
    if key == "<<":
        return "YAML 1.2 has no merge key '<<'", f"use {EXTENDS}, or an alias for the whole value"
    if near(key, known) is None and home is not None:
        return f"unknown key '{shown(key)}'", f"did you mean {home}?"
    return f"unknown key '{shown(key)}'", did_you_mean(key, known)


def _missing(error: Mapping[str, Any], _node: Node | None) -> Message:
    path = tuple(error["loc"])
    hint = "a repository without its key is not used" if path[-1] == "key" and "repositories" in path else None
    return f"the key '{path[-1]}' is missing{f' in {_name(path[:-1])}' if path[:-1] else ''}", hint


def _name(path: tuple[str | int, ...]) -> str:
    return next((str(step) for step in reversed(path) if isinstance(step, str)), "the recipe")


def _literal(error: Mapping[str, Any], node: Node | None) -> Message:
    choices = [choice.strip("'") for choice in str(error["ctx"]["expected"]).replace(" or ", ", ").split(", ")]
    value = node.value if node is not None else error.get("input")
    if not isinstance(value, str):
        return f"expected one of {listed(choices)}; found {kind(value)}", None
    close = near(value, choices)
    return f"'{shown(value)}' is not one of {listed(choices)}", f"did you mean {close}?" if close else None


def _pattern(error: Mapping[str, Any], _node: Node | None) -> Message:
    pattern = str(error["ctx"]["pattern"])
    value = shown(str(error.get("input", "")))
    words = PATTERNS.get(pattern)
    if words is None:
        return f"'{value}' is not allowed here", f"it must match {pattern}"
    return f"'{value}' is not allowed here", f"expected {words}"


def _bound(error: Mapping[str, Any], node: Node | None) -> Message:
    context = error["ctx"]
    limit = next(context[key] for key in ("ge", "gt", "le", "lt") if key in context)
    words = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
    relation = next(text for key, text in words.items() if key in context)
    written = node.value if node is not None else error.get("input")
    # Only sizes have a lower bound this large; an upper one may be a plain number.
    if isinstance(limit, int) and limit >= 1024 and (isinstance(written, str) or relation in ("at least", "more than")):
        limit = format_size(limit)
    return f"{kind(written).removeprefix('the text ')} is out of bounds", f"{relation} {limit}"


def _too_short(error: Mapping[str, Any], _node: Node | None) -> Message:
    least = int(error["ctx"].get("min_length", 1))
    things = "characters" if str(error["type"]).startswith("string") else "item" if least == 1 else "items"
    return f"'{_name(tuple(error['loc']))}' needs at least {least} {things}", None


def _too_long(error: Mapping[str, Any], _node: Node | None) -> Message:
    things = "characters" if str(error["type"]).startswith("string") else "items"
    return f"'{_name(tuple(error['loc']))}' has more than {error['ctx'].get('max_length')} {things}", None


def _own(error: Mapping[str, Any], _node: Node | None) -> Message:
    # Raised by the model itself, with a readable message.
    return shown(str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, "), 400), None


_WORDS: Mapping[str, Callable[[Mapping[str, Any], Node | None], Message]] = {
    **dict.fromkeys(_EXPECTED, _expected),
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "literal_error": _literal,
    "enum": _literal,
    "string_pattern_mismatch": _pattern,
    **dict.fromkeys(("greater_than_equal", "greater_than", "less_than_equal", "less_than"), _bound),
    **dict.fromkeys(("too_short", "string_too_short"), _too_short),
    **dict.fromkeys(("too_long", "string_too_long"), _too_long),
    "value_error": _own,
    "assertion_error": _own,
}


def message(error: Mapping[str, Any], node: Node | None) -> Message:
    """Return the message and a hint or None for one of pydantic's errors; `node` is the value it is about."""
    words = _WORDS.get(str(error["type"]))
    if words is not None:
        what, hint = words(error, node)
        if node is not None and isinstance(node.value, str) and BEGINS in node.value:
            return (
                what,
                f"'{BEGINS}' does not begin a variable here: write {BEGINS} NAME }}}}, with NAME in `{VARIABLES}`",
            )
        return what, hint
    text = str(error["msg"]).replace("Input should be", "expected")
    return shown(text[:1].lower() + text[1:], 400), None


def sentence(error: Mapping[str, Any], root: type[BaseModel]) -> str:
    """Return one of pydantic's errors as a line, for data that is not a recipe: its path in `root`, what, the fix."""
    path = written_path(error)
    absent = error["type"] in ("missing", "extra_forbidden")
    within = dotted(path[:-1] if absent else path)
    if error["type"] == "extra_forbidden":
        close = near(str(path[-1]), keys(path[:-1], root))
        what = f"unknown key '{shown(str(path[-1]))}'" + (f" (did you mean {close}?)" if close else "")
    elif error["type"] == "missing":
        what = f"the key '{path[-1]}' is missing"
    else:
        what, hint = message(error, None)
        what = f"{what}: {hint}" if hint else what
    return f"{within}: {what}" if within else what


def written_path(error: Mapping[str, Any]) -> tuple[str | int, ...]:
    """Return the path of one of pydantic's errors without the marker that pydantic adds for the key of a mapping."""
    return tuple(step for step in error["loc"] if step != "[key]")


def dotted(path: tuple[str | int, ...]) -> str:
    """Return a path in dotted notation: `packages[2].sha256`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{shown(step)}" for step in path).lstrip(".")
