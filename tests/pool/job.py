"""What a pool is asked to run, and what became of it: plain data that both sides of the name space share."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

#: completed: the guest is gone. held, removed: by HTCondor. refused: by condor_submit. requeued: event 021 and back to
#: idle, as after any error of libvirt. timeout: none of these until the pool's deadline; `status` says what it did.
Outcome = Literal["completed", "held", "requeued", "refused", "removed", "timeout"]

STATUS = {1: "idle", 2: "running", 3: "removed", 4: "completed", 5: "held", 6: "transferring output", 7: "suspended"}


@dataclass(frozen=True, slots=True)
class Job:
    """A submit description; the directory it lies in is copied to the access point. `name` is unique in a pool.

    With `shared` the copy is also at the directory's own path, on all machines, as on a shared file system. With
    `session` the file is no description but a program, which root runs on the access point, in the directory: it calls
    roost and HTCondor as a user would, and its exit status is the result's.
    """

    name: str
    submit: Path
    shared: bool = False
    session: bool = False


@dataclass(frozen=True, slots=True)
class JobResult:
    """What became of one process of a cluster (`id` is CLUSTER.PROCESS, empty when condor_submit refused).

    `exit_code` and `wall` (seconds) are those of a completed job; `code`, `subcode` and `reason` those of a held one
    (`reason` also of a refused, removed or requeued one: condor_submit's text, RemoveReason, the text of event 021).
    `has_vm` is the execution point's HasVM after a requeue. `events` is the job's part of the pool's event log, `xml`
    the domain that HTCondor's script made, `console` what the guest wrote to its serial port. `directory` is the copy
    of the submit description's directory, with what came back.
    """

    name: str
    id: str
    outcome: Outcome
    directory: Path
    status: str = ""
    exit_code: int | None = None
    wall: float | None = None
    code: int | None = None
    subcode: int | None = None
    reason: str = ""
    has_vm: bool | None = None
    events: str = ""
    xml: str = ""
    console: str = ""
    ended_after: float = 0.0

    def said(self) -> str:
        """Return what a session said, once it has ended well."""
        log = (self.directory / "session.log").read_text()
        assert (self.outcome, self.exit_code) == ("completed", 0), log
        return log

    def facts(self) -> dict[str, Any]:
        """Return what a session saw (`sessions.access_point.keep`), once it has ended well."""
        self.said()
        facts: dict[str, Any] = json.loads((self.directory / "facts.json").read_text())
        return facts

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON has them."""
        return {**asdict(self), "directory": str(self.directory)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> JobResult:
        """Return what `to_json` was made from."""
        return cls(**{**fields, "directory": Path(fields["directory"])})
