"""`python -m roost TASK`: what `./inv` runs, as the installed `roost` command does."""

import sys

from roost.cli import greeting

if __name__ == "__main__":
    # Before the tasks are imported.
    greeting.require_python()
    greeting.greet(sys.argv[1:])
    from roost.cli.main import main

    main()
