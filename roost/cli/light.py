"""Loads invoke without the parts that roost does not use, which take a sixth of the time of a short command.

invoke has a YAML reader for settings files, which roost does not read, and a mock of its context for tests, which loads
unittest.mock, asyncio and ssl. While invoke is loaded, empty modules take their places.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

#: The modules, and the name that invoke imports from one of them.
UNUSED = {"invoke.vendor.yaml": (), "unittest.mock": ("Mock",)}


def load_invoke() -> None:
    """Load invoke, unless it is loaded; whoever imports one of the unused modules later gets the module itself."""
    if "invoke" in sys.modules:
        return
    replaced = [name for name in UNUSED if name not in sys.modules]
    for name in replaced:
        sys.modules[name] = module = ModuleType(name)
        for one in UNUSED[name]:
            setattr(module, one, None)
    try:
        importlib.import_module("invoke")
    finally:
        for name in replaced:
            del sys.modules[name]
