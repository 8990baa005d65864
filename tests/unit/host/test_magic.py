"""What a file is by its first bytes, and text of strangers in each of its forms."""

from __future__ import annotations

import pytest

from roost.host import magic, safetext

FORMS = [(kind, offset, form) for kind, forms in magic.SIGNATURES.items() for offset, form in forms]


@pytest.mark.parametrize(("kind", "offset", "form"), FORMS)
def test_each_form_is_seen_at_its_place_only(kind: str, offset: int, form: bytes) -> None:
    head = b"x" * offset + form + bytes(64)
    assert magic.begins(head, kind)
    assert not magic.begins(b"x" + head, kind)
    assert not magic.begins(head[: offset + len(form) - 1], kind)


def test_the_first_of_the_kinds_that_are_asked_for() -> None:
    head = magic.SIGNATURES["gzip"][0][1].ljust(257, b"\0") + b"ustar"
    assert magic.kind(head, ("tar", "gzip")) == "tar"
    assert magic.kind(head, ("gzip", "tar")) == "gzip"
    assert magic.kind(head, ("xz", "zstd")) is None
    assert magic.kind(b"", magic.SIGNATURES) is None


def test_each_purpose_has_its_rule() -> None:
    text = "a\u202eb\xa0c\td\udc80\x1b["
    assert safetext.safe(text) == "a\\u202eb\xa0c\td\\x80\\x1b["
    assert safetext.one_line(text) == "a\\u202eb\xa0c\\td\\x80\\x1b["
    assert safetext.escaped(text) == "a\\u202eb\\xa0c\\td\\x80\\x1b["
    assert safetext.printable(text, "?") == "a?b?c?d??["
    assert safetext.printable(text, "?", keep="\t") == "a?b?c\td??["
