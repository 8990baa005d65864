"""The task `factory` as it is called: wrong calls before any work, reports, what is told when one cannot be written."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import junitparser
import pytest

from roost.cli import factory
from roost.cli.main import main
from roost.factory.outcome import Failure, Image, Outcome, Result
from roost.pipeline.factory import Factory

DONE = Image("a", "a", "/build/a", {"image": Outcome("done", 1.0), "boot": Outcome("done", 2.0)})
BAD = Image("b", "b", "", {}, Failure("b.yaml:1:2: what", 2))
WORSE = [Image(name, f"c.yaml: {name}", "", {}, Failure("c.yaml:1:2: what\nc.yaml:2:1: more", 2)) for name in "de"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("recipes", "kernels"):
        (tmp_path / name).mkdir()
    # A recipe with a mistake is an image too, of which nothing is built.
    (tmp_path / "recipes/b.yaml").write_text("name: [\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["roost", "factory", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--jobs", "x"], "--jobs takes a whole number"),
        (["--jobs", "0"], "at least one"),
        (["--keep", "3"], "--keep is for a catalogue"),
        (["--publish", "a", "--to", "b"], "two catalogues"),
        (["--publish", "file://tmp/x"], "names a host, 'tmp'"),
        (["--publish", "file:/tmp/x", "--dag", "d"], "neither a URL nor a plain path"),
        (["--junit", "absent/j.xml"], "does not exist"),
        (["--markdown", "recipes"], "is a directory (name a file)"),
        (["--html", "."], "holds something else"),
        (["--container", "x"], "--dag DIR"),
        (["nosuch"], "no such recipe"),
        (["--changed-since", "HEAD", "nosuch"], "no such recipe"),
    ],
)
def test_wrong_calls_are_reported_before_any_work(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: list[str], what: str
) -> None:
    (project / "recipes/x").write_text("")
    code, out, err = call(capsys, monkeypatch, *words)
    assert (code, out) == (2, "") and what in err and "Traceback" not in err


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run end at once, with one image done and one recipe broken."""

    def run(_self: Any) -> Result:
        return Result((DONE, BAD), 3.0, 2)

    monkeypatch.setattr(Factory, "run", run)


@pytest.mark.usefixtures("project", "ended")
def test_the_reports_are_written_and_the_result_is_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ("--junit", "j.xml", "--markdown", "m.md", "--html", "page", "--json")
    code, out, _ = call(capsys, monkeypatch, *words)
    said = json.loads(out)
    assert code == 2 and [one["name"] for one in said["images"]] == ["a", "b"] and not said["ok"]
    assert junitparser.JUnitXml.fromfile(str(tmp_path / "j.xml")).errors == 1
    assert "| a |" in (tmp_path / "m.md").read_text()
    assert "b.yaml:1:2: what" in (tmp_path / "page/index.html").read_text()
    code, out, _ = call(capsys, monkeypatch)
    assert code == 2 and "a      done   done" in out and "b: b.yaml:1:2: what" in out
    assert out.endswith("1 of 2 images failed\n")


@pytest.mark.usefixtures("project", "ended")
def test_a_report_that_cannot_be_written_takes_nothing_from_the_result(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    code, out, _ = call(capsys, monkeypatch, "--junit", "/dev/full", "--markdown", "m.md", "--json")
    said = json.loads(out)
    assert code == 3 and len(said["images"]) == 2 and "a report could not be written" in said["notes"][0]
    assert (tmp_path / "m.md").is_file()


@pytest.mark.usefixtures("project")
def test_a_run_that_is_interrupted_leaves_what_was_done(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def run(_self: Any) -> Result:
        raise KeyboardInterrupt

    monkeypatch.setattr(Factory, "run", run)
    monkeypatch.setattr(Factory, "result", lambda _self, *, stopped: Result((DONE,), 1.0, 2, stopped=stopped))
    code, out, err = call(capsys, monkeypatch, "--junit", "j.xml", "--markdown", "m.md", "--html", "page", "--json")
    assert code == 130 and "interrupted" in err
    assert json.loads(out)["error"]["problems"][0]["what"] == "interrupted by Ctrl-C"
    assert junitparser.JUnitXml.fromfile(str(tmp_path / "j.xml")).tests == 2
    assert "Stopped" in (tmp_path / "m.md").read_text() and not (tmp_path / "page").exists()


@pytest.mark.usefixtures("project", "ended")
def test_an_interruption_after_the_result_adds_no_object(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(factory, "finish", interrupted)
    code, out, _ = call(capsys, monkeypatch, "--json")
    assert code == 130 and len(json.loads(out)["images"]) == 2


def test_the_end_has_all_mistakes_once_and_the_catalogue() -> None:
    shown = factory._shown(Result((DONE, BAD, *WORSE), 3.0, 1, "/srv/images"))
    assert shown.endswith(
        "\nb: b.yaml:1:2: what\nc.yaml: d, e: c.yaml:1:2: what\n  c.yaml:2:1: more\n3 of 4 images failed\n"
        "catalogue: /srv/images"
    )
    assert "catalogue" not in factory._shown(Result((DONE,), 3.0, 1))


def test_a_failed_boot_is_shown_by_its_last_lines_and_its_report(tmp_path: Path) -> None:
    console = "\n".join(f"line {number}" for number in range(1, 31))
    reports = [
        {"hypervisor": name, "passed": passed, "report": str(tmp_path / "boot/report.html")}
        for name, passed in (("kvm", False), ("xen", False))
    ]
    passed = {"hypervisor": "xen", "passed": True, "report": "/other/report.html"}
    boot = Outcome(
        "failed", 2.0, Failure("kvm: panic (phase kernel): it", tail=console), {"verdicts": [*reports, passed]}
    )
    image = Image("a", "a", str(tmp_path), {"image": Outcome("done", 1.0), "boot": boot})
    shown = factory._shown(Result((image,), 3.0, 1)).splitlines()
    at = shown.index("a: test boot: kvm: panic (phase kernel): it")
    assert shown[at + 1 : at + 10] == [
        *(f"  line {number}" for number in range(23, 31)),
        f"  report: {tmp_path}/boot/report.html",
    ]
    assert len(shown) == at + 11
