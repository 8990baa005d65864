"""The program: its tasks, signals, and the end of a command. `ns` is what tasks.py and the `roost` command run."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from invoke.collection import Collection

import roost
from roost.cli import (
    boot,
    build,
    catalogue,
    checkout,
    compare,
    doctor,
    factory,
    gc,
    jobs,
    kernels,
    lastresort,
    new,
    probe,
    publish,
    recipes,
    run,
    submit,
    terminal,
)
from roost.cli.program import Roost, wants_json
from roost.errors import RoostError
from roost.host import interruption, temporary

#: The exit status of a task that a signal ended.
INTERRUPTED = 130
#: Signals that end a process unless it handles them: those of terminals, of batch systems and of the limit of CPU time.
ENDING = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGXCPU,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
)


def end_task(_signal: int, _frame: object) -> None:
    """End the task: every `finally` of the main thread runs, so that processes, locks and temporary files go."""
    if interruption.interrupted():
        # It is ending already: a second signal must not stop the cleaning up.
        return
    interruption.interrupt()
    raise KeyboardInterrupt


ns = Collection(
    doctor.doctor,
    probe.probe,
    new.new,
    recipes.recipes,
    recipes.check,
    recipes.schema,
    build.build,
    build.lock,
    build.repro,
    boot.boot,
    boot.shell,
    boot.ssh,
    submit.submit,
    submit.lint,
    submit.explain,
    jobs.io,
    jobs.collect,
    run.run,
    checkout.test,
    checkout.check_code,
    checkout.bench,
    publish.publish,
    publish.verify,
    catalogue.catalogue,
    compare.packages,
    compare.diff,
    factory.factory,
    kernels.kernels,
    gc.gc,
)


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Run a program's body: signals end it as an interruption does, and nothing of it is left then."""
    lastresort.open_standard_streams()
    for one in ENDING:
        # Who is started with a signal ignored (nohup) keeps it so.
        if signal.getsignal(one) is not signal.SIG_IGN:
            signal.signal(one, end_task)
    try:
        yield
    finally:
        if interruption.interrupted():
            # Threads may still be busy with what nobody wants any more: Python would wait for them.
            temporary.clear()
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(INTERRUPTED)


def main() -> None:
    """Run the tasks named on the command line."""
    with ending():
        _run()


def _run() -> None:
    try:
        binary = "./inv" if Path("inv").is_file() else "roost"
        try:
            Roost(name="roost", version=roost.__version__, namespace=ns, binary=binary).run()
        finally:
            # Also before an exit: what Python cannot write after it, it says in words of its own.
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read it has had enough (`| head`).
        lastresort.drop_output()
        sys.exit(lastresort.CLOSED)
    except Exception as error:
        # Before or after a task: one that fails inside is told by its `verb`.
        wrong = lastresort.told(error)
        if wants_json():
            with contextlib.suppress(RoostError, OSError):
                terminal.write_json(terminal.error_json(wrong))
        lastresort.drop_output()
        terminal.write_error(wrong)
        sys.exit(wrong.exit_code)
