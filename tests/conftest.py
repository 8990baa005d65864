"""What holds for all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# A run that fails must fail again, in CI above all. `HYPOTHESIS=random` looks for what these examples do not find.
# No deadline for one example: a busy machine makes any of them slow. pytest-timeout stops what hangs.
settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("random", print_blob=True, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS", "same"))
