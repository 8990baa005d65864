"""The pages that are tables: codes of lint, causes of a failed boot, exit codes, manifest.json, the environment."""

from __future__ import annotations

from typing import get_args

from docs.generate import words
from docs.generate.markdown import head, prose, row
from roost.boot.verdict import Cause
from roost.boot.watch import Phase
from roost.condor import dag_lint  # noqa: F401 - its rules are about workflows, and in the same table
from roost.condor.rules import ALL, Effect, Rule
from roost.errors import HostError, ImageError, UsageError

_MADE = "Made from roost's code by `python -m docs.generate`."
_EFFECTS = {
    Effect.REJECTED: "condor_submit refuses the description",
    Effect.HASVM_FALSE: "the job is requeued, and the machine advertises HasVM = False: it takes no vm job any more",
    Effect.HELD: "the job is held",
    Effect.IDLE: "the job stays idle for ever",
    Effect.RUNS_FOREVER: "the job runs for ever",
    Effect.WRONG_DATA: "the data is wrong, or lost without a word",
    Effect.OK: "HTCondor runs it",
}
_CODES = {
    0: "All is well: what the task promises holds.",
    ImageError.exit_code: "The image, the file, the job or the submit description is at fault.",
    UsageError.exit_code: "The call or the recipe is wrong.",
    HostError.exit_code: "The host lacks something: a tool, a permission, space, memory, the network. `inv doctor`.",
    130: "The task was interrupted by Ctrl-C. Nothing half-made is left.",
    141: "The reader of the output closed it early (`| head`).",
    143: "The task was ended by SIGTERM. Another signal N gives 128 + N: 129 for SIGHUP. Nothing half-made is left.",
}


def _lines(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def lint_codes() -> str:
    """Return the page of lint's codes, the worst effects first."""
    lines = [
        "# Codes of inv lint", "", _MADE, "",
        "`inv lint FILE` says what HTCondor would do with a submit description of the vm universe. Each finding has a",
        "code, a severity (an error is certain, a warning depends on what lint cannot see, a note only informs), the",
        "place, and what to do. `effect` of `--json` is the worst that would happen. Where a rule has another effect",
        "in some cases, its finding says so. [What HTCondor does with a vm job](../vm-universe.md) has the facts.", "",
    ]  # fmt: skip
    for effect in Effect:
        rules = sorted((rule for rule in ALL.values() if rule.effect is effect), key=lambda rule: rule.code)
        lines += [f"## {effect}", "", f"What happens: {_EFFECTS[effect]}.", ""]
        lines += [*head("code", "severity", "what to do", "source"), *map(_rule, rules), ""]
    return "\n".join(lines)


def _rule(rule: Rule) -> str:
    return row(f"`{rule.code}`", str(rule.severity), prose(rule.hint), prose(rule.source))


def causes() -> str:
    """Return the page of what a test boot may end with."""
    return _lines(
        "# Causes of a failed boot", "", _MADE, "",
        "A verdict (`inv boot NAME --json`, boot/kvm.json, boot/report.html) names the phase that the boot reached,",
        "and one cause if it failed. [Debugging a failed boot](../guides/failed-boot.md) goes through one.", "",
        *head("cause", "what was seen", "what to do"),
        *(row(f"`{one}`", *words.CAUSES[one]) for one in get_args(Cause)),
        "", "## Phases", "",
        *head("phase", "what belongs to it"),
        *(row(f"`{one}`", words.PHASES[one]) for one in get_args(Phase)),
    )  # fmt: skip


def exit_codes() -> str:
    """Return the page of exit codes."""
    return _lines(
        "# Exit codes", "", _MADE, "", "They are the same for every task.", "",
        *head("code", "meaning"),
        *(row(f"`{code}`", text) for code, text in _CODES.items()),
        "",
        "With `--json` a failure is an object too, with all mistakes in `problems`:", "",
        "```text",
        '{"ok": false, "error": {"problems": [{"what", "file", "line", "column", "hint"}], "log", "tail"}}',
        "```", "",
        "A task that a signal interrupts prints one, too, unless it has already begun to print its result.", "",
        "`inv check --json` and `inv kernels --json` have `error` too, null when nothing is wrong; `inv check` has one",
        "for each recipe as well. The `problems` beside it are the same mistakes as lines.", "",
        "Of several images the highest code counts.",
    )  # fmt: skip


def manifest() -> str:
    """Return the page of manifest.json."""
    return _lines(
        "# Keys of manifest.json", "", _MADE, "",
        "A build writes manifest.json last: a directory that has one is whole.", "",
        *head("key", "what it is"),
        *(row(f"`{key}`", text) for key, text in words.MANIFEST.items()),
    )  # fmt: skip


def environment() -> str:
    """Return the page of environment variables."""
    titles = {
        "you": "That you may set",
        "site": "Of domain-xml, on an execution point",
        "job": "That the job finds in the guest",
        "roost": "Of roost's own programs",
    }
    lines = ["# Environment variables", "", _MADE]
    for who, title in titles.items():
        rows = [(name, default, what) for name, (of, default, what) in words.ENVIRONMENT.items() if of == who]
        lines += ["", f"## {title}", "", *head("variable", "default", "what it is")]
        lines += [row(f"`{name}`", default, what) for name, default, what in rows]
    lines += ["", "## Of others", "", *head("variable", "what roost does with it")]
    lines += [row(name, what) for name, what in words.OTHERS.items()]
    return _lines(*lines)
