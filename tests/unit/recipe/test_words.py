"""What a recipe holds in words: lists that are cut, things that are counted, near names."""

from __future__ import annotations

from roost.recipe import words


def test_a_long_list_says_how_much_is_left_out() -> None:
    assert words.some([], 2) == ""
    assert words.some(["a", "b"], 2) == "a, b"
    assert words.some(["a", "b", "c", "d"], 2) == "a, b and 2 more"


def test_one_is_not_many() -> None:
    assert [words.counted(number, "job") for number in (0, 1, 2)] == ["0 jobs", "1 job", "2 jobs"]
    assert [words.counted(number, "entry", "entries") for number in (1, 3)] == ["1 entry", "3 entries"]


def test_a_near_name_is_as_like_as_is_asked_for() -> None:
    assert words.near("game", ["name"]) == "name"
    assert words.near("game", ["name"], 0.8) is None
    assert words.near("inptus", ["inputs", "name"], 0.8) == "inputs"
    assert words.near("name", ["name"]) is None
