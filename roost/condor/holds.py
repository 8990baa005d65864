"""HTCondor's hold and vacate codes that a vm-universe job can get, with their numbers and messages.

Sources: HTCondor manual, Job ClassAd Attributes, HoldReasonCode; condor_includes/condor_holdcodes.h. Codes 6, 12 and
13 can only be explained from the words of the hold reason: see `explain` and `transfer_failures`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from roost.condor.reasons import Reason, reason

SOURCE = "condor_includes/condor_holdcodes.h"
#: Codes from here on say why a job left its machine (VacateReasonCode); jobs are also held with them.
VACATE = 1000

#: `HoldReasonCode = 12`, `Code 12 Subcode 2`, `(code 12,2)`, `hold code 12`, `held with code 12`.
_NUMBERS = re.compile(
    r"(?<![A-Za-z])(exit|return|error|status)?[ _-]?(?:hold|vacate)?[ _]?(?:reason)?[ _]?code\W{0,4}(\d{1,4})\b"
    r"(?:\W{1,8}(?:hold|vacate)?(?:reason)?sub\W?code\W{0,4}(\d{1,9})\b|,\s?(\d{1,9})\b)?"
    r"|\b(?:hold|held)\W{1,3}(\d{1,4})\b",
    re.IGNORECASE,
)


def numbers(text: str) -> Iterator[tuple[int, int | None]]:
    """Yield the hold codes in a text with their subcodes; exit and return codes are not included."""
    for found in _NUMBERS.finditer(text):
        number = found[2] or found[5]
        if number is not None and not found[1]:
            subcode = found[3] or found[4]
            yield int(number), int(subcode) if subcode is not None else None


def _hold(number: int, words: str, meaning: str, cause: str, fix: str, *lint: str) -> Reason:
    # Without words, a pattern that never matches: the code is recognized whatever words come with it.
    pattern = words or r"(?!)"
    return reason(f"hold-{number}", pattern, f"{meaning} (hold code {number})", cause, fix, SOURCE, *lint)


HELD = (
    _hold(3, r"(?<!SYSTEM_)PERIODIC_HOLD|job attribute (?:PeriodicHold|OnExitHold)",
          "the job's own periodic_hold or on_exit_hold became true",
          "the description holds jobs that run too long or start too often; the guest may never power off",
          "see why it ran so long before releasing it"),
    _hold(26, r"SYSTEM_PERIODIC_HOLD", "the pool's own policy held the job",
          "SYSTEM_PERIODIC_HOLD became true, often after too many starts",
          "look at NumJobStarts: a job that libvirt refuses starts again and again", "dev-unknown", "fmt-unknown"),
    _hold(1, r"via condor_hold", "someone held the job", "condor_hold was called", "condor_release"),
    _hold(34, r"exceeded [^\n]{0,100}(?:request_disk|disk usage|memory)|(?:memory|disk) usage exceeded"
          r"|gone over (?:\w+ )?(?:memory|disk) limit", "the job used more than it asked for",
          "the disks grew beyond request_disk, or QEMU needs more than request_memory (the guest's memory and some "
          "100 MiB of its own)", "give request_disk from the disks' virtual sizes, and request_memory above vm_memory",
          "request-disk-thin", "request-disk-url", "request-disk-small", "memory-request"),
    _hold(32, r"max(?:imum)?.?transfer.?input|input files? (?:is|are) larger than|total size of input",
          "the input is larger than the pool or the job allows",
          "max_transfer_input_mb or MAX_TRANSFER_INPUT_MB is exceeded; a raw disk travels at its full size",
          "convert to qcow2, or publish the image on a shared path or by osdf://"),
    _hold(33, r"max(?:imum)?.?transfer.?output|output files? (?:is|are) larger than|total size of output",
          "the job ran, and its output is larger than the pool or the job allows",
          "max_transfer_output_mb or MAX_TRANSFER_OUTPUT_MB is exceeded; every disk that the guest wrote to comes back "
          "whole", "return only the io disk (transfer_output_files), and make it smaller", "tof-missing"),
    _hold(46, r"exceeded allowed (?:job )?duration", "the job took longer than allowed_job_duration",
          "the guest did not power off in time", "find out why; raise allowed_job_duration if the work needs it"),
    _hold(47, r"exceeded allowed execute duration", "the job ran longer than allowed_execute_duration",
          "the guest did not power off in time", "find out why; raise allowed_execute_duration if the work needs it"),
    _hold(21, r"\bWANT_HOLD\b", "the execute machine's own policy held the job",
          "WANT_HOLD became true there, most often because of memory, disk or time; the hold reason says which",
          "ask for what the job needs (request_memory, request_disk), or tell the machine's administrator",
          "memory-request"),
    _hold(14, r"(?:cannot|failed to|can't|unable to) access initial working dir",
          "the directory that the job was submitted from cannot be used",
          "the initial working directory (Iwd) does not exist any more, or may not be entered",
          "submit from a directory that stays, and that the job's owner may enter"),
    _hold(5, r"(?<!system )(?:job attribute|Periodic\w+|OnExit\w+)[^\n]{0,400}evaluated to UNDEFINED",
          "a policy expression of the job is undefined",
          "periodic_hold, periodic_remove or periodic_release names an attribute that the job does not have",
          "guard it with =?= undefined, or correct the attribute's name", "expression"),
    _hold(27, r"system macro[^\n]{0,400}evaluated to UNDEFINED", "the pool's own policy expression is undefined",
          "SYSTEM_PERIODIC_* names an attribute that the job does not have", "tell the pool's administrator"),
    _hold(7, r"Failed to open '[^'\n]{0,300}' as standard output", "the job's output file cannot be opened",
          "output or error is set: a vm job has neither", "remove output and error from the description", "stdio"),
    _hold(8, r"Failed to open '[^'\n]{0,300}' as standard input", "the job's input file cannot be opened",
          "input is set: a vm job has none", "remove input from the description", "stdio"),
    _hold(15, r"submitted on hold", "the job was submitted on hold", "hold = true, or condor_submit -spool",
          "condor_release"),
    _hold(16, r"Spooling input data files", "the job's input is being copied to the access point",
          "condor_submit -spool or -remote: the job is released when all files are there",
          "wait; if it stays, submit again"),
    _hold(19, r"HOOK_PREPARE_JOB|prepare job hook", "a hook of the execute machine refused the job",
          "HOOK_PREPARE_JOB ended with an error", "tell the machine's administrator"),
    _hold(22, r"(?:initialize|open|write)[^\n]{0,40} user log|user log [^\n]{0,200}(?:cannot|failed|unable)",
          "the job's event log cannot be written", "the file that `log` names cannot be made or written",
          "name a log in a directory that exists and that you may write to"),
    _hold(23, r"access user account|failed to (?:find|access) (?:the )?user", "the job's account cannot be used",
          "the access point does not know the owner of the job", "tell the pool's administrator"),
    _hold(17, r"", "the access point's shadow does not fit the job", "HTCondor was changed while the job was queued",
          "condor_release; else submit again"),
    _hold(24, r"no (?:compatible|available) shadow", "the access point has no shadow for this job",
          "the access point does not run vm-universe jobs (SHADOW)", "tell the pool's administrator"),
    _hold(18, r"transfer.?go.?ahead", "the transfer of files never got its turn",
          "the access point's transfer queue failed", "condor_release; if it repeats, tell the administrator"),
    _hold(11, r"transfer.?ack", "the transfer of files ended without an answer",
          "the connection between access point and execute machine broke", "condor_release"),
    _hold(4, r"corrupted credential|Job credentials are not available",
          "the job's credentials cannot be used", "a token or proxy is missing, damaged or expired",
          "make new credentials and release the job"),
    _hold(36, r"failed to checkpoint|checkpoint exit", "the checkpoint of the job failed",
          "vm_checkpoint is on, and the machine could not be saved", "drop vm_checkpoint", "ckpt-transfer"),
    _hold(43, r"pre.?script failed|PreCmd", "the script before the job failed", "+PreCmd ended with an error",
          "run the script by hand in a copy of the job's directory"),
    _hold(44, r"post.?script failed|PostCmd", "the script after the job failed", "+PostCmd ended with an error",
          "run the script by hand in a copy of the job's directory"),
    _hold(48, r"", "a hook of the access point refused the job", "SHADOW_HOOK_PREPARE_JOB ended with an error",
          "tell the pool's administrator"),
    _hold(1020, r"internal error occurred while managing the VM|"
          r"internal error prevented HTCondor from starting the VM(?![^\n]{0,200}VMGAHP_ERR)",
          "the execute machine's vm-gahp failed while it managed the virtual machine",
          "libvirt refused the machine or lost it; the job's log only says so, the words are in VMGahpLog of the "
          "execute machine", "look into VMGahpLog of the execute machine for libvirt's words and explain those",
          "dev-unknown", "dev-duplicate", "fmt-unknown", "fmt-mismatch", "iso-substring"),
)  # fmt: skip


def _vacate(number: int, meaning: str, cause: str, fix: str) -> Reason:
    return reason(f"vacate-{number}", r"(?!)", f"{meaning} (code {number})", cause, fix, SOURCE)


_AGAIN = "the job goes back to the queue and starts again from the beginning"
_WAIT = "nothing to do: it starts elsewhere; keep jobs short if they must survive this"

VACATED = (
    _vacate(1000, "the job's own periodic_vacate became true", "the description says so", "see periodic_vacate"),
    _vacate(1001, "the pool's own policy sent the job back", "SYSTEM_PERIODIC_VACATE became true", _WAIT),
    _vacate(1002, "the shadow failed", _AGAIN, "explain the words that come with it"),
    _vacate(1003, "the job was not started", _AGAIN, "explain the words that come with it"),
    _vacate(1004, "someone sent the job back", "condor_vacate_job was called", _WAIT),
    _vacate(1005, "the job was to be queued again", _AGAIN, "explain the words that come with it"),
    _vacate(1006, "the machine did not take the job", "the claim could not be activated", _WAIT),
    _vacate(1007, "the starter on the execute machine failed", "a vm job that cannot start its machine ends so",
            "look into StarterLog and VMGahpLog of the machine and explain their words"),
    _vacate(1008, "the access point lost the machine", "the network or the machine was gone longer than the lease",
            _WAIT),
    _vacate(1009, "the claim was given up", _AGAIN, _WAIT),
    *(_vacate(number, "the execute machine sent the job back", cause, _WAIT)
      for number, cause in (
          (1010, "condor_vacate was called there"), (1011, "its PREEMPT expression became true"),
          (1012, "its startd failed"), (1013, "it was shut down"), (1014, "it is being drained"),
          (1015, "its slots were put together"), (1016, "it went to sleep"), (1017, "its claim was released"),
          (1018, "it prefers another job (RANK)"), (1019, "another user has a better priority"))),
)  # fmt: skip

BY_NUMBER = {int(one.code.rpartition("-")[2]): one for one in (*HELD, *VACATED)}
