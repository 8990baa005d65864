"""Templates of recipes and sites: they cannot reach the host, and cannot take its time or its memory."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from roost.condor import emit
from roost.condor.submit_values import Delivery
from roost.customize import templates
from roost.errors import UsageError
from roost.host import template
from roost.recipe import loader
from tests.unit.submitting import BUILT, recipe

VALUES = {"name": "x", "recipe": {"files": [{"path": "/a"}]}, "variables": {}}


def failed(source: str) -> template.Failed:
    """Return why a template does not render."""
    (made,) = template.render([source], VALUES)
    assert isinstance(made, template.Failed), made[:200]
    return made


@pytest.mark.parametrize(
    "expression",
    [
        'cycler.__init__.__globals__.os.popen("touch PWNED").read()',
        'lipsum.__globals__["os"].system("touch PWNED")',
        'self.__init__.__globals__.__builtins__.__import__("os").system("touch PWNED")',
        '"".__class__.__mro__[1].__subclasses__()',
        '("" | attr("__class__")).__base__',
        'namespace.__init__.__globals__.__builtins__.open("PWNED", "w")',
        '"{0.__class__.__init__.__globals__}".format(name)',
        '"{x.__class__}".format_map({"x": name})',
        '(name.format | attr("__self__")).__class__',
        'joiner.__call__.__globals__.__builtins__.eval("1")',
        'recipe.files.append("x")',
        'recipe.update({"a": 1})',
    ],
)
def test_a_template_cannot_leave_the_sandbox(expression: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name leads to Python's own objects, and what is given cannot be changed."""
    monkeypatch.chdir(tmp_path)
    made = failed("\n{{ " + expression + " }}\n")
    assert made.line == 2, made
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("{% for i in range(10**9) %}{% endfor %}", "Range too big"),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "needs more than 2 s of CPU time",
        ),
        ('{{ "a" * 10**10 }}', "memory"),
        ('{{ "%10000000000d" % 1 }}', "memory"),
        ('{{ "a" | center(10**10) }}', "memory"),
        ('{% for i in range(99999) %}{{ "a" * 99999 }}{% endfor %}', "renders to more than 16 MiB"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "calls itself endlessly"),
        ("{{ " + "(" * 100_000 + "1" + ")" * 100_000 + " }}", "nested too deep"),
        ("{{ " + "-" * 100_000 + "1 }}", "nested too deep"),
        ("{{ 9**(9**9) }}", "more than"),
        ('{% include "/etc/passwd" %}', "cannot include or import another"),
        ("{% import 'os' as os %}", "cannot include or import another"),
        ("{{ 1 / 0 }}", "division by zero"),
    ],
)
def test_what_takes_the_hosts_time_or_memory_is_ended(source: str, what: str) -> None:
    """Each ends within seconds, with what it wanted too much of."""
    start = time.monotonic()
    assert what in failed(source).what
    assert time.monotonic() - start < 60


def test_ordinary_templates_render_and_keep_their_order() -> None:
    """One child for all of a recipe's templates; one that fails does not hide the others."""
    made = template.render(
        ["{{ name }}\n", "{{ nonsense }}", "{% for f in recipe.files %}{{ f.path }}{% endfor %}"], VALUES
    )
    assert (made[0], made[2]) == ("x\n", "/a")
    assert made[1] == template.Failed("'nonsense' is undefined", 1)
    assert template.render([], VALUES) == []


def test_a_worker_that_is_killed_blames_the_first_without_an_answer() -> None:
    """A step that no signal interrupts costs the child its life; a module that answers nothing stands for it."""
    (made,) = template.answers("roost.errors", {}, 3)
    assert isinstance(made, template.Failed) and "more than 2 s of CPU time" in made.what


HEAD = "name: x\nos: {debian: {suite: bookworm}}\ndisks: [{name: root, partitions: [{mount: /, filesystem: ext4}]}]\n"


@pytest.mark.parametrize(("make", "what"), [("fifo", "a FIFO, not a file"), ("zero", "a device, not a file")])
@pytest.mark.parametrize("key", ["template", "source"])
def test_what_is_not_a_file_is_reported_by_check(make: str, what: str, key: str, tmp_path: Path) -> None:
    """A FIFO as template or source made `inv check` or the build wait for ever, /dev/zero took all memory."""
    if make == "fifo":
        os.mkfifo(tmp_path / "it")
    else:
        (tmp_path / "it").symlink_to("/dev/zero")
    (tmp_path / "r.yaml").write_text(HEAD + f"files: [{{path: /a, {key}: it}}]\n")
    with pytest.raises(UsageError, match=what.partition(",")[0]) as caught:
        loader.load(str(tmp_path / "r.yaml"), tmp_path)
    assert "r.yaml:4:" in str(caught.value)


def test_a_mistake_has_its_place_in_the_template_and_in_the_recipe(tmp_path: Path) -> None:
    """Both files are named: where the mistake is, and who wants the template."""
    (tmp_path / "bad.j2").write_text("fine\n{{ cycler.__init__ }}\n")
    (tmp_path / "r.yaml").write_text(HEAD + "files: [{path: /a, template: bad.j2}]\n")
    (told,) = templates.problems(loader.load(str(tmp_path / "r.yaml"), tmp_path))
    assert "bad.j2:2: access to attribute '__init__'" in str(told)
    assert "r.yaml:4:30: " in str(told)


def test_a_large_template_is_reported(tmp_path: Path) -> None:
    """A sparse file of any size is not a template."""
    with (tmp_path / "big.j2").open("wb") as file:
        file.truncate(1 << 40)
    (tmp_path / "r.yaml").write_text(HEAD + "files: [{path: /a, template: big.j2}]\n")
    (told,) = templates.problems(loader.load(str(tmp_path / "r.yaml"), tmp_path))
    assert "larger than 1 MiB" in str(told)


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "CPU time"),
        ("{{ cycler.__init__.__globals__ }}", "unsafe"),
        ("{{ 'a' * 10**10 }}", "memory"),
    ],
)
def test_a_sites_template_is_as_bounded(source: str, what: str, tmp_path: Path) -> None:
    """`templates/` of a project comes from whoever made the project."""
    (tmp_path / "submit.j2").write_text(source)
    with pytest.raises(UsageError, match=what) as caught:
        emit.submit_description(recipe(), "kvm", Delivery(files=BUILT), templates=(tmp_path,))
    assert "submit.j2" in str(caught.value)


def test_a_fifo_among_a_sites_templates_is_reported(tmp_path: Path) -> None:
    """It was opened and waited for."""
    os.mkfifo(tmp_path / "submit.j2")
    with pytest.raises(UsageError, match="a FIFO, not a file"):
        emit.submit_description(recipe(), "kvm", Delivery(files=BUILT), templates=(tmp_path,))


#: Takes some tenths of a second.
_BUSY = "{% for a in range(60) %}{% for b in range(50000) %}{% endfor %}{% endfor %}"


def test_all_templates_of_a_recipe_have_a_bound_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template, "IN_ALL", 1.0)
    asked: list[int] = []
    render = template.render

    def counted(sources: Sequence[str], *rest: Any) -> list[str | template.Failed]:
        asked.append(len(sources))
        return render(sources, *rest)

    monkeypatch.setattr(template, "render", counted)
    monkeypatch.setattr(template.Clock, "__init__", lambda clock: setattr(clock, "left", 1.0))
    files = ", ".join(f"{{path: /etc/init.d/f{number}, template: t{number}.j2}}" for number in range(30))
    for number in range(30):
        (tmp_path / f"t{number}.j2").write_text(f"#!/bin/sh\n{_BUSY}{number}")
    (tmp_path / "many.yaml").write_text(
        f"name: many\nos: {{tree: {{path: .}}}}\nfiles: [{files}]\n"
        "disks: [{name: root, partitions: [{mount: /, free: 1MiB}]}]\n"
        "matrix: {machine.memory: [512MiB, 513MiB, 514MiB]}\n"
    )
    begin = time.process_time()
    found = [[*templates.problems(one)] for one in loader.load_all(str(tmp_path / "many.yaml"), tmp_path)]
    assert all("more than 1 s of CPU time in all" in one[0].what for one in found), found
    assert time.process_time() - begin < 20
    # What was rendered once is not rendered for each check that looks into it.
    before = len(asked)
    (one, *_) = loader.load_all(str(tmp_path / "many.yaml"), tmp_path)
    for _ in range(3):
        [*templates.problems(one)]
    assert len(asked) == before + 1


def test_half_a_surrogate_pair_is_reported_by_check(tmp_path: Path) -> None:
    """It can be escaped in an expression, and be written to no file."""
    (tmp_path / "x.j2").write_text("{{ '\\ud800' }}")
    (tmp_path / "r.yaml").write_text(
        "name: r\nos: {debian: {suite: bookworm}}\n"
        "disks: [{name: root, partitions: [{mount: /, free: 16MiB}]}]\nfiles: [{path: /a, template: x.j2}]\n"
    )
    (problem,) = templates.problems(loader.load(tmp_path / "r.yaml", tmp_path))
    assert "half a surrogate pair" in problem.what and str(problem.where).endswith("r.yaml:4:30")
