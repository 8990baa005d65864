"""Mistakes in regular expressions in plain words, each with the character at which it was found.

The messages of Python's `re` and of `regex` are those of programmers ("missing ), unterminated subpattern").
"""

from __future__ import annotations

import re

#: Part of a message of `re` or `regex` → the words for the author; {0} is the text that the message quotes.
_WORDS: tuple[tuple[str, str], ...] = (
    (r"unterminated comment", "a comment '(?#' that is not closed by ')'"),
    (r"missing \)", "a '(' that is not closed"),
    (r"unbalanced parenthesis", "a ')' without its '('"),
    (r"unterminated character set|missing \]", "a '[' that is not closed"),
    (r"bad character range (?P<it>.+)", "{0} is not a range of characters"),
    (r"bad character range", "a range of characters that is not valid"),
    (r"nothing to repeat", "a '*', '+', '?' or '{{' with nothing before it to repeat"),
    (r"multiple repeat", "a '*', '+', '?' or '{{' that follows another one"),
    (r"min repeat greater", "a repetition {{M,N}} whose M is greater than N"),
    (r"repetition number is too large|repeat count too big|too large to", "a number that is too large"),
    (r"bad escape \(end of pattern\)", "a backslash at the end"),
    (r"(?:bad|incomplete) (?:hex )?escape (?P<it>.+)", "{0} is not an escape"),
    (r"missing \{|expected \}|character name", r"a '\N' without the name of a character in braces"),
    (r"octal escape value (?P<it>\S+)", r"{0} is greater than the greatest octal escape, \377"),
    (r"bad inline flags|unknown flag|missing (?:flag|:|-)|flag with a str|flags are incompatible", "flags '(?' {bad}"),
    (r"bad character in group name (?P<it>.+)", "{0} is not the name of a group"),
    (r"bad character in group name|missing group name", "a group whose name is not valid"),
    (r"missing [<>]|unterminated name", "a group's name that is not between '<' and '>'"),
    (r"redefinition of group name (?P<it>\S+)", "a second group named {0}"),
    (r"cannot refer to (?:an open group|group defined)", "a reference to a group that does not end before it"),
    (r"unknown group name (?P<it>\S+)", "there is no group named {0}"),
    (r"invalid group reference (?P<it>\d+)", "there is no group {0}"),
    (r"bad group number|(?:invalid|ambiguous) group ref|unknown group", "a reference to a group that does not exist"),
    (r"conditional backref", "a condition '(?(' with more than two branches"),
    (r"global flags not at the start", "flags such as '(?i)' that are not at the beginning"),
    (r"look-?behind requires", "a look-behind '(?<' whose length is not fixed"),
    (r"unknown extension (?P<it>\?\S+)", "'({0}' is not known"),
    (r"unexpected end of pattern", "a '(?' that is not complete"),
    (r"unknown property", r"a '\p' whose property is not known"),
    (r"too many groups", "too many groups"),
    (r"[Pp]ossible (?:nested )?set", "a '[', '--', '&&', '~~' or '||' in a set, without a backslash before it"),
)
_BAD = "that are not valid"


def told(error: Exception) -> str:
    """Return what is wrong with an expression that `re` or `regex` refused, and at which character (from 1)."""
    message = str(getattr(error, "msg", None) or error)
    words = next((_filled(one, text) for pattern, text in _WORDS if (one := re.search(pattern, message))), "a mistake")
    at = getattr(error, "pos", None)
    if not isinstance(at, int):
        # Warnings have the position in their text alone.
        found = re.search(r" at position (\d+)", message)
        at = int(found[1]) if found else None
    return words if at is None else f"{words}, at character {at + 1}"


def _filled(found: re.Match[str], text: str) -> str:
    quoted = (found.groupdict().get("it") or "").strip("'\"")
    plain = text.startswith(("'", "there is no group {0}"))
    return text.format(quoted if plain else f"'{quoted}'", bad=_BAD)
