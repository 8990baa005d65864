"""JUnit, Markdown and the page: read by other tools than those that wrote them, with hostile names and causes."""

from __future__ import annotations

import html.parser
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import junitparser
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.errors import UsageError
from roost.factory import junit, markdown, page
from roost.factory.graph import Kind
from roost.factory.outcome import CALL, HOST, Failure, Image, Outcome, Result

HOSTILE = "<script>alert(1)</script> | `x` \x1b[31m \x00 ]]> & *b* \u202e\nsecond"


def image(name: str, directory: Path = Path("/build"), broken: Failure | None = None, **steps: Outcome) -> Image:
    kinds: dict[Kind, Outcome] = {kind: steps[kind] for kind in ("image", "boot", "publish") if kind in steps}
    return Image(name, name, str(directory / name), kinds, broken)


def verdict(directory: Path, *, passed: bool = True) -> dict[str, Any]:
    return {
        "hypervisor": "kvm", "passed": passed, "phase": "job", "cause": None if passed else "job-failed",
        "detail": "the job's words", "accelerator": "tcg", "console": "last line", "finished": "2026-11-26T17:52:55Z",
        "seconds": 12.5, "report": str(directory / "boot/report.html"),
    }  # fmt: skip


def good(name: str, directory: Path = Path("/build")) -> Image:
    booted = Outcome("done", 20.0, facts={"verdicts": [verdict(directory / name)]})
    there = Outcome("done", 1.0, facts={"version": "1.0", "url": f"/srv/{name}/1.0"})
    return image(name, directory, image=Outcome("cached", 5.0), boot=booted, publish=there)


def bad(name: str, text: str = "no such package", code: int = 1) -> Image:
    failure = Failure(text, code, "/log", "the tail")
    skipped = Outcome("skipped", failure=failure)
    return image(name, image=Outcome("failed", 3.0, failure), boot=skipped, publish=skipped)


def result(*images: Image, catalogue: str | None = "/srv") -> Result:
    return Result(images, 61.0, 2, catalogue)


def cases(data: bytes) -> dict[str, Any]:
    found = junitparser.JUnitXml.fromstring(data)
    return {f"{case.classname} {case.name}": case for suite in found for case in suite}


def test_the_json_is_the_contract() -> None:
    said = result(good("a"), bad("b")).to_json()
    one, other = said["images"]
    assert (one["name"], one["built"], one["booted"], one["published"], one["cause"]) == ("a", True, True, True, None)
    assert one["seconds"] == 26.0
    assert (other["built"], other["booted"], other["published"]) == (False, False, False)
    assert other["cause"] == "build: no such package" and other["fault"] == "image"
    assert said["count"] == {"images": 2, "built": 1, "booted": 1, "published": 1, "failed": 1}
    json.dumps(said)


def test_an_image_is_published_also_when_the_removal_of_old_versions_failed() -> None:
    there = Outcome("failed", failure=Failure("published, but …"), facts={"version": "1", "url": "/srv/a/1"})
    one = image("a", image=Outcome("done"), boot=Outcome("done"), publish=there)
    assert one.to_json()["published"] is True and not one.ok


@pytest.mark.parametrize(
    ("images", "code"),
    [
        ([good("a")], 0),
        ([good("a"), bad("b")], 1),
        ([bad("a"), bad("b", code=CALL)], 2),
        ([bad("a", code=HOST), bad("b", code=CALL)], 3),
        ([image("a", broken=Failure("a.yaml:1:2: what", CALL))], 2),
        ([], 0),
    ],
)
def test_exit_codes(images: list[Image], code: int) -> None:
    assert result(*images).code == code
    assert result(*images).ok is (code == 0)


def test_junit_as_another_tool_reads_it() -> None:
    data = junit.render(result(good("a"), bad("b"), bad("c", code=HOST), image("d", broken=Failure("d.yaml:1", CALL))))
    found = junitparser.JUnitXml.fromstring(data)
    assert (found.tests, found.failures, found.errors, found.skipped) == (10, 1, 2, 4)
    assert found.time == 61.0
    one = cases(data)
    assert one["a test boot"].time == 20.0 and one["a test boot"].is_passed
    (failure,) = one["b build"].result
    assert isinstance(failure, junitparser.Failure) and failure.message == "no such package"
    assert failure.text is not None and "the tail" in failure.text and "/log" in failure.text
    assert isinstance(one["c build"].result[0], junitparser.Error)
    assert one["b test boot"].is_skipped
    assert isinstance(one["d recipe"].result[0], junitparser.Error)


def test_what_an_interruption_prevented_is_an_error_to_who_reads_only_the_xml() -> None:
    one = image("a", image=Outcome("done"), boot=Outcome("stopped"), publish=Outcome("stopped"))
    found = junitparser.JUnitXml.fromstring(junit.render(replace(result(one), stopped=True)))
    assert (found.tests, found.failures, found.errors, found.skipped) == (3, 0, 2, 0)
    (error,) = cases(junit.render(result(one)))["a publish"].result
    assert isinstance(error, junitparser.Error) and error.type == "interrupted"


def test_markdown_has_the_mistakes_of_variants_once() -> None:
    broken = [image(name, broken=Failure("c.yaml:1: what\nc.yaml:2: more", CALL)) for name in "abc"]
    text = markdown.render(result(*broken))
    assert text.count("    c.yaml:1: what\n    c.yaml:2: more\n") == 1 and "### a, b, c\n" in text


@given(st.text(), st.text())
def test_junit_takes_any_text(name: str, text: str) -> None:
    data = junit.render(result(bad(name, text)))
    assert len(cases(data)) == 3


def test_junit_takes_what_is_not_xml() -> None:
    (failure,) = cases(junit.render(result(bad(HOSTILE, HOSTILE))))[
        f"{HOSTILE} build".replace("\x1b", "\ufffd").replace("\x00", "\ufffd").replace("\n", "\n")
    ].result
    assert failure.text.startswith("<script>alert(1)</script> | `x` \ufffd[31m")


def test_markdown_is_one_table_with_a_row_an_image() -> None:
    text = markdown.render(result(good("a"), bad("b"), bad(HOSTILE, HOSTILE)))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 5 and {row.replace("\\|", "").count("|") for row in rows} == {7}
    assert text.startswith("## ❌ 2 of 3 images failed")
    assert "| a | ☑️ | ✅ | ✅ | 26 s | 1\\.0 |" in rows
    assert "<script>" not in "\n".join(rows)
    # A cause is a block of code, in which nothing is acted on: each of its lines is indented.
    assert "    no such package\n    the tail\n" in text
    assert "\x1b" not in text and "\u202e" not in text and "\x00" not in text


@given(st.text(max_size=300))
def test_markdown_keeps_a_line_a_line(text: str) -> None:
    said = markdown.render(result(bad("a", text or "x")))
    assert sum(line.startswith("|") for line in said.splitlines()) == 3


def test_markdown_without_publication_has_no_such_column() -> None:
    one = image("a", image=Outcome("done"), boot=Outcome("done"))
    text = markdown.render(result(one, catalogue=None))
    assert "publish" not in text and "The image is built and booted" in text
    assert "No image to build" in markdown.render(result())


class Read(html.parser.HTMLParser):
    """Tags, links and text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_links_to_copies_of_the_reports(tmp_path: Path) -> None:
    boot = tmp_path / "build/a/boot"
    (boot / "kvm").mkdir(parents=True)
    (boot / "report.html").write_text("<p>the report")
    (boot / "kvm/serial.log").write_text("the console")
    place = page.write(result(good("a", tmp_path / "build"), bad("b")), tmp_path / "site")
    read = Read()
    read.feed((place / "index.html").read_text())
    (link,) = read.links
    assert (place / link).read_text() == "<p>the report"
    assert (place / link).with_name("kvm").joinpath("serial.log").read_text() == "the console"
    # What failed comes first.
    assert read.text.index("no such package") < read.text.index("kvm: passed")
    # It is written again in its own place, whole.
    (boot / "report.html").unlink()
    page.write(result(good("a", tmp_path / "build")), tmp_path / "site")
    assert not (tmp_path / ".site.lock").exists()
    read = Read()
    read.feed((place / "index.html").read_text())
    assert read.links == [] and "kvm: passed" in read.text


def test_the_page_escapes_what_strangers_say(tmp_path: Path) -> None:
    place = page.write(result(bad(HOSTILE, HOSTILE)), tmp_path / "site")
    read = Read()
    read.feed((place / "index.html").read_text())
    assert "script" not in read.tags and "<script>alert(1)</script>" in read.text


def test_the_page_replaces_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(UsageError, match="something else"):
        page.write(result(), tmp_path)
    with pytest.raises(UsageError, match="not a directory"):
        page.write(result(), tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "mine"


def test_reports_call_an_image_by_its_name_unless_two_have_it() -> None:
    found = [replace(one, called=f"/srv/{at}/r.yaml") for at, one in enumerate((good("a"), bad("b"), bad("b")))]
    one = result(*found)
    assert {case.split()[0] for case in cases(junit.render(one))} == {"a", "/srv/1/r.yaml", "/srv/2/r.yaml"}
    text = markdown.render(one)
    assert "| a |" in text and "/srv/1/r" in text and "/srv/0/r" not in text
    assert [image["called"] for image in one.to_json()["images"]] == [one.called for one in found]
