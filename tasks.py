"""`invoke TASK` from a checkout: the same tasks as the installed `roost` command."""

from roost.cli.main import ns

__all__ = ["ns"]
