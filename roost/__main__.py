"""`python -m roost TASK`, which `./inv` runs, and the installed `roost` command."""

import signal
import sys

from roost.cli import calls, encoding, greeting


def main() -> None:
    """Run the tasks named on the command line; what they need is imported here."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Until roost's own handler is there Ctrl-C ends this as it ends any program: without a traceback of an import.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    greeting.require_python()
    encoding.require_utf8()
    calls.remember(sys.argv[0])
    greeting.greet(sys.argv[1:])
    # Only now: it imports the tasks.
    from roost.cli import light

    light.load_invoke()
    from roost.cli import main as program

    program.main()


if __name__ == "__main__":
    main()
