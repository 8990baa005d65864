"""What a person types and reads: a module per group of tasks, the parser, the terminal, all rendering."""

import atexit
import gc as collector
import os

# A short command loads hundreds of modules, nothing of which is ever garbage: looking for it again and again, and once
# more at the end, takes a sixth of its time. What a long one lets go of in circles is collected all the same.
collector.set_threshold(50_000, 20, 20)
atexit.register(collector.freeze)
# pydantic reads what every package of the host says of itself, to find plugins that could change what a recipe means.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
