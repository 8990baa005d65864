"""The key `boot_test` of a recipe: what the test boot must show.

An expectation is named by one key: a line on the console, a file on a disk after the stop, the job's exit
status, a time, no failed unit, free memory. Times are those of a fast machine with KVM, like all times of a recipe.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from roost.recipe.base import AbsolutePath, Mode, Model, Name
from roost.recipe.patterns import PatternError, compiled
from roost.recipe.quantities import Duration, Size
from roost.recipe.words import shown

#: The keys that name an expectation, each with the keys that qualify it.
KINDS: dict[str, tuple[str, ...]] = {
    "serial": ("absent",),
    "file": ("on", "matches", "size", "mode", "absent"),
    "exit": (),
    "within": ("phase",),
    "failed_units": (),
    "memory_free": (),
}
#: Expectations verified from the status.json of the job's runner.
OF_THE_JOB = ("exit", "failed_units", "memory_free")

Unit = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:_.\\@-]+$", max_length=256)]


class SizeRange(Model):
    """A file's size: at least `min`, at most `max` bytes."""

    #: The minimum.
    min: Size = Field(default=0, ge=0)
    #: The maximum; without it, there is no limit.
    max: Size | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if self.max is not None and self.max < self.min:
            raise ValueError("max is less than min: no file can have such a size")
        return self


class Expectation(Model):
    """One expectation of the test boot, with exactly one key of `KINDS`."""

    #: A regular expression that a line of the console must match; with `absent`, no line may match it.
    serial: str | None = None
    #: A file after the stop: on the disk `on`, or at this path in the guest's mounted file systems.
    file: AbsolutePath | None = None
    #: The name of the disk that holds the file.
    on: Name | None = None
    #: A regular expression that a line of the file must match.
    matches: str | None = None
    #: The file's size, or {min, max}.
    size: Size | SizeRange | None = None
    #: The file's permissions: octal digits in quotes.
    mode: Mode | None = None
    #: No line may match `serial`; or `file` must not exist.
    absent: bool = False
    #: The exit status that the job must have; without it, 0.
    exit: int | None = Field(default=None, ge=0, le=255)
    #: The maximum duration of the whole boot, or of one phase of it; multiplied under emulation as `timeout` is.
    within: Duration | None = Field(default=None, gt=0)
    #: The phase of the boot that `within` applies to; without it, the whole boot.
    phase: Literal["firmware", "boot-loader", "kernel", "initrd", "init", "job", "power-off"] | None = None
    #: `none`, or the names of the only units that may fail.
    failed_units: Literal["none"] | tuple[Unit, ...] | None = None
    #: The memory that must be available when the job has ended (MemAvailable).
    memory_free: Size | None = Field(default=None, ge=0)

    @property
    def kind(self) -> str:
        """The key that names the expectation."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        kinds = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(kinds) != 1:
            listed = ", ".join(kinds) or "none"
            raise ValueError(f"an expectation has exactly one of {', '.join(KINDS)}; here: {listed}")
        for more in sorted({key for keys in KINDS.values() for key in keys} - set(KINDS[kinds[0]])):
            if getattr(self, more) not in (None, False):
                owner = " or ".join(kind for kind, keys in KINDS.items() if more in keys)
                raise ValueError(f"{more} belongs to {owner}, not to {kinds[0]}")
        if self.file is not None and self.absent and (self.matches or self.size is not None or self.mode):
            raise ValueError("a file that is absent has no content, size or mode")
        for pattern in (self.serial, self.matches):
            if pattern is not None:
                try:
                    compiled(pattern)
                except PatternError as error:
                    raise ValueError(f"'{shown(pattern, 100)}' is not a regular expression: {error}") from error
        return self


class BootTest(Model):
    """How long the test boot may take (under KVM; scaled for TCG), what it must show, what else is tested."""

    #: The maximum duration of the test boot, including the job, on a fast machine with KVM. Under emulation (TCG) it is
    #: multiplied by how many times slower this host was measured to be, or by 10 if that cannot be measured;
    #: `inv boot --json` has it as `factor`. If the guest's kernel starts slower than the one measured, it is multiplied
    #: by how much slower, at most by 5; the product is `limit` in `inv boot --json`. Seconds in which the host has no
    #: core for the guest do not count, at most four fifths.
    timeout: Duration = Field(default=120.0, gt=0)
    #: Expectations in addition to the job's exit status and a clean power-off.
    expect: tuple[Expectation, ...] = ()
    #: Files and directories that the job finds in input/, relative to the recipe, as for `inv io`: a directory with a
    #: trailing slash stands for its contents.
    inputs: tuple[Annotated[str, StringConstraints(min_length=1, max_length=4096)], ...] = ()
    #: Press the power button of a machine with a running job, as HTCondor's eviction does. True: it must power off;
    #: `auto`: tested, and reported if it does not; False: not tested, where that is not worth its time.
    evict: bool | Literal["auto"] = "auto"

    @property
    def exit_status(self) -> int:
        """The exit status that the job must have."""
        return next((one.exit for one in self.expect if one.exit is not None), 0)
