"""Ask condor_submit itself: the local one with -dry-run where there is one, else its parser from the htcondor wheel.

Neither is asked about a description that runs commands (`include command`, `queue from COMMAND |`): parsing it
would run them, and lint runs nothing that a description says.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from roost.errors import RoostError
from roost.host import jsontext, process, temporary

SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who was asked and what he said; `accepted` is None when nobody could be asked. `line` is 0 when not told."""

    judge: str
    accepted: bool | None
    message: str
    line: int = 0


#: Refusals for want of a file: a description can be linted without the files that it names.
_ABSENT = re.compile(r"No such (?:file or )?directory|can't open|unable to (?:read|open)", re.IGNORECASE)


def ask(text: str, folder: Path, *, runs_commands: bool = False, incomplete: bool = False) -> Verdict:
    """Return what condor_submit says of a description whose files are in `folder`.

    `incomplete`: the description includes files that are not at hand, or templates of a site.
    """
    if runs_commands:
        return Verdict("", None, "condor_submit was not asked, for it would run the commands of the description")
    if incomplete:
        return Verdict("", None, "condor_submit was not asked, for a part of the description is not here")
    verdict = _someone(text, folder)
    if verdict.accepted is False and _ABSENT.search(verdict.message):
        return Verdict(verdict.judge, None, f"condor_submit cannot tell: {verdict.message}")
    return verdict


def _someone(text: str, folder: Path) -> Verdict:
    if process.which("condor_submit"):
        verdict = _dry_run(text, folder)
        if verdict.accepted is not None:
            return verdict
    if importlib.util.find_spec("htcondor") is None:
        return Verdict("", None, "condor_submit was not asked: neither it nor the htcondor package is installed")
    return _wheel(text, folder)


def _dry_run(text: str, folder: Path) -> Verdict:
    with temporary.directory("lint") as scratch:
        file = Path(scratch) / "description.sub"
        file.write_text(text, "utf-8", "replace", newline="")
        argv = ["condor_submit", "-dry-run", str(Path(scratch) / "ads"), str(file)]
        try:
            # Standard error joins standard output: condor_submit spreads its complaint over both.
            with (
                Path(scratch, "said").open("w+b") as said,
                process.spawn(argv, cwd=folder, stdout=said, stderr=said) as run,
            ):
                status = run.wait(SECONDS)
                said.seek(0)
                words = process.tail(said.read(), 6)
        except (RoostError, OSError, TimeoutError) as error:
            return Verdict("condor_submit -dry-run", None, str(error))
        except Exception as error:
            return Verdict("condor_submit -dry-run", None, str(error))
    if status == 0:
        return Verdict("condor_submit -dry-run", True, "")
    if re.search(r"(?i)config|permission|unable to|no 'queue'|can't find address", words):
        # The host is not set up, or the description is only to be pasted: that says nothing about its lines.
        return Verdict("condor_submit -dry-run", None, words)
    line = re.search(r"(?i)line (\d+)", words)
    return Verdict("condor_submit -dry-run", False, " ".join(words.split()), int(line[1]) if line else 0)


def _wheel(text: str, folder: Path) -> Verdict:
    name = "condor_submit's parser (htcondor package)"
    try:
        done = process.run(
            [sys.executable, "-m", "roost.condor.oracle"],
            deadline=SECONDS,
            stdin=(json.dumps(text) + "\n").encode(),
            capture=True,
            check=False,
            cwd=folder,
        )
        answer = jsontext.loads(done.text.splitlines()[-1])
    except (RoostError, ValueError, IndexError) as error:
        return Verdict(name, None, f"condor_submit's parser gave no answer: {error}")
    line = re.search(r"(?i)line (\d+)", answer["message"])
    return Verdict(name, bool(answer["accepted"]), " ".join(answer["message"].split()), int(line[1]) if line else 0)
