"""Loads invoke without the parts that roost does not use, which take a sixth of the time of a short command.

invoke has a YAML reader for settings files, which roost does not read, a mock of its context for tests, which loads
unittest.mock, asyncio and ssl, and looks up its own version among all packages. While invoke is loaded, modules with
nothing else than what it imports take their places.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

#: The modules, with the names that invoke uses of them while it is loaded.
UNUSED: dict[str, dict[str, object]] = {
    "importlib.metadata": {"version": lambda _name: ""},
    "invoke.vendor.yaml": {},
    "unittest.mock": {"Mock": None},
}


def load_invoke() -> None:
    """Load invoke, unless it is loaded; whoever imports one of the unused modules later gets the module itself."""
    if "invoke" in sys.modules:
        return
    replaced = [name for name in UNUSED if name not in sys.modules]
    for name in replaced:
        sys.modules[name] = module = ModuleType(name)
        vars(module).update(UNUSED[name])
    try:
        importlib.import_module("invoke")
    finally:
        for name in replaced:
            del sys.modules[name]
