"""The rules of HTCondor's vm universe, each defined once: what is wrong, what HTCondor then does, how to fix it.

`model` defines rules and findings; the other modules hold the rules by subject, each as data beside the function
that applies it. `ALL` maps every rule by its code, for the explanations and for the documentation.
"""

from __future__ import annotations

from roost.condor.rules import devices, disks, files, machine, policy, reading, returned, transfer, universe, xen
from roost.condor.rules.model import CHECKS, RULES, Effect, Finding, Rule, Severity, Stage
from roost.condor.rules.view import JobView

__all__ = [
    "ALL",
    "CHECKS",
    "Effect",
    "Finding",
    "JobView",
    "Rule",
    "Severity",
    "Stage",
    "devices",
    "disks",
    "files",
    "machine",
    "policy",
    "reading",
    "returned",
    "transfer",
    "universe",
    "xen",
]

ALL = RULES
