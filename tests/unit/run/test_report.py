"""The page and the JUnit file of a run: whatever names and logs hold, and however much of it there is."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

from roost.run import junit, report
from roost.run.model import VERDICTS, Outcome
from roost.run.result import Result

HOSTILE = "</pre><script>alert(1)</script>\x1b[31m\x00\ud800\u202e &amp; \"'"


def result(directory: Path, count: int = 12, log: bytes = b"fine\n") -> Result:
    outcomes = []
    for number in range(count):
        verdict = VERDICTS[number % len(VERDICTS)]
        output = directory / "results" / f"job-{number}"
        output.mkdir(parents=True)
        (output / "job.log").write_bytes(log)
        outcomes.append(
            Outcome(f"job-{number}", verdict, 3, f"why {HOSTILE}", output, 1.5, f"image {HOSTILE}", notes=(HOSTILE,))
        )
    return Result(f"sim {HOSTILE}", directory, tuple(outcomes), 2.0)


class Tags(HTMLParser):
    """Counts the elements of a page, and keeps its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.count: dict[str, int] = {}
        self.names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count[tag] = self.count.get(tag, 0) + 1
        self.names |= {name for name, _ in attrs}


def test_nothing_hostile_becomes_a_part_of_the_page(tmp_path: Path) -> None:
    log = HOSTILE.encode("utf-8", "surrogatepass") * 3
    page = report.page(result(tmp_path, log=log), tmp_path)
    tags = Tags()
    tags.feed(page)
    assert tags.count["script"] == 1
    assert tags.count["tbody"] == 12
    assert not any(name.startswith("on") for name in tags.names)
    assert "\x1b" not in page and "\x00" not in page
    assert page.encode("utf-8", "replace").count(b"alert(1)") >= 12


def test_links_start_from_where_the_page_is(tmp_path: Path) -> None:
    assert 'href="results/job-0/"' in report.page(result(tmp_path / "a"), tmp_path / "a")
    (tmp_path / "b").mkdir()
    assert 'href="../a/results/job-0/"' in report.page(result(tmp_path / "a2"), tmp_path / "b").replace("a2", "a")


def test_logs_are_cut_and_together_bounded(tmp_path: Path) -> None:
    one = report.page(
        result(tmp_path / "one", 1, b"the-begin\n" + b"x" * 5000 + b"\nline\n" * 100_000 + b"the-end\n"), tmp_path
    )
    assert "the-end" in one and "the-begin" not in one
    assert len(one) < 60_000
    many = result(tmp_path / "many", 30, b"\xff" * 1000 + b"\n" + b"y" * 16000)
    limit, report.ALL = report.ALL, 100_000
    try:
        assert len(report.page(many, tmp_path)) < 250_000
    finally:
        report.ALL = limit


def test_a_log_that_is_not_a_file_reads_as_none(tmp_path: Path) -> None:
    found = result(tmp_path, 1)
    log = tmp_path / "results" / "job-0" / "job.log"
    log.unlink()
    log.symlink_to("/dev/zero")
    assert "What the job printed" not in report.page(found, tmp_path)


def test_junit_is_xml_and_tells_each_verdict(tmp_path: Path) -> None:
    root = ET.fromstring(junit.render(result(tmp_path)))
    assert (root.get("tests"), root.get("failures"), root.get("errors")) == ("12", "4", "6")
    assert len(root.findall("testsuite/testcase")) == 12
    failed = root.find("testsuite/testcase[@name='job-1']/failure")
    assert failed is not None
    assert str(failed.get("message")).startswith("failed: why </pre><script>")
