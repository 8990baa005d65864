"""Untrusted JSON: what is wrong with it, in words that are not those of Python's parser."""

from __future__ import annotations

import json

import pytest

from roost.host import jsontext


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "not JSON: line 1, column 1: a value is missing"),
        (b'{"a": 1,\n "b" 2}', "not JSON: line 2, column 6: a ':' is missing after a key"),
        (b'{"a": 1 "b": 2}', "not JSON: line 1, column 9: a ',' or a closing bracket is missing"),
        (b"{a: 1}", "not JSON: line 1, column 2: a key in double quotes is missing"),
        (b"1 2", "not JSON: line 1, column 3: something follows the value"),
        (b'"x', "not JSON: line 1, column 1: a quote that is not closed"),
        (b'"\x01"', "not JSON: line 1, column 2: a control character in text"),
        (rb'"\q"', "not JSON: line 1, column 2: an unknown escape"),
        (rb'"\u12"', "an unknown escape"),
        (b'"\xff"', "not JSON: byte 1 is not UTF-8"),
        (b"[" + b"9" * 5000 + b"]", "a number that is too large"),
        (b"NaN", "not JSON: NaN is not a number there"),
    ],
)
def test_what_is_wrong_is_told_in_plain_words(text: bytes, told: str) -> None:
    with pytest.raises(ValueError) as caught:
        jsontext.loads(text)
    assert told in str(caught.value)
    assert not isinstance(caught.value, json.JSONDecodeError | UnicodeDecodeError)
