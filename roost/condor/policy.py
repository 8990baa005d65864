"""Where a job may run and how a job that does not end is stopped: requirements and periodic expressions. Pure.

The attributes are those of the HTCondor manual (job and machine ClassAd attributes). On a machine that lacks an
attribute a comparison is UNDEFINED, which does not match.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from roost.condor.classad import literal
from roost.condor.placement import Where
from roost.errors import Problem
from roost.recipe.model import Recipe
from roost.recipe.submit import Scalar

#: Debian's architectures → HTCondor's Arch.
ARCHITECTURES = {"amd64": "X86_64"}

#: The attribute that `inv probe --advertise` sets on a machine that starts virtual machines.
WORKS = "RoostVMWorks"

#: JobStatus (HTCondor manual, job ClassAd attributes).
_IDLE, _RUNNING, _HELD = "JobStatus == 1", "JobStatus == 2", "JobStatus == 5"
#: How HTCondor reports that the machine did not start: in the text of the hold reason, or since 25.0 by a code
#: ("Internal error occurred while managing the VM").
_NOT_STARTED = '(HoldReasonCode == 1020 || regexp("VMGAHP_ERR_INTERNAL", HoldReason))'


@dataclass(frozen=True, slots=True)
class Policy:
    """The expressions of a description, each None where it is not set; `bound` is in seconds."""

    requirements: str | None
    periodic_remove: str | None
    periodic_hold: str | None
    periodic_hold_reason: str | None
    periodic_release: str | None
    bound: int | None


def policy(recipe: Recipe) -> Policy:
    """Return the expressions of a recipe; `problems` has the reasons against them."""
    given = {name.lower(): value for name, value in recipe.submit.commands.items()}
    bound = bound_of(recipe) if "periodic_remove" not in given else None
    over = late(bound) if bound is not None else None
    hold = recipe.submit.on_timeout == "hold"
    holds = [(over, f"the job ran for more than {bound} s")] if hold and over else []
    starts = recipe.submit.max_starts
    if starts is not None:
        times = "once" if starts == 1 else f"{starts} times"
        holds.append((f"({_IDLE}) && (NumJobStarts >= {starts})", f"the job started {times} and never ended"))
    return Policy(
        requirements=_requirements(recipe, given.get("requirements")),
        periodic_remove=given.get("periodic_remove") or (over if not hold else None),
        periodic_hold=" || ".join(f"({when})" if len(holds) > 1 else when for when, _ in holds) or None,
        periodic_hold_reason=_reason(holds),
        periodic_release=None if starts is None else f"(NumJobStarts < {starts}) && {_NOT_STARTED}",
        bound=bound,
    )


def bound_of(recipe: Recipe) -> int | None:
    """Return the seconds after which a job counts as one that never ends, or None if it may run forever."""
    if recipe.job is None or recipe.job.then != "poweroff":
        return None
    return math.ceil(recipe.job.timeout + recipe.submit.margin)


def late(bound: int) -> str:
    """Return the expression that is true once a job runs for more than `bound` seconds."""
    return _longer(_RUNNING, bound)


def stuck(bound: int) -> str:
    """Return the expression that is true once a job is held for more than `bound` seconds."""
    return _longer(_HELD, bound)


def _longer(status: str, bound: int) -> str:
    # EnteredCurrentStatus is when it started to run, or was held.
    return f"({status}) && (time() - EnteredCurrentStatus > {bound})"


def _reason(holds: list[tuple[str, str]]) -> str | None:
    if len(holds) < 2:
        return literal(holds[0][1]) if holds else None
    return f"ifThenElse({_RUNNING}, {literal(holds[0][1])}, {literal(holds[1][1])})"


def _requirements(recipe: Recipe, further: str | None) -> str | None:
    """Return the requirements on a machine: the image's architecture, the hosts to avoid, and those of the recipe.

    condor_submit requires the architecture of the access point unless requirements name Arch, and adds the rest.
    """
    submit = recipe.submit
    own = list(_avoided(submit.avoid))
    own += [_required(name, wanted) for name, wanted in submit.require.items()]
    if submit.require_working_vm:
        own.append(f"(TARGET.{WORKS} =?= true)")
    named = further is not None and re.search(r"\barch\b", further, re.IGNORECASE)
    arch = submit.architecture or ARCHITECTURES.get(recipe.os.source.processor or "")
    if arch and not named and not any(name.lower() == "arch" for name in submit.require):
        own.insert(0, f'(TARGET.Arch == "{arch}")')
    return " && ".join([*own, *([f"({further})" if own else further] if further else [])]) or None


def _avoided(hosts: tuple[str, ...]) -> Iterator[str]:
    """Yield a clause for each host; names are compared case-insensitively.

    The pattern of the manual's regexp() is PCRE's; it contains no backslash or `$`, which the submit language
    would interpret.
    """
    for host in dict.fromkeys(hosts):
        if "." in host and "*" not in host:
            yield f"(TARGET.Machine != {literal(host)})"
        else:
            pattern = host.replace(".", "[.]").replace("*", ".*")
            # A name without dots is a host in any domain.
            end = "(?!.)" if "." in host else "(?![^.])"
            yield f"!regexp({literal(f'^{pattern}{end}')}, TARGET.Machine, {literal('i')})"


def _required(name: str, wanted: Scalar | tuple[Scalar, ...]) -> str:
    values = wanted if isinstance(wanted, tuple) else (wanted,)
    # `==` of ClassAds takes true for 1; strings are compared case-insensitively.
    return "(" + " || ".join(f"TARGET.{name} == {literal(value)}" for value in values) + ")"


def problems(recipe: Recipe, where: Where) -> Iterator[Problem]:
    """Yield the parts of the policy that contradict each other or have no effect."""
    submit = recipe.submit
    given = {name.lower(): name for name in submit.commands}
    holds = submit.max_starts is not None or submit.on_timeout == "hold"
    taken = {"periodic_hold": holds, "periodic_hold_reason": holds, "periodic_release": submit.max_starts is not None}
    for command, ours in taken.items():
        if ours and command in given:
            what = f"the command {given[command]} is written for max_starts or on_timeout already"
            yield Problem(what, where(("submit", "commands", given[command])), "remove one of the two")
    if submit.on_timeout == "hold":
        key = where(("submit", "on_timeout"))
        if bound_of(recipe) is None:
            what = "on_timeout has no effect: the recipe has no job, so it has no timeout"
            yield Problem(what, key, "add `job: {command: …, timeout: …}`")
        elif "periodic_remove" in given:
            what = "on_timeout: hold and a periodic_remove of its own: it is not defined which of them ends the job"
            yield Problem(what, key, "remove one of the two")
    if submit.require_working_vm and any(name.lower() == WORKS.lower() for name in submit.require):
        what = f"{WORKS} is required twice"
        yield Problem(what, where(("submit", "require_working_vm")), f"remove {WORKS} from require")
    seen: set[str] = set()
    for name in submit.require:
        key = where(("submit", "require", name))
        if name.lower() in seen:
            yield Problem(f"the attribute {name} is required twice: names are not case-sensitive", key)
        elif name.lower() == "arch" and submit.architecture is not None:
            yield Problem("the architecture is given twice", key, "remove submit.architecture")
        seen.add(name.lower())
