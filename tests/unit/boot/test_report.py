"""The report: one page that stays small, shows what was seen, and runs nothing of what a guest wrote."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from roost.boot import report
from roost.boot.accelerator import Accelerator
from roost.boot.checkpoint import Trial
from roost.boot.drive import Screen
from roost.boot.evidence import Evidence, Expected
from roost.boot.run import BootResult, FileSum
from roost.boot.trials import Trials
from roost.boot.verdict import Verdict
from roost.boot.waits import Wait
from roost.verify.evidence import FileSystem

HOSTILE = b"\x1b[31m<script>alert(1)</script>\xff\x1b]0;x\x07<img src=x onerror=alert(1)>\x1b[2J\0\r\n"
PICTURE = b"\x89PNG\r\n\x1a\n"


def result(out: Path, verdict: Verdict) -> BootResult:
    """Return a result whose every text is hostile where a guest can have a word in it."""
    said = "<b onclick=alert(1)>said</b>"
    evidence = Evidence(
        goal="job",
        stop="ended",
        expectations=(Expected(f"console: {said}", verdict.passed, said), Expected("/r on io", True, said, True)),
        filesystems=(FileSystem("root.qcow2", 1, "ext", verdict.passed, said),),
        status={"state": "finished", "host": said, said: [said]},
        job_log=("the job's own line", said),
        waits=(Wait(f"A start job for {said}", 93.4),),
    )
    return BootResult(
        name="debian-12",
        verdict=verdict,
        evidence=evidence,
        accelerator=Accelerator("tcg", "max", 6.3, True, None),
        machine="pc",
        hypervisor="kvm",
        seconds={"firmware": 0.3, "kernel": 4.2, "disks": 0.1},
        disks=(FileSum("root.qcow2", "a" * 64, 19 << 20, 41 << 20),),
        kernel=(FileSum("vmlinuz", "b" * 64, 7 << 20),),
        console=said,
        serial_log=out / "kvm/serial.log",
        report=out / "report.html",
        argv=("qemu-system-x86_64", "-name", said),
        finished="2026-01-01T00:00:00Z",
        memory=1024,
        cpus=2,
        screen=Screen(PICTURE, said) if not verdict.passed else Screen(),
        trials=Trials(Trial(True, verdict.passed, 2.0, said), Trial(False, None, None, "not asked for")),
    )


PASSED = Verdict(True, "power-off", None, "the guest did its job")
FAILED = Verdict(False, "kernel", "panic", "<script>alert(1)</script>", ("<script>alert(1)</script>",))


class _Page(HTMLParser):
    """What elements and attributes a page has, and its text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def _written(tmp_path: Path, verdict: Verdict, serial: bytes) -> tuple[str, _Page]:
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "serial.log").write_bytes(serial)
    report.write(result(tmp_path / "out", verdict), logs, tmp_path / "out")
    html = (tmp_path / "out/report.html").read_text()
    page = _Page()
    page.feed(html)
    return html, page


@pytest.mark.parametrize("verdict", [PASSED, FAILED], ids=["passed", "failed"])
def test_nothing_of_a_guest_becomes_a_part_of_the_page(verdict: Verdict, tmp_path: Path) -> None:
    html, page = _written(tmp_path, verdict, HOSTILE * 50)
    assert page.tags.count("script") == 1
    assert page.tags.count("img") == (0 if verdict.passed else 1)
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "<script>alert(1)</script>" in page.text
    (policy,) = (value for _, value in page.attributes if value.startswith("default-src 'none'; "))
    assert "unsafe" not in policy
    assert "style" not in {name for name, _ in page.attributes}
    links = [value for name, value in page.attributes if name in ("href", "src")]
    assert all(link.startswith("data:image/png;base64,") for link in links), links
    assert "http" not in html.replace("http-equiv", "")
    assert "\x1b" not in html
    assert ("Passed" if verdict.passed else "Failed") in page.text
    assert "41 MiB for the guest, 19 MiB as a file" in page.text
    assert "1024 MiB" in page.text


def test_the_page_stays_small(tmp_path: Path) -> None:
    html, page = _written(tmp_path, FAILED, b"begin\n" + HOSTILE * (20_000_000 // len(HOSTILE)) + b"\nthe end\n")
    assert len(html) < 1 << 20
    assert "begin" in page.text
    assert "the end" in page.text
    assert ("href", "kvm/serial.log") in page.attributes
    assert page.tags.count("span") < 2 * report.LINES + 100


@pytest.mark.parametrize("serial", [b"x" * 3_000_000, b"\n" * 300_000, b"\xff" * 300_000, b""])
def test_odd_consoles(serial: bytes, tmp_path: Path) -> None:
    html, page = _written(tmp_path, PASSED, serial)
    assert len(html) < 3 << 20
    assert page.tags.count("span") < 2 * report.LINES + 100


def test_a_picture_does_not_outlive_its_boot(tmp_path: Path) -> None:
    _written(tmp_path, FAILED, b"")
    out = tmp_path / "out"
    assert (out / "kvm/screen.png").read_bytes() == PICTURE
    assert json.loads((out / "kvm.json").read_text())["screen"] == str(out / "kvm/screen.png")
    report.write(replace(result(out, PASSED)), tmp_path / "logs", out)
    assert not (out / "kvm/screen.png").exists()
    assert json.loads((out / "kvm.json").read_text())["screen"] is None


def test_the_timeline_marks_where_it_failed() -> None:
    bars = report.timeline({"disks": 1.0, "kernel": 2.0, "firmware": 1.0}, "kernel")
    assert [(bar["name"], bar["width"], bar["failed"]) for bar in bars] == [
        ("firmware", 25.0, False),
        ("kernel", 50.0, True),
        ("disks", 25.0, False),
    ]


def test_the_page_shows_the_jobs_last_lines_and_what_was_waited_for(tmp_path: Path) -> None:
    made = result(tmp_path, FAILED)
    page = report.page(made, made.to_json(), tmp_path / "none.log")
    assert "the job&#39;s own line" in page
    assert re.search(r"<dt>93 s</dt><dd>A start job for &lt;b onclick", page)
    bare = replace(made, evidence=replace(made.evidence, job_log=(), waits=()))
    assert "last lines" not in report.page(bare, bare.to_json(), tmp_path / "none.log")
