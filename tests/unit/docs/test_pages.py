"""README and docs: every call is one that roost reads, every recipe is valid, every page is rendered as meant."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from pathlib import Path

import pytest

from roost.kernel import catalogue
from roost.recipe.model import Recipe
from roost.run import sweep
from tests.documented import PAGES, PROJECT, Bench, Block, blocks, calls, mentions, parse, unknown

BLOCKS = [block for path in PAGES for block in blocks(path)]
#: Examples of CI services; tests/unit/factory reads them.
OTHERS = {".gitlab-ci.yml", ".github/workflows/images.yml"}


def ident(path: Path) -> str:
    return str(path.relative_to(PROJECT))


@pytest.mark.parametrize("path", PAGES, ids=ident)
def test_every_call_is_one_that_roost_reads(path: Path) -> None:
    for block in blocks(path):
        for words in calls(block):
            assert parse(words), words


@pytest.mark.parametrize("path", PAGES, ids=ident)
def test_every_call_in_running_text_has_a_task_and_flags_that_there_are(path: Path) -> None:
    assert [(words, wrong) for words in mentions(path) if (wrong := unknown(words))] == []
    assert unknown(["build", "--lokced"]) == ["--lokced"] and unknown(["bild"]) == ["bild"]


def test_a_wrong_call_is_found() -> None:
    block = Block("x.md", 1, "", "", "cd build && inv build sim --no-such-flag   # a word\n")
    (words,) = calls(block)
    assert words == ["build", "sim", "--no-such-flag"]
    with pytest.raises(Exception, match="no-such-flag"):
        parse(words)
    for text in ("inv bild sim\n", "A=1 ./inv lint x.sub --st a=1 > y\n"):
        (words,) = calls(Block("x.md", 1, "", "", text))
        with pytest.raises(Exception, match=r"bild|st"):
            parse(words)


def test_there_are_many_calls() -> None:
    """Nothing is lost between pages and tests."""
    found = [words[0] for path in PAGES for block in blocks(path) for words in calls(block)]
    assert len(found) > 100
    assert {"new", "check", "build", "boot", "run", "publish", "lint", "factory", "submit", "io", "collect"} <= set(
        found
    )


@pytest.mark.parametrize("block", [one for one in BLOCKS if list(calls(one))], ids=str)
def test_a_shell_can_read_the_commands(block: Block) -> None:
    done = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "block", [one for one in BLOCKS if one.language == "yaml" and not one.page.endswith("reference/recipe.md")], ids=str
)
def test_every_yaml_is_what_it_stands_for(block: Block, tmp_path: Path) -> None:
    if block.title in OTHERS:
        return
    if block.title.startswith("kernels/"):
        (tmp_path / "kernels/taken").mkdir(parents=True)
        for name in ("vmlinuz", "initrd.img"):
            (tmp_path / "kernels/taken" / name).write_text("x")
        catalogue.read(block.text.encode(), Path(block.title).stem, tmp_path / block.title)
    elif block.text.startswith("axes:"):
        sweep.read(block.text.encode(), "sweep.yaml")
    else:
        assert Bench(tmp_path).problems(block.text) == []


@pytest.mark.parametrize("block", [one for one in BLOCKS if not one.language], ids=str)
def test_no_recipe_hides_where_it_is_not_checked(block: Block) -> None:
    keys = {field.alias or name for name, field in Recipe.model_fields.items()} | {"extends", "matrix", "variables"}
    first = [line for line in block.text.splitlines() if line.strip() and not line.startswith("#")][:1]
    assert not first or first[0].partition(":")[0] not in keys or ":" not in first[0], "fence it as ```yaml"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the built site; a warning fails it."""
    target = tmp_path_factory.mktemp("site")
    argv = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(target)]
    done = subprocess.run(argv, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def test_the_site_has_every_page_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = {path.relative_to(PROJECT / "docs").with_suffix(".html") for path in (PROJECT / "docs").rglob("*.md")}
    assert {path for path in pages if not (site / path).is_file()} == set()
    for path in site.rglob("*.html"):
        loaded = re.findall(r"<(?:script|img|iframe)[^>]* src=\"?(https?:[^\" >]+)", path.read_text())
        loaded += re.findall(
            r"<link[^>]* rel=\"?(?:stylesheet|preconnect|icon)\"?[^>]*href=\"?(https?:[^\" >]+)", path.read_text()
        )
        assert loaded == [], path.name


def test_lists_and_tables_are_rendered(site: Path) -> None:
    """Python-Markdown, unlike GitHub, wants an empty line before them."""
    for path in site.rglob("*.html"):
        for text in re.findall(r"<p>(.*?)</p>", path.read_text(), re.DOTALL):
            assert not re.search(r"^(\| |\|-|- |\d+\. |```)", text, re.MULTILINE), f"{path.name}: {text[:200]}"


def test_the_picture_of_a_run_shows_calls_that_there_are() -> None:
    """docs/pictures/make.py draws it from a real run; README shows it."""
    picture = (PROJECT / "docs/pictures/run.svg").read_text()
    rows = re.findall(r'<text [^>]*y="([\d.]+)"[^>]*>(.*?)</text>', picture)
    lines: dict[str, str] = {}
    for row, text in rows:
        lines[row] = lines.get(row, "") + html.unescape(text).replace("\xa0", " ")
    typed = [line.removeprefix("$ ./inv ").split() for line in lines.values() if line.startswith("$ ./inv ")]
    assert [parse(words) for words in typed] == [["build"], ["boot"]]
    assert any(line.startswith("passed: ") for line in lines.values())
    assert "docs/pictures/run.svg" in (PROJECT / "README.md").read_text()


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"])
def test_links_of_what_is_not_in_the_site_lead_somewhere(name: str) -> None:
    """mkdocs checks those of docs/."""
    text = re.sub(r"^```.*?^```", "", (PROJECT / name).read_text(), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not link.startswith("https://"):
            assert (PROJECT / link.partition("#")[0]).exists(), link


@pytest.mark.parametrize("path", [*PAGES, PROJECT / "CHANGELOG.md", PROJECT / "SECURITY.md"], ids=ident)
def test_addresses_are_of_sites_that_stay_or_of_examples(path: Path) -> None:
    """No page sends people to a mirror, an index of packages or somebody's file; RFC 2606 keeps example.org free."""
    for host in re.findall(r"\bhttps?://([^/\s`\"')>:]+)", path.read_text()):
        assert re.fullmatch(r"(?:[\w-]+\.)?(?:htcondor\.org|keepachangelog\.com|example\.org|…,?)", host), host


def test_pages_that_code_and_messages_name_are_there() -> None:
    """A source of lint, an explanation, a comment: `docs/vm-universe.md, section 4`."""
    named: dict[str, set[str]] = {}
    for path in [*PROJECT.glob("roost/**/*"), *PROJECT.glob("recipes/**/*.yaml"), *PROJECT.glob("*.md")]:
        if path.suffix in {".py", ".j2", ".yaml", ".md", ".sh"}:
            for page, section in re.findall(r"\b(docs/[\w/.-]+\.md)(?:, section (\d+))?", path.read_text()):
                named.setdefault(page, set()).add(section)
    assert len(named) > 5
    for page, sections in named.items():
        text = (PROJECT / page).read_text()
        for section in sections - {""}:
            assert re.search(rf"^## {section}\. ", text, re.MULTILINE), f"{page} has no section {section}"
