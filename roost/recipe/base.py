"""The common base of the recipe's models: frozen, without unknown keys; and the types of text values."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, JsonValue, StringConstraints, WithJsonSchema

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._+-]*$", max_length=64)]
AbsolutePath = Annotated[str, StringConstraints(pattern=r"^/[^\x00\n]*$", max_length=4096)]
DiskFormat = Literal["raw", "qcow2"]
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00\n\r]*$")]


class Model(BaseModel):
    """Base of all parts of a recipe: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def octal_mode(value: Any) -> Any:
    """Return a file's mode as written, as octal digits in quotes; raises ValueError for a number."""
    if value is None:
        return value
    if not isinstance(value, str):
        raise ValueError('a mode is octal digits in quotes, such as "0755"')
    if not re.fullmatch(r"[0-7]{3,4}", value):
        raise ValueError(f"'{value}' is not a mode: write octal digits in quotes, such as \"0755\"")
    return value


#: A file's permissions.
Mode = Annotated[
    str,
    BeforeValidator(octal_mode),
    WithJsonSchema({"type": "string", "pattern": "^[0-7]{3,4}$", "description": 'octal digits in quotes: "0755"'}),
]

#: A mapping with content that roost does not define: any YAML values.
Scalars = dict[str, JsonValue]
