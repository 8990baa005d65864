"""The files written by a run, validated when they are read again, because they may have been edited or damaged.

`run.json` is a `Plan`; the lines of `state.jsonl` are `Ended`, `Returned` and the events of the pool executor.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from roost.errors import ImageError
from roost.recipe.messages import sentence
from roost.run.model import Verdict
from roost.run.state import ANEW, State

_Model = TypeVar("_Model", bound=BaseModel)
#: A text that can be a path, and the token of a submission.
_Path = Annotated[str, StringConstraints(min_length=1, pattern=r"\A[^\x00]*\z")]
_Token = Annotated[str, StringConstraints(pattern=r"\A[A-Za-z0-9-]{8,64}\z")]
_Count = Annotated[int, Field(ge=0, lt=1 << 53)]
_Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Written(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


class Options(_Written):
    """The options of a run, as far as resuming it needs them."""

    guests: Annotated[int, Field(ge=1)] | None = None
    accel: Literal["auto", "kvm", "tcg"] = "auto"
    hypervisor: Literal["kvm", "xen"] | None = None
    machine: str = "pc"
    require_kvm: bool = False
    timeout: Annotated[float, Field(gt=0)] | None = None


class Plan(_Written):
    """The plan of a run: its table of jobs, their image or the column that names it, who runs them."""

    schema_: Literal[1] = Field(alias="schema")
    image: str | None
    project: _Path
    executor: Literal["local", "pool", "dag"]
    disk: Annotated[str, StringConstraints(min_length=1)]
    options: Options
    built: dict[str, dict[str, str]]
    file: _Path
    directory: _Path
    image_column: str | None
    variables: list[str]
    lines: list[_Count]
    rows: list[list[str]]

    @model_validator(mode="after")
    def _is_a_table(self) -> Self:
        if any(len(row) != len(self.variables) for row in self.rows) or len(self.lines) != len(self.rows):
            raise ValueError("a row has too many values or too few")
        if len({name.lower() for name in self.variables}) != len(self.variables):
            raise ValueError("two variables have one name")
        if (self.image_column is None) == (self.image is None):
            raise ValueError("either a column names the images, or there is one image")
        if self.image_column is not None and self.image_column not in self.variables:
            raise ValueError("there is no column that names the images")
        return self


class Ended(_Written):
    """The outcome of a job; `output` and `log` are relative to the directory of the run."""

    verdict: Verdict
    exit_code: int | None = None
    reason: str = ""
    output: _Path | None = None
    seconds: _Seconds | None = None
    log: _Path | None = None
    notes: list[str] = []
    attempts: _Count = 0
    more: dict[str, Any] = {}


class Returned(_Written):
    """How a job left its executor; `disk` is relative to the directory of the run."""

    disk: _Path | None = None
    seconds: _Seconds | None = None
    verdict: Verdict | None = None
    reason: str = ""
    stopped: bool = False
    more: dict[str, Any] = {}


class Submitting(_Written):
    """A submission that is about to be made."""

    token: _Token
    image: str
    rows: list[_Count]
    host: str
    begun: float


class Submitted(_Written):
    """The cluster of a submission."""

    token: _Token
    cluster: Annotated[int, Field(ge=1)]


class GivenUp(_Written):
    """A row of a submission whose job was removed while it was held."""

    token: _Token
    row: _Count


def checked(model: type[_Model], record: object) -> _Model:
    """Return a record as `model`; raise `ValueError` with the first error in it, on one line."""
    try:
        return model.model_validate(record)
    except ValidationError as error:
        raise ValueError(sentence(error.errors(include_url=False)[0], model)) from error


def damaged(state: State, what: str) -> ImageError:
    """Return the error for an inconsistent record."""
    return ImageError(f"{state.path} is damaged: {what}", hint=ANEW)
