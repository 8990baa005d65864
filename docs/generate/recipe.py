"""The page of a recipe's keys: what each is, its values, its default, and examples that are valid recipes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

from docs.generate.markdown import head, row
from roost.recipe import editor
from roost.recipe.model import Recipe
from roost.recipe.quantities import format_size
from roost.recipe.schema import models_in

EXAMPLES = Path(__file__).with_name("examples.yaml")
#: The recipe that an example without a name is laid over.
HEAD = """\
extends: [base/debian.yaml]
name: sim
os:
  debian: {suite: bookworm}
files:
  - {path: /opt/sim/run, source: files/run, mode: "0755"}
job: {command: /opt/sim/run}
"""
_INTRO = """\
# The keys of a recipe

Made from roost's model by `python -m docs.generate`. [Recipes](../recipes.md) tells how the keys work together;
`inv check NAME` checks a recipe, `inv schema` prints the JSON schema for editors.

A size is a number with a unit, in powers of 1024: `512MiB`, `10G`. A time is a number with a unit: `90s`, `2min`, `4h`.
Paths of local files are relative to the recipe. An unknown key is an error. A key without a default is left out where
it is not needed.

An example that has no `name` is laid over this recipe:
"""


@dataclass(frozen=True, slots=True)
class Key:
    """A key of a recipe: its dotted path, what stands there, and what it is when it is left out."""

    path: str
    value: str
    default: str
    what: str


def examples() -> list[tuple[str, str]]:
    """Return the examples as they are shown, each with the key that it is shown with."""
    parts = re.split(r"^--- # (\w+)\n", EXAMPLES.read_text(), flags=re.MULTILINE)
    return [(key, text.strip() + "\n") for key, text in zip(parts[1::2], parts[2::2], strict=True)]


def paths(text: str) -> set[str]:
    """Return the dotted paths of the keys that an example has; those of a free mapping too."""
    yaml = YAML(typ="safe")
    yaml.constructor.add_constructor("!replace", _plain)
    return set(_paths(yaml.load(text), ""))


def _plain(constructor: Any, node: Any) -> Any:
    if node.id == "mapping":
        return constructor.construct_mapping(node, deep=True)
    return constructor.construct_sequence(node, deep=True)


def _paths(value: Any, prefix: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, child in value.items():
            yield f"{prefix}{key}"
            yield from _paths(child, f"{prefix}{key}.")
    elif isinstance(value, list):
        for child in value:
            yield from _paths(child, prefix)


def every_key() -> list[Key]:
    """Return every key, those of the loader first, each mapping before what is in it."""
    schema = editor.schema()
    own = [
        Key(name, value, "", schema["properties"][name]["description"])
        for name, value in (
            ("extends", "list of paths"),
            ("matrix", "mapping of paths into the recipe to lists of values, or to mappings of labels"),
            ("variables", "mapping of names to text, numbers, booleans"),
        )
    ]
    return [*own, *_keys(Recipe, schema, "")]


def _keys(model: type[BaseModel], schema: Mapping[str, Any], prefix: str) -> Iterator[Key]:
    properties = (schema if model is Recipe else schema["$defs"][model.__name__])["properties"]
    for name, field in model.model_fields.items():
        key = field.alias or name
        said = properties[key]
        below = list(models_in(field.annotation))
        what = said.get("description") or inspect.cleandoc(below[0].__doc__ or "")
        yield Key(f"{prefix}{key}", _value(said, schema), _default(field, said), what)
        for one in below:
            yield from _keys(one, schema, f"{prefix}{key}.")


def _value(said: Mapping[str, Any], schema: Mapping[str, Any]) -> str:  # noqa: PLR0911 a line for each kind
    if "anyOf" in said or "oneOf" in said:
        members = [_value(one, schema) for one in (*said.get("anyOf", ()), *said.get("oneOf", ())) if not _aside(one)]
        return " or ".join(dict.fromkeys(members))
    if "$ref" in said:
        return "mapping" if "properties" in schema["$defs"][said["$ref"].rpartition("/")[2]] else "anything"
    if "enum" in said or "const" in said:
        words = [f"`{one}`" for one in said.get("enum", [said.get("const")])]
        return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
    if said.get("type") == ["string", "integer"]:
        return "size"
    if said.get("type") == ["string", "number"]:
        return "time"
    if said.get("type") == "array":
        items = said.get("items", {})
        return f"list of {_plural(_value(items, schema))}" if items else "list"
    if said.get("type") == "string":
        return _text(said)
    kinds = {"boolean": "`true` or `false`", "object": "mapping", "number": "number", "integer": "number"}
    return kinds.get(str(said.get("type")), "anything")


def _aside(said: Mapping[str, Any]) -> bool:
    """Return whether a member of a union is no value that a person chooses."""
    return said.get("type") == "null" or str(said.get("$ref", "")).endswith("/variable")


def _text(said: Mapping[str, Any]) -> str:
    pattern = str(said.get("pattern", ""))
    if pattern.startswith("^/"):
        return "absolute path"
    if "[0-7]" in pattern:
        return 'octal digits in quotes, `"0755"`'
    return "UUID" if said.get("format") == "uuid" else "text"


def _plural(words: str) -> str:
    return {"text": "texts", "mapping": "mappings", "absolute path": "absolute paths"}.get(words, words)


def _default(field: FieldInfo, said: Mapping[str, Any]) -> str:  # noqa: PLR0911 a line for each kind
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, BaseModel) or value in ((), {}, ""):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    kind = _value(said, {"$defs": {}}) if "$ref" not in said else ""
    if kind == "size":
        return f"`{format_size(value).replace(' ', '')}`"
    if kind == "time":
        return f"`{_time(float(value))}`"
    return f"`{value}`"


def _time(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def page() -> str:
    """Return the page: a section for each key of the first level, its keys as a table, its examples."""
    lines = [_INTRO, *_block(HEAD)]
    shown = examples()
    table = every_key()
    for top in (key for key in table if "." not in key.path):
        lines += ["", f"## {top.path}", "", *head("key", "value", "default", "what it is")]
        lines += [
            row(f"`{one.path}`", one.value, one.default, one.what)
            for one in table
            if one.path == top.path or one.path.startswith(f"{top.path}.")
        ]
        for text in (text for key, text in shown if key == top.path):
            lines += ["", *_block(text)]
    return "\n".join(lines) + "\n"


def _block(text: str) -> list[str]:
    return ["```yaml", text.rstrip("\n"), "```"]
