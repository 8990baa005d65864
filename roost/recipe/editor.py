"""recipes/schema.json: the model as a JSON schema (draft 2020-12), so that editors complete and check recipes.

It is more lenient than roost itself for incomplete recipes: a base may lack what the recipe that extends it
has, and any value may be a variable. What only roost can check (disks that do not fit together, missing files)
is left to `inv check`. Descriptions are the `#:` comments and docstrings of the model.
"""

from __future__ import annotations

import ast
import functools
import inspect
import json
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from roost.recipe.merge import EXTENDS, MATRIX, VARIABLES
from roost.recipe.model import Recipe
from roost.recipe.schema import models_in

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DESCRIPTION = (
    "A recipe of roost. Lists append to those of the files that it extends, mappings merge; the tag !replace before a"
    " list or mapping drops what they say (editors must be told of the tag: yaml.customTags, `!replace sequence` and"
    " `!replace mapping`)."
)
#: A value that may be a variable.
VARIABLE = {"type": "string", "pattern": r"\{\{[ \t]*[A-Za-z_][A-Za-z0-9_]*[ \t]*\}\}"}
_SIZE = {"type": ["string", "integer"], "description": "bytes, or a number with a unit: 512MiB, 10G"}
_DURATION = {"type": ["string", "number"], "description": "seconds, or a number with a unit: 90s, 2min, 4h"}
_SCALAR = {"type": ["string", "number", "boolean"]}


def schema() -> dict[str, Any]:
    """Return the schema of recipe files."""
    made = Recipe.model_json_schema(by_alias=True)
    models = {model.__name__: model for model in _models(Recipe)}
    elements = set(_elements(made))
    definitions = {
        # A definition that is not a model (JSON inside a recipe) is unrestricted.
        name: _model(body, models[name], whole=name in elements) if name in models else {}
        for name, body in made.pop("$defs").items()
    }
    top = _model(made, Recipe, whole=False)
    own = {
        EXTENDS: {
            "description": "Recipe files below this one, relative to it; the later ones win.",
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        },
        MATRIX: {
            "description": "An image for each combination of values. Keys are paths into the recipe; a mapping labels.",
            "type": "object",
            "additionalProperties": {"anyOf": [{"type": "array", "minItems": 1}, {"type": "object"}]},
        },
        VARIABLES: {
            "description": "Values by name, used in any text as {{ name }}; `matrix` and --set may change them.",
            "type": "object",
            "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
            "additionalProperties": _SCALAR,
        },
    }
    return {
        "$schema": DIALECT,
        "title": "recipe",
        "description": DESCRIPTION,
        **{key: value for key, value in top.items() if key not in {"title", "description"}},
        "properties": {**own, **top["properties"]},
        "$defs": {**dict(sorted(definitions.items())), "variable": VARIABLE},
    }


def text() -> str:
    """Return the content of recipes/schema.json."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for below in models_in(field.annotation):
            yield from _models(below)


def _elements(node: Any, in_list: bool = False) -> Iterator[str]:
    """Yield the definitions that are elements of lists, which a base cannot complete."""
    if isinstance(node, Mapping):
        if in_list and "$ref" in node:
            yield str(node["$ref"]).rpartition("/")[2]
        for key, child in node.items():
            yield from _elements(child, key == "items" or (in_list and key in {"anyOf", "oneOf"}))
    elif isinstance(node, list):
        for child in node:
            yield from _elements(child, in_list)


def _model(body: Mapping[str, Any], model: type[BaseModel], *, whole: bool) -> dict[str, Any]:
    """Return the schema of a mapping; required keys apply only if it must be `whole`: an element of a list."""
    comments = _comments(model)
    names = {field.alias or name: name for name, field in model.model_fields.items()}
    properties = {}
    for key, value in body["properties"].items():
        described = {"description": comments[names[key]]} if names[key] in comments else {}
        properties[key] = {**_value(value, _unit(model, names[key])), **described}
    return {
        "description": inspect.cleandoc(model.__doc__ or "").partition("\n\n")[0],
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
        **({"required": body["required"]} if whole and "required" in body else {}),
    }


def _unit(model: type[BaseModel], field: str) -> dict[str, Any] | None:
    """Return the schema of a size or time as written; the model's own schema has it as a number."""
    written = model.__annotations__.get(field, "")
    name = str(written).replace("|", " ").split() or [""]
    return _SIZE if name[0] == "Size" else _DURATION if name[0] == "Duration" else None


def _value(value: Mapping[str, Any], unit: dict[str, Any] | None) -> dict[str, Any]:
    """Return the schema of a value, which may be a variable unless it is free text."""
    rest = {key: child for key, child in value.items() if key not in {"title", "default", "description"}}
    if unit is not None:
        others = [one for one in rest.get("anyOf", ()) if one.get("type") not in {"integer", "number"}]
        return {"anyOf": [unit, *others]} if others else unit
    if rest.get("type") == "array" or "prefixItems" in rest:
        return {**rest, "items": _value(rest["items"], None)} if isinstance(rest.get("items"), Mapping) else rest
    if "anyOf" in rest or "oneOf" in rest:
        members = [_value(one, None) for one in [*rest.get("anyOf", ()), *rest.get("oneOf", ())]]
        flat = [inner for one in members for inner in (one["anyOf"] if one.keys() == {"anyOf"} else [one])]
        unique = [one for number, one in enumerate(flat) if one not in flat[:number]]
        return {"anyOf": unique}
    free = rest.get("type") == "string" and not rest.keys() & {"pattern", "enum", "const", "format"}
    if free or "$ref" in rest or rest.get("type") in {"object", "null"} or not rest:
        return rest
    return {"anyOf": [rest, {"$ref": "#/$defs/variable"}]}


@functools.cache
def _module_tree(name: str) -> tuple[ast.Module, tuple[str, ...]]:
    source = inspect.getsource(sys.modules[name])
    return ast.parse(source), tuple(source.splitlines())


def _comments(model: type[BaseModel]) -> dict[str, str]:
    """Return the `#:` comments above the fields of a model and of its bases."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if not (isinstance(base, type) and issubclass(base, BaseModel)) or base is BaseModel:
            continue
        tree, lines = _module_tree(base.__module__)
        body = next(
            (node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == base.__name__), []
        )
        for node in body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                comment = list(_above(lines, node.lineno))
                if comment:
                    found[node.target.id] = " ".join(comment)
    return found


def _above(lines: tuple[str, ...], number: int) -> Iterator[str]:
    start = number - 1
    while start > 0 and lines[start - 1].strip().startswith("#:"):
        start -= 1
    for line in lines[start : number - 1]:
        yield line.strip().removeprefix("#:").strip()
