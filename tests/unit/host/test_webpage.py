"""What all pages have in common: the policy names the very bytes of style and script, and templates escape."""

from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from pathlib import Path

import pytest

from roost.host import webpage


def _files(folder: Path) -> tuple[Path, Path]:
    (folder / "own.css").write_text("p { color: red }")
    (folder / "own.js").write_text("document.title = '<é>';")
    return folder / "own.css", folder / "own.js"


@pytest.mark.parametrize("scripted", [True, False])
def test_the_policy_names_what_is_between_the_tags(tmp_path: Path, scripted: bool) -> None:
    style, script = _files(tmp_path)
    look = webpage.look(style, script if scripted else None)
    page = webpage.environment("roost.run").get_template("page.html.j2").render(look)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy
    said = unescape(policy[1])
    for tag, there in (("style", True), ("script", scripted)):
        found = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert (found is not None) == there
        if found:
            digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
            assert f"{tag}-src 'sha256-{digest}';" in said
    assert said.startswith("default-src 'none'; ")
    assert ("script-src" in said) == scripted
    assert "unsafe" not in said and "img-src" not in said


def test_pictures_are_only_those_in_the_page(tmp_path: Path) -> None:
    assert "; img-src data:; " in webpage.look(_files(tmp_path)[0], pictures=True)["policy"]


def test_templates_escape() -> None:
    assert webpage.environment("roost.run").from_string("{{ text }}").render(text="<b>&") == "&lt;b&gt;&amp;"


def test_what_html_lets_through_is_escaped_too() -> None:
    shown = webpage.environment("roost.boot").from_string("{{ text }}").render(text="a\u202eb\x1b[2J\udcff\n<")
    assert shown == "a\\u202eb\\x1b[2J\\xff\n&lt;"
