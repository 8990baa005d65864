"""Expectations: what a recipe may ask for, and what of it was met, with what was there instead."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from roost.boot.console import Console
from roost.boot.expectations import Actual, judge
from roost.recipe.boot_test import BootTest, Expectation
from roost.recipe.patterns import PatternError, compiled
from roost.verify.evidence import FoundFile

FILES = {
    ("/result.txt", "io"): FoundFile(b"42\n", 3, 0o640, "3 bytes"),
    ("/run", None): FoundFile(None, 4096, 0o755, "it is not a regular file but a directory"),
}
FINISHED: Mapping[str, Any] = {
    "state": "finished",
    "exit_code": 3,
    "failed_units": ["odd\x1b[31m.service", "ssh.service"],
    "memory_available": 100 << 20,
}


def _found(path: str, on: str | None) -> FoundFile:
    return FILES.get((path, on), FoundFile(None, 0, 0, "there is no such file", False))


def _judged(wanted: Mapping[str, Any], status: Mapping[str, Any] | None = FINISHED) -> tuple[bool, str]:
    actual = Actual(
        matched={"fin.*": "job finished"},
        status=status,
        exits=(3,),
        seconds={"firmware": 1.0, "job": 9.0},
        factor=4.0,
        find=_found,
    )
    ((one),) = judge([Expectation.model_validate(wanted)], actual)
    assert one.what
    return one.met, one.seen


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [
        ({"serial": "fin.*"}, "job finished"),
        ({"serial": "BUG:", "absent": True}, "not on the console"),
        ({"file": "/result.txt", "on": "io"}, "42"),
        ({"file": "/result.txt", "on": "io", "matches": "^42$", "size": 3, "mode": "0640"}, "42"),
        ({"file": "/result.txt", "on": "io", "size": {"min": 1, "max": "1KiB"}, "mode": "640"}, "42"),
        ({"file": "/result.txt", "on": "io", "size": {"min": 3}}, "42"),
        ({"file": "/core", "absent": True}, "there is no such file"),
        ({"exit": 3}, "exit status 3"),
        ({"within": "2500ms"}, "10.0 s"),
        ({"within": "1s", "phase": "firmware"}, "1.0 s"),
        ({"failed_units": ["ssh.service", "odd.service"]}, "none failed"),
        ({"memory_free": "100MiB"}, "100 MiB left"),
    ],
)
def test_what_is_met(wanted: Mapping[str, Any], seen: str) -> None:
    assert _judged(wanted) == (True, seen)


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [
        ({"serial": "never"}, "not on the console"),
        ({"serial": "fin.*", "absent": True}, "job finished"),
        ({"file": "/absent"}, "there is no such file"),
        ({"file": "/run"}, "it is not a regular file but a directory"),
        ({"file": "/run", "absent": True}, "it is not a regular file but a directory"),
        ({"file": "/result.txt", "on": "io", "absent": True}, "3 bytes"),
        ({"file": "/result.txt", "on": "io", "matches": "^43$"}, "42"),
        ({"file": "/result.txt", "on": "io", "size": 4}, "3 bytes"),
        ({"file": "/result.txt", "on": "io", "size": {"min": 4}}, "3 bytes"),
        ({"file": "/result.txt", "on": "io", "size": {"max": "2B"}}, "3 bytes"),
        ({"file": "/result.txt", "on": "io", "mode": "0644"}, "mode 0640"),
        ({"exit": 0}, "exit status 3"),
        ({"within": "2s"}, "10.0 s"),
        ({"within": "2s", "phase": "job"}, "9.0 s"),
        ({"within": "2s", "phase": "init"}, "the guest never reached init"),
        ({"failed_units": "none"}, "failed: odd.service, ssh.service"),
        ({"failed_units": ["ssh.service"]}, "failed: odd.service"),
        ({"memory_free": "101MiB"}, "100 MiB left"),
    ],
)
def test_what_is_not_met(wanted: Mapping[str, Any], seen: str) -> None:
    assert _judged(wanted) == (False, seen)


@pytest.mark.parametrize("kind", [{"failed_units": "none"}, {"memory_free": 1}])
@pytest.mark.parametrize(
    "status",
    [None, {}, {"state": "running"}, {"state": "finished", "failed_units": None, "memory_available": True}],
    ids=["none", "empty", "running", "untold"],
)
def test_a_guest_that_does_not_say_meets_nothing(kind: Mapping[str, Any], status: Mapping[str, Any] | None) -> None:
    assert not _judged(kind, status)[0]


def test_the_exit_status_is_on_the_console_too() -> None:
    assert _judged({"exit": 3}, None) == (True, "exit status 3")


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({}, "exactly one of"),
        ({"serial": "x", "file": "/x"}, "exactly one of"),
        ({"serial": "x", "mode": "0644"}, "mode belongs to file"),
        ({"exit": 0, "absent": True}, "absent belongs to serial or file"),
        ({"within": 1, "on": "io"}, "on belongs to file"),
        ({"exit": 0, "phase": "job"}, "phase belongs to within"),
        ({"file": "/x", "absent": True, "size": 1}, "has no content"),
        ({"file": "/x", "mode": 644}, "in quotes"),
        ({"file": "/x", "size": {"min": 2, "max": 1}}, "max is less than min"),
        ({"serial": "("}, "is not a regular expression"),
        ({"exit": 256}, "less than or equal to 255"),
        ({"within": 0}, "greater than 0"),
        ({"within": 1, "phase": "probe"}, "firmware"),
        ({"failed_units": "some"}, "none"),
        ({"failed_units": ["a b"]}, "pattern"),
        ({"memory_free": "-1"}, "is not a size"),
    ],
)
def test_what_cannot_be_asked_for(wanted: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Expectation.model_validate(wanted)


def test_the_job_may_be_meant_to_fail() -> None:
    assert BootTest.model_validate({"expect": [{"exit": 7}]}).exit_status == 7
    assert BootTest().exit_status == 0


def test_nobody_waits_for_what_must_not_come() -> None:
    console = Console(patterns=["yes"], unwanted=["no"])
    assert console.missing
    console.feed(b"yes\n", 1.0)
    assert not console.missing
    console.feed(b"oh no\n", 2.0)
    assert console.matched == {"yes": "yes", "no": "oh no"}


#: Each takes years over a line of some thousand letters with an engine that backtracks without end.
SLOW = ("(a+)+$", "(x+x+)+y", r"^(([a-z])+.)+[A-Z]([a-z])+$")


def test_slow_expressions_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roost.recipe.patterns.ONE", 0.05)
    console = Console({}, SLOW[:2], (SLOW[2], "done"))
    begin = time.process_time()
    for letter in "ax":
        console.feed(letter.encode() * 4000 + b"!\n", 1.0)
    console.feed(b"done\n", 2.0)
    assert time.process_time() - begin < 5
    assert console.slow == set(SLOW[:3]) and not console.missing
    assert console.matched == {"done": "done"}
    actual = Actual(
        matched=console.matched,
        status=None,
        exits=(),
        seconds={},
        factor=1.0,
        find=lambda path, on: FoundFile(b"a" * 4000 + b"!", 4001, 0o644, ""),
        slow=console.slow,
    )
    # Neither there nor absent: nothing is known.
    for wanted in (
        {"serial": SLOW[0]},
        {"serial": SLOW[0], "absent": True},
        {"file": "/x", "matches": SLOW[0]},
    ):
        ((one),) = judge([Expectation.model_validate(wanted)], actual)
        assert not one.met and "takes too long" in one.seen


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(>x<" * 100 + ")" * 100, None),
        ("(>x<" * 500 + ")" * 500, "it has 2500 characters"),
        ("(?:" * 240 + "a|b" + ")*" * 240, "it has "),
        ("(" * 490 + ")*" * 250, ""),
        ("(" * 480 + ")" * 480, "it is nested too deep"),
        ("x{0,99999999999999999999}", "a number that is too large"),
        ("(?i)[[a-z]--[b]]", "a '[', '--', '&&', '~~' or '||' in a set, without a backslash before it, at character 6"),
        ("[a||b]", "without a backslash before it, at character 3"),
        ("a(?i)b", "flags such as '(?i)' that are not at the beginning, at character 2"),
        ("(", "a '(' that is not closed, at character 1"),
        ("a)", "a ')' without its '(', at character 2"),
        ("x[a", "a '[' that is not closed, at character 2"),
        ("[z-a]", "'z-a' is not a range of characters, at character 2"),
        ("*x", "with nothing before it to repeat, at character 1"),
        ("a{3,2}", "a repetition {M,N} whose M is greater than N"),
        ("(?<=a*)b", "a look-behind '(?<' whose length is not fixed"),
        (r"\N{nothing}", "without the name of a character in braces, at character 1"),
    ],
)
def test_bad_expressions_are_mistakes_of_the_recipe(
    pattern: str, why: str | None, recwarn: pytest.WarningsRecorder
) -> None:
    for wanted in ({"serial": pattern}, {"file": "/x", "matches": pattern}):
        if why is None:
            Expectation.model_validate(wanted)
            continue
        with pytest.raises(ValidationError, match="is not a regular expression: ") as caught:
            Expectation.model_validate(wanted)
        assert why in str(caught.value)
    assert not recwarn.list


MISTAKES = r"""(?#a [\w-a] a** a\ \q \x1 \N \N{ \400 \U99999999 (?y) (?i-i:a) (?-a:a) (?i (?i- (?<1a>b) (?P<>a) (?P<a
    (?P<a!>b) (?P=b) (?P=1) (?P<a>b)(?P<a>c) (a\1) \3 (?(9)a|b) (?(0)a) (?(a)b) (x)(?(1)a|b|c) (? (?P (?Px)
    (?< (?L)a (?a)(?u)b
    (?<=(a)\1)b [a--b] \p{foo}"""


@pytest.mark.parametrize("pattern", MISTAKES.split())
def test_each_kind_of_mistake_has_words(pattern: str) -> None:
    with pytest.raises(PatternError) as caught:
        compiled(pattern)
    told = str(caught.value)
    assert "mistake" not in told
    raw = str(caught.value.__cause__).partition(" at position")[0]
    assert raw not in told and "subpattern" not in told and "position" not in told
