"""Templates: a site's own instead of roost's, their mistakes, and values that cannot break out of their line."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.condor.emit import template_directories
from roost.condor.layout import UnsafeValueError, listed, one_line, remapped, seconds
from roost.errors import RecipeError, UsageError
from tests.unit.submitting import BUILT, recipe, submit_description


def test_a_site_changes_one_block_and_keeps_the_rest(tmp_path: Path) -> None:
    (tmp_path / "submit.j2").write_text(
        '{% extends "roost/submit.j2" %}\n{% block further %}\n+ProjectName = "site"\n{{ super() }}{% endblock %}\n'
    )
    own = submit_description(recipe(), "kvm", files=BUILT)
    changed = submit_description(recipe(), "kvm", files=BUILT, templates=(tmp_path,))
    assert [line for line in changed.splitlines() if line not in own.splitlines()] == ['+ProjectName = "site"']


def test_the_first_directory_wins_and_absent_ones_do_not_matter(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "disks.j2").write_text(f"# {name}\nvm_disk = {{{{ vm_disk }}}}\n")
    directories = (tmp_path / "none", tmp_path / "a", tmp_path / "b")
    text = submit_description(recipe(), "kvm", files=BUILT, transfer="shared", templates=directories)
    assert "\n# a\n" in text and "# b" not in text


def test_directories_are_the_projects_and_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/config")
    assert template_directories(tmp_path) == (tmp_path / "templates", Path("/config/roost/templates"))
    monkeypatch.delenv("XDG_CONFIG_HOME")
    assert template_directories(None) == (Path.home() / ".config/roost/templates",)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{{ nonsense }}", "'nonsense' is undefined"),
        ("{% if %}", "template"),
        ("{{ 1 / 0 }}", "division by zero"),
        ("x\n{{ vm_disk | listed | nonsense }}", "nonsense"),
        ('{{ "a\\nb" }}', "line break"),
        ("{{ vm_disk.__class__.__mro__ }}", "unsafe"),
        ('{% include "absent.j2" %}', "absent.j2"),
    ],
)
def test_a_mistake_in_a_template_is_reported(tmp_path: Path, text: str, what: str) -> None:
    (tmp_path / "submit.j2").write_text(text)
    with pytest.raises(UsageError) as caught:
        submit_description(recipe(), "kvm", files=BUILT, templates=(tmp_path,))
    assert what in str(caught.value)


def test_the_line_of_an_undefined_name_is_reported(tmp_path: Path) -> None:
    (tmp_path / "submit.j2").write_text("\n\n{{ nonsense }}\n")
    with pytest.raises(UsageError) as caught:
        submit_description(recipe(), "kvm", files=BUILT, templates=(tmp_path,))
    where = caught.value.problem.where
    assert where is not None and where.file.endswith("submit.j2") and where.line == 3


def test_what_a_template_writes_is_linted(tmp_path: Path) -> None:
    (tmp_path / "submit.j2").write_text(
        '{% extends "roost/submit.j2" %}{% block disks %}\nvm_disk = {{ vm_disk }},\n{% endblock %}'
    )
    with pytest.raises(RecipeError):
        submit_description(recipe(), "kvm", files=BUILT, templates=(tmp_path,))


def test_alignment_leaves_continued_lines_and_lists_alone(tmp_path: Path) -> None:
    (tmp_path / "submit.j2").write_text(
        '{% extends "roost/submit.j2" %}{% block further %}\n+Long = 1 + \\\n  2\n+X = 3\n{% endblock %}'
    )
    text = submit_description(recipe(), "kvm", files=BUILT, templates=(tmp_path,))
    assert "+Long = 1 + \\\n  2\n+X = 3\n" in text


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "\x00", "a\x0bb", "\x1b[0m", "a\x85b", "a\u2028b"])
def test_control_characters_never_pass(value: str) -> None:
    with pytest.raises(UnsafeValueError):
        one_line(value)


@pytest.mark.parametrize("item", ["", "a b", "a,b", 'a"b', "a'b", "a\tb", "a\\b"])
def test_what_cannot_be_an_item_of_a_list(item: str) -> None:
    with pytest.raises(UnsafeValueError, match=r"has a blank, a comma, a quote or a backslash|is empty"):
        listed(["good.raw", item])
    with pytest.raises(UnsafeValueError, match="has a blank, a quote or one of ; = ,"):
        remapped([("io.raw", f"{item};x")])


def test_what_can() -> None:
    assert listed(["a.raw", "https://h.example/b%2C", "$Fnx(io)"]) == "a.raw,https://h.example/b%2C,$Fnx(io)"
    assert remapped([("a", "b"), ("c", "d/e")]) == '"a = b; c = d/e"'


@pytest.mark.parametrize(("value", "text"), [(16200, "4 h 30 min"), (59, "59 s"), (3600, "1 h"), (0, "0 s")])
def test_times_in_words(value: int, text: str) -> None:
    assert seconds(value) == text


def test_a_description_cannot_leave_its_comment() -> None:
    text = submit_description(recipe(description="tab\tbell\x07 \u2028queue 9\\"), "kvm", files=BUILT)
    assert text.splitlines()[0] == "# debian-12: tab bell   queue 9"
    assert text.count("queue") == 2
