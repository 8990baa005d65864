"""What holds for all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# A run that fails must fail again, in CI above all. `HYPOTHESIS=random` looks for what these examples do not find.
settings.register_profile("same", derandomize=True)
settings.register_profile("random", print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS", "same"))
