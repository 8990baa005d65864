"""Key `submit` of a recipe: additions to the submit description that roost derives from the image."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema, field_validator, model_validator

from roost.recipe.base import Model, Name
from roost.recipe.quantities import Duration

_RETURNED = r"(?:[A-Za-z0-9._+/:-]|\$\([A-Za-z_][A-Za-z0-9_.]*\)|\$F[pndxqabfuw]*\([A-Za-z_][A-Za-z0-9_]*\))+"
_HOST = r"[A-Za-z0-9*](?:[A-Za-z0-9._*-]*[A-Za-z0-9*])?"


def returned_name(value: str) -> str:
    """Return a valid name for a returned disk; raises ValueError for any other."""
    if not re.fullmatch(_RETURNED, value) or len(value) > 1024:
        words = "letters, digits, . _ + - / : and macros such as $(Cluster), $(Process), $Fn(io)"
        raise ValueError(f"'{value}' is not a valid name for a returned disk: {words}")
    if value.rpartition("/")[2] in {"", ".", ".."}:
        raise ValueError(f"'{value}' is a directory: write the name of a file")
    return value


def _host(value: str) -> str:
    if not re.fullmatch(_HOST, value) or len(value) > 253:
        raise ValueError(f"'{value}' is not a host's name: node17, node17.example.org, or a pattern such as gpu*")
    if not re.search(r"[A-Za-z0-9]", value):
        raise ValueError(f"'{value}' matches every host: no job would ever run")
    return value


def _check_attribute(name: str) -> None:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"{name!r} is not an attribute name: letters, digits and _ only")


#: A name that condor_submit expands for each job: `results/$(Cluster).$(Process).raw`, with a directory or as a URL.
Returned = Annotated[
    str, AfterValidator(returned_name), WithJsonSchema({"type": "string", "pattern": f"^{_RETURNED}$"})
]
#: A host's name, in full or its first part; `*` matches any characters.
Host = Annotated[str, AfterValidator(_host), WithJsonSchema({"type": "string", "pattern": f"^{_HOST}$"})]
Scalar = str | bool | int | float


class Submit(Model):
    """Additions to the submit description that roost derives from the image."""

    #: `files`: HTCondor transfers them from the directory; `shared`: every machine sees the directory; or its URL.
    transfer: str = "files"
    #: Names of the disks that come back; default: the job's io disk. With `[]` none does.
    returns: tuple[Name, ...] = Field(default=(), alias="return")
    #: Names that returned disks get, by disk: `io: results/$(Cluster).$(Process).raw`; default:
    #: DISK-CLUSTER.PROCESS.FORMAT, or the name of the job's own disk with the number.
    return_as: dict[Name, Returned] = Field(default_factory=dict)
    #: Further commands, copied verbatim.
    commands: dict[str, str] = Field(default_factory=dict)
    #: Attributes of the job's ad (`+Name`): text becomes a ClassAd string, numbers and booleans are kept.
    attributes: dict[str, Scalar] = Field(default_factory=dict)
    #: Further input files in addition to the disks: names in the directory, absolute paths, URLs.
    inputs: tuple[Annotated[str, StringConstraints(pattern=r"^[^\s,\"'\x00]+$")], ...] = ()
    #: Let HTCondor checkpoint the machine; every disk must then be on a shared file system.
    checkpoint: bool = False
    #: Return nothing: HTCondor empties the sandbox when the machine has ended.
    no_output: bool = False
    #: The kernel that a xen machine starts, if the image has it both ways.
    xen_kernel: Literal["included", "files"] = "included"
    #: The location of the kernel's files on the execution points: a directory with vmlinuz and initrd.img, or the path
    #: of a kernel (vmlinuz, or vmlinuz-VERSION with initrd.img-VERSION beside it). Default: the build directory.
    kernel_path: Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9._+-]+)+/?$")] | None = None
    #: Added to the job's timeout before a job that does not end is removed: transfers and boot take time, too.
    margin: Duration = Field(default=1800.0, ge=0)
    #: The action on a job that is still running then: remove it, or hold it for inspection.
    on_timeout: Literal["remove", "hold"] = "remove"
    #: The maximum number of starts of a job. A job held because a machine could not start it (VMGAHP_ERR_INTERNAL) is
    #: released until this number is reached; an idle job that has reached it is held.
    max_starts: int | None = Field(default=None, ge=1, le=1000)
    #: Hosts that must not run the job: full names, first parts of names, or patterns with `*`.
    avoid: tuple[Host, ...] = ()
    #: Attributes that a machine must have, with one value or a list of values: text, numbers, booleans.
    require: dict[str, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)
    #: Run only on machines that have proven to start virtual machines: `inv probe` on them, by STARTD_CRON.
    require_working_vm: bool = False
    #: HTCondor's name of the machine's architecture. Default: that of the source.
    architecture: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$")] | None = None

    @field_validator("transfer")
    @classmethod
    def _known_transfer(cls, value: str) -> str:
        if value not in {"files", "shared"} and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", value):
            raise ValueError(
                f"'{value}' is not a way to transfer: write files, shared, or a URL such as osdf:///pool/images"
            )
        return value

    @field_validator("commands", mode="before")
    @classmethod
    def _commands_are_text(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: _as_command(command) for name, command in value.items()}

    @field_validator("commands")
    @classmethod
    def _one_line(cls, value: dict[str, str]) -> dict[str, str]:
        for name, command in value.items():
            if not re.fullmatch(r"(\+|[Mm][Yy]\.)?[A-Za-z0-9_]+", name):
                raise ValueError(f"{name!r} is not the name of a submit command")
            if not command.isprintable() or command.rstrip().endswith("\\"):
                raise ValueError(f"the value of {name} must be one line of printable characters, without \\ at its end")
        return value

    @field_validator("attributes")
    @classmethod
    def _attribute_names(cls, value: dict[str, Scalar]) -> dict[str, Scalar]:
        for name, content in value.items():
            _check_attribute(name)
            if isinstance(content, str) and not content.isprintable():
                raise ValueError(f"the value of {name} must be one line of printable characters")
        return value

    @field_validator("require")
    @classmethod
    def _of_the_machine(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, wanted in value.items():
            _check_attribute(name)
            if wanted == ():
                raise ValueError(f"the list of {name} is empty: no machine would match")
            for one in wanted if isinstance(wanted, tuple) else (wanted,):
                if isinstance(one, str) and (not one.isprintable() or re.search(r"[\\$]", one)):
                    raise ValueError(f"the value of {name} must be one line of printable characters, without \\ and $")
                if isinstance(one, float) and not math.isfinite(one):
                    raise ValueError(f"the value of {name} is not a number that a ClassAd can hold")
        return value

    @model_validator(mode="after")
    def _output_or_not(self) -> Self:
        if self.no_output and self.returns:
            raise ValueError("no_output empties the sandbox before the disks of `return` could come back")
        return self


def _as_command(value: Any) -> Any:
    """Return a command's value as HTCondor writes it: YAML's booleans and numbers as text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value
