"""`python -m docs.generate`: writes docs/reference."""

from __future__ import annotations

from docs.generate.pages import REFERENCE, pages

for name, text in pages().items():
    (REFERENCE / name).write_text(text)
