"""condor_submit's own parser in a separate process: `python -m roost.condor.oracle` (used by `judge`).

Reads one JSON string (a submit description) per line from standard input and answers each with one line of
JSON: {"accepted": bool or null, "message": str, "ad": {name: text}}. The extension module can crash, exit and block on
odd input, so it runs apart from its caller, with a deadline. Each description is parsed in a fork, so that one that
kills the process costs only its own answer; one that exceeds `SECONDS` or `MEMORY` is killed and gets no verdict:
`accepted` is null.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import warnings
from typing import Any

SECONDS, MEMORY = 5, 2 << 30
#: Size limit of an answer in bytes.
ANSWER = 16 << 20


def answer(text: str) -> dict[str, Any]:
    """Return condor_submit's answer to one description, parsed as the first job of cluster 1."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import htcondor
    try:
        # jobs() is condor_submit's parser up to the job's ad; nothing is queued.
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
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(SECONDS)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # condor_submit's diagnostics also go to standard output, which is for answers only.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(json.dumps(answer(text)).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read(ANSWER)
    _, status = os.waitpid(child, 0)
    try:
        result: dict[str, Any] = json.loads(data)
    except ValueError:
        result = {"accepted": None if os.WIFSIGNALED(status) else False, "message": _death(status), "ad": {}}
    return result


def _death(status: int) -> str:
    """Return how the parser ended without an answer, in words."""
    if not os.WIFSIGNALED(status):
        return f"the parser exited with status {os.waitstatus_to_exitcode(status)}"
    if os.WTERMSIG(status) == signal.SIGALRM:
        return f"it did not end within {SECONDS} s"
    return f"it was killed by signal {os.WTERMSIG(status)}"


def main() -> None:
    """Answer each line of standard input."""
    # The configuration of a pool would make the verdict depend on this host.
    os.environ["CONDOR_CONFIG"] = os.devnull
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import htcondor  # noqa: F401 - loaded once, before the forks
    for line in sys.stdin:
        sys.stdout.write(json.dumps(_forked(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
