"""Trials in addition to the boot: HTCondor's eviction, and a checkpoint if the recipe asks for one.

A guest that stays on (no job, or `then: stay`) gets the power button pressed at its end: that is the eviction. For any
other guest, the machine is resumed from the state saved when its job had started (`roost.boot.checkpoint`). Only what
the recipe explicitly asks for must succeed; otherwise a guest that ignores the button passes with a note.
"""

from __future__ import annotations

from dataclasses import dataclass

from roost.boot.checkpoint import Argv, Checkpoint, Trial
from roost.boot.drive import Observation
from roost.boot.evidence import Expected
from roost.boot.watch import BootPlan
from roost.events import Stages
from roost.recipe.model import Recipe

NOT_ASKED = Trial(False, None, None, "not asked for")
FAILED = Trial(False, None, None, "the boot failed")
EVICTION = "powers off when the power button is pressed (HTCondor's eviction)"
CHECKPOINT = "continues after it was saved and restored (vm_checkpoint)"
IGNORED = "it ignores the power button, which is all that HTCondor's eviction does"


@dataclass(frozen=True, slots=True)
class TrialRequest:
    """What to try: eviction (with `must_obey` a failure fails the boot), a checkpoint."""

    evict: bool = False
    must_obey: bool = False
    checkpoint: bool = False

    @property
    def needs_checkpoint(self) -> bool:
        """Whether a saved machine is needed."""
        return self.evict or self.checkpoint


@dataclass(frozen=True, slots=True)
class Trials:
    """What was tried, and which of it counts as an expectation of the recipe."""

    eviction: Trial = FAILED
    checkpoint: Trial = FAILED
    expected: tuple[Expected, ...] = ()
    notes: tuple[str, ...] = ()


def wanted(recipe: Recipe | None, evict: bool | None, *, domain: bool = False) -> TrialRequest:
    """Return what to try with a job's guest; `evict` is the caller's choice, None the recipe's.

    A Xen `domain` would be saved together with Xen: that is not HTCondor's checkpoint, and takes as long as the boot,
    so its eviction is tried only on request.
    """
    if recipe is None:
        return TrialRequest()
    eviction = recipe.boot_test.evict if evict is None else evict
    return TrialRequest(
        evict=(eviction is True or (eviction is not False and not domain))
        and recipe.job is not None
        and recipe.job.then == "poweroff",
        must_obey=eviction is True,
        checkpoint=not domain and recipe.submit.checkpoint and recipe.job is not None,
    )


def at_the_end(seen: Observation, powered_off: bool) -> Trial:
    """Return the eviction of a guest that stays on: the button was pressed when it had reached its goal."""
    if seen.button is None:
        return NOT_ASKED
    seconds = round(seen.ended - seen.button, 2)
    return Trial(True, powered_off, seconds, "it powered off" if powered_off else "it did not power off")


@dataclass(frozen=True, slots=True)
class Resumption:
    """A saved machine, how QEMU resumes it, what to wait for, and the target of the job's disk."""

    saved: Checkpoint
    argv: Argv
    plan: BootPlan
    io: str | None


def run(
    request: TrialRequest, seen: Observation, powered_off: bool, resumption: Resumption | None, stages: Stages
) -> Trials:
    """Run the requested trials with a machine that has passed, resuming from its saved state."""
    eviction, checkpoint = at_the_end(seen, powered_off), NOT_ASKED
    if resumption is not None:
        saved, plan = resumption.saved, resumption.plan.paced(seen.phases, seen.starved_kernel)
        if request.evict:
            with stages.stage("eviction", "the power button while the job runs"):
                eviction = saved.evict(resumption.argv, plan, resumption.io)
        if request.checkpoint:
            with stages.stage("checkpoint", "saved and restored while the job runs"):
                checkpoint = saved.restore(resumption.argv, plan)
    expected = []
    if request.must_obey:
        expected.append(Expected(EVICTION, eviction.ok is True, eviction.seen))
    if request.checkpoint:
        expected.append(Expected(CHECKPOINT, checkpoint.ok is True, checkpoint.seen))
    notes = (f"{IGNORED}: {eviction.seen}",) if eviction.ok is False and request.evict and not request.must_obey else ()
    return Trials(eviction, checkpoint, tuple(expected), notes)
