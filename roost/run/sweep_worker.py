"""The child of `table`: renders a sweep's templates for each of its jobs, with one answer per job.

The templates are the same for all jobs, so each is parsed once.
"""

from __future__ import annotations

import functools
import json
import sys

from roost.host import confined
from roost.host.files import size_in_words
from roost.host.template_worker import answer, environment

#: The maximum number of characters of one rendered template for one job, and of all of them.
CELL, ALL = 1 << 16, 32 << 20


def main() -> None:
    """Run the request on standard input."""
    confined.confine()
    request = json.load(sys.stdin)
    read = functools.cache(environment().from_string)
    left = ALL
    for row in request["rows"]:
        values = dict(zip(request["axes"], row, strict=True))
        texts = []
        for number, source in enumerate(request["sources"]):
            reply = answer(functools.partial(read, source), values)
            left -= len(reply.get("text", ""))
            if len(reply.get("text", "")) > CELL:
                reply = {"what": f"the template renders to more than {size_in_words(CELL)} for one job", "line": 0}
            elif left < 0:
                reply = {"what": f"the templates render to more than {size_in_words(ALL)} in all", "line": 0}
            if "what" in reply:
                confined.answer({"what": reply["what"], "line": reply["line"], "template": number})
                return
            texts.append(reply["text"])
        confined.answer({"texts": texts})


if __name__ == "__main__":
    main()
