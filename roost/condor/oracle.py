"""condor_submit's own parser, in a process of its own: `python -m roost.condor.oracle` (used by `judge`).

Reads one JSON string (a submit description) per line from standard input and answers each with one line of
JSON: {"accepted": bool, "message": str, "ad": {name: text}}. The extension module can crash, exit and block on
odd input, so whoever asks does so from outside, with a deadline. Each description is answered by a fork, so that
one that kills the process costs only its own answer; a description that hangs is killed after `SECONDS`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from typing import Any

SECONDS = 5


def answer(text: str) -> dict[str, Any]:
    """Return condor_submit's answer to one description, as the first job of cluster 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import htcondor
    try:
        # jobs() is the parser of condor_submit up to the job's ad; nothing is queued.
        ads = list(htcondor.Submit(text).jobs(count=1, clusterid=1))
    except Exception as error:
        return {"accepted": False, "message": str(error).strip() or "cannot be parsed", "ad": {}}
    ad = {str(name): str(value) for name, value in ads[0].items()} if ads else {}
    return {"accepted": True, "message": "", "ad": ad}


def _forked(text: str) -> dict[str, Any]:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        signal.alarm(SECONDS)
        # condor_submit's diagnostics go to standard output as well; only answers may.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.write(writing, json.dumps(answer(text)).encode()[: 1 << 16])
        os._exit(0)
    os.close(writing)
    chunks = []
    while chunk := os.read(reading, 1 << 16):
        chunks.append(chunk)
    os.close(reading)
    _, status = os.waitpid(child, 0)
    try:
        result: dict[str, Any] = json.loads(b"".join(chunks))
    except ValueError:
        result = {"accepted": False, "message": f"the parser died or hung (status {status})", "ad": {}}
    return result


def main() -> None:
    """Answer every line of standard input."""
    # A pool's configuration would make the verdict depend on this host.
    os.environ["CONDOR_CONFIG"] = os.devnull
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import htcondor  # noqa: F401 - loaded once, before the forks
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_forked(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
