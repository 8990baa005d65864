"""Ask condor_submit's own parser: the local condor_submit with -dry-run if installed, else the htcondor wheel.

It is not asked about a description that runs commands (`include command`, `queue from COMMAND |`): parsing would
run them, and lint runs nothing that a description names. Nor is it asked about one that names a device or a FIFO,
which might be opened, or about more jobs than the first if that one is not known. It gets a few seconds; a timeout
gives no verdict and is not a refusal.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from roost.condor.rules.model import shown
from roost.condor.submit import first_job
from roost.condor.submit.description import Description, Variable
from roost.errors import RoostError
from roost.host import jsontext, process, temporary

SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """Which parser was asked and its answer; `accepted` is None without a verdict, `line` 0 if it is not known."""

    judge: str
    accepted: bool | None
    message: str
    line: int = 0
    hint: str | None = None


_NOT_RUN = "condor_submit was not asked: it would run the commands of the description"
#: Refusals because of a missing file: a description can be linted without the files that it names.
_ABSENT = re.compile(r"No such (?:file or )?directory|can't open|unable to (?:read|open)", re.IGNORECASE)


def ask(text: str, directory: Path, description: Description, variables: Sequence[Variable] = ()) -> Judgement:
    """Return condor_submit's verdict on this text, which was read as `description`; its files are in `directory`.

    `variables` are set from outside.
    """
    if description.runs_commands:
        return Judgement("", None, _NOT_RUN, hint="lint what the commands print as well")
    if description.incomplete:
        hint = "lint it where its includes are, or with condor_submit -dry-run on the access point"
        return Judgement("", None, "condor_submit was not asked: a part of the description is not here", hint=hint)
    special = next((name for name in _names(description) if _is_special(directory / name)), None)
    if special is not None:
        what = f"condor_submit was not asked: it would open {shown(special)}, which is not a file"
        return Judgement("", None, what, hint="name a file")
    short = first_job.short(text, description)
    if short is None or any("\n" in one.value.text or one.value.text.endswith("\\") for one in variables):
        why = "it would make all of the jobs" if short is None else "no line can set what VARS set"
        return Judgement("", None, f"condor_submit was not asked: {why}", hint="lint it where its files are")
    before = [_assignment(one) for one in variables if not one.append]
    whole = _appended(short, [_assignment(one) for one in variables if one.append], description.inline)
    verdict = _someone("\n".join([*before, whole]), directory)
    verdict = replace(verdict, line=max(0, verdict.line - len(before)))
    if verdict.accepted is False and _ABSENT.search(verdict.message):
        what = f"condor_submit cannot tell: {verdict.message}"
        return Judgement(verdict.judge, None, what, hint="lint it where the files that it names are")
    return verdict


def _assignment(variable: Variable) -> str:
    return f"{variable.name} = {variable.value.text}"


def _appended(text: str, after: Sequence[str], inline: bool) -> str:
    """Return a description with assignments added before its queue statement; an inline one gets a statement."""
    if inline:
        return "\n".join([text, *after, "queue", ""])
    lines = text.split("\n")
    at = next((number for number, line in enumerate(lines) if re.match(r"\s*queue(?:\s|$)", line, re.IGNORECASE)), None)
    if at is None or not after:
        return "\n".join([text, *after]) if after else text
    return "\n".join([*lines[:at], *after, *lines[at:]])


def _names(description: Description) -> Iterator[str]:
    """Yield every string that may name a file that condor_submit opens."""
    yield from description.opened
    yield from (queue.file.text for queue in description.queues if queue.file is not None)
    yield from (entry.value.text.strip('"') for entry in description.assignments)


def _is_special(path: Path) -> bool:
    """Return whether the path is something that must not be opened: a device, a FIFO, a socket; not /dev/null."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and os.fspath(path) != os.devnull


def _someone(text: str, directory: Path) -> Judgement:
    if process.which("condor_submit"):
        verdict = _dry_run(text, directory)
        if verdict.accepted is not None:
            return verdict
    if importlib.util.find_spec("htcondor") is None:
        return Judgement("", None, "condor_submit was not asked: neither it nor the htcondor package is installed")
    return _wheel(text, directory)


def _dry_run(text: str, directory: Path) -> Judgement:
    with temporary.directory("lint") as scratch:
        file = Path(scratch) / "description.sub"
        file.write_text(text, "utf-8", "replace", newline="")
        argv = ["condor_submit", "-dry-run", str(Path(scratch) / "ads"), str(file)]
        try:
            # condor_submit spreads its message over standard output and standard error.
            with (
                Path(scratch, "said").open("w+b") as output,
                process.spawn(argv, cwd=directory, stdout=output, stderr=output) as run,
            ):
                status = run.wait(SECONDS)
                output.seek(0)
                words = process.tail(output.read(), 6)
        except (RoostError, OSError, TimeoutError) as error:
            return Judgement("condor_submit -dry-run", None, str(error))
        except Exception as error:
            return Judgement("condor_submit -dry-run", None, str(error))
    if status == 0:
        return Judgement("condor_submit -dry-run", True, "")
    if re.search(r"(?i)config|permission|unable to|no 'queue'|can't find address", words):
        # A host that is not set up, or a description to be pasted: no verdict on its lines.
        return Judgement("condor_submit -dry-run", None, words)
    line = re.search(r"(?i)line (\d+)", words)
    return Judgement("condor_submit -dry-run", False, " ".join(words.split()), int(line[1]) if line else 0)


def _wheel(text: str, directory: Path) -> Judgement:
    name = "condor_submit's parser (htcondor package)"
    try:
        done = process.run(
            [sys.executable, "-m", "roost.condor.oracle"],
            deadline=SECONDS,
            stdin=(json.dumps(text) + "\n").encode(),
            capture=True,
            check=False,
            cwd=directory,
        )
        answer = jsontext.loads(done.text.splitlines()[-1])
    except RoostError as error:
        return Judgement(name, None, f"condor_submit's parser gave no answer: {error}")
    except (ValueError, IndexError):
        return Judgement(name, None, "condor_submit's parser gave no answer in JSON")
    if answer["accepted"] is None:
        return Judgement(name, None, f"condor_submit's parser could not be asked: {answer['message']}")
    line = re.search(r"(?i)line (\d+)", answer["message"])
    return Judgement(name, bool(answer["accepted"]), " ".join(answer["message"].split()), int(line[1]) if line else 0)
