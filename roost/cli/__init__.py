"""The command line: a module per group of tasks, the parser, the terminal, all rendering."""

import atexit
import gc as collector
import os

# A short command loads hundreds of modules, none of which becomes garbage: the default collections, and another one at
# exit, take a sixth of its time. Cycles of long commands are still collected; a build that finds nothing to do makes
# some 95,000 objects.
collector.set_threshold(150_000, 20, 20)
atexit.register(collector.freeze)
# pydantic would read the metadata of every installed package to find plugins, which could change a recipe's meaning.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
