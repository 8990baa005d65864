"""`python -m roost TASK`: what `./inv` and the installed `roost` command run."""

from roost.cli.main import main

if __name__ == "__main__":
    main()
