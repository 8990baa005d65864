"""The program: its tasks, signals, and the end of a command. `ns` is the collection for tasks.py and `roost`."""

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

#: Signals that end a process unless handled: those of terminals, of batch systems and of the CPU time limit.
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


def end_task(number: int, _frame: object) -> None:
    """End the task: every `finally` of the main thread runs, which removes processes, locks and temporary files."""
    if interruption.interrupted():
        # Already ending: a second signal must not stop the cleanup.
        return
    interruption.interrupt(number)
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
    """Run a program's body: signals end it like an interruption, and clean up everything."""
    lastresort.open_standard_streams()
    terminal.answered.clear()
    for one in ENDING:
        # A signal ignored at the start (nohup) stays ignored.
        if signal.getsignal(one) is not signal.SIG_IGN:
            signal.signal(one, end_task)
    try:
        yield
    finally:
        if interruption.interrupted():
            # Threads may still be busy with unneeded work, and Python would wait for them.
            temporary.clear()
            if wants_json():
                # `verb` has written it, unless no task had begun.
                terminal.write_interruption()
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(interruption.status())


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
            # Also before an exit: otherwise Python itself would report what it cannot write.
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader has closed the pipe (`| head`).
        lastresort.drop_output()
        sys.exit(lastresort.CLOSED)
    except Exception as error:
        # Before or after a task: `verb` reports errors inside one.
        wrong = lastresort.told(error)
        if wants_json():
            with contextlib.suppress(RoostError, OSError):
                terminal.write_json(terminal.error_json(wrong))
        lastresort.drop_output()
        terminal.write_error(wrong)
        sys.exit(wrong.exit_code)
