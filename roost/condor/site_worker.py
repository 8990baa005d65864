"""The child of `site`: renders a submit description with a site's templates and answers in one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from roost.condor import layout
from roost.host import confined, template_worker


def main() -> None:
    """Run the request on standard input."""
    confined.confine()
    request = json.load(sys.stdin)
    made = layout.environment([Path(one) for one in request["directories"]], Path(request["own"]))
    confined.answer(template_worker.answer(lambda: made.get_template(request["template"]), request["values"]))


if __name__ == "__main__":
    main()
