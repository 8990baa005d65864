"""The tasks about publication as people and scripts call them: typos, --json, no terminal, ended half-way, exits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from roost.publish import verify
from tests.publish import cellar, lab


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab, "SIZES", cellar.SMALL)


@pytest.fixture
def catalogue(root: Path) -> Path:
    """Return a catalogue with two versions of smoke."""
    cellar.versions(root, str(root / "catalogue"), 2)
    return root / "catalogue"


def _roost(root: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    whole = {**os.environ, "PYTHONPATH": str(lab.PROJECT), "ROOST_ROOT": str(root), **env}
    argv = [sys.executable, "-m", "roost", *words]
    return subprocess.run(
        argv, cwd=root, env=whole, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


def _json(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["submit", "smokee", "--from", "{}"], "did you mean smoke?"),
        (["submit", "smoke", "--from", "{}@v011"], "did you mean v01?"),
        (["submit", "smoke", "--form", "{}"], "Did you mean --from?"),
        (["submit", "smoke", "--from", "{}", "--hypervisor", "kmv"], "kvm or xen"),
        (["submit", "smoke", "--from", "{}", "--hypervisor", "xen"], "its hypervisors are kvm"),
        (["submit", "smoke", "--from", "{}", "--transfer", "shred"], "files, shared, or the URL"),
        (["submit", "smoke", "--from", "{}x"], "no such directory"),
        (["verify", "{}x"], "no such directory"),
        (["verify", "{}", "--kee", "x"], "Did you mean --key?"),
        (["verify", "{}", "--key", "{}/nothing"], "no such key: '"),
        (["verify", "gopher://x/y"], "gopher:// cannot be opened"),
        (["publish", "smoke"], "inv publish NAME --to"),
        (["publish", "smoke", "--too", "{}"], "Did you mean --to?"),
        (["publish", "smokee", "--to", "{}"], "smoke"),
        (["publish", "smoke", "--to", "{}", "--version", "a/b"], "is not a valid version"),
        (["publish", "smoke", "--to", "s3://me:hunter2@b/x"], "has a password in it"),
        (["publish", "smoke", "--to", "{}", "--key", "{}/nothing"], "no such signing key: '"),
        (["catalogue", "--from", "{}x"], "no such directory"),
        (["catalogue", "--htm", "x"], "Did you mean --html?"),
        (["catalogue", "--from", "{}", "--html", "recipes"], "holds something else"),
        (["catalog"], "Did you mean catalogue?"),
        (["gc", "{}x", "--keep", "1"], "no such directory"),
        (["gc", "{}", "--keep", "smoke@v011"], "did you mean smoke@v01?"),
    ],
)
def test_a_wrong_call_is_answered_with_what_was_meant(root: Path, catalogue: Path, words: list[str], said: str) -> None:
    filled = [word.format(catalogue) for word in words]
    before = sorted(catalogue.rglob("*"))
    done = _roost(root, *filled)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr
    assert "hunter2" not in done.stderr
    assert done.stdout == ""
    assert sorted(catalogue.rglob("*")) == before
    if words[0] != "catalog" and "Did you" not in said:
        done = _roost(root, *filled, "--json")
        assert done.returncode == 2
        problems = _json(done)["error"]["problems"]
        assert any(said in f"{problem['what']} {problem['hint']}" for problem in problems)


def test_json_is_one_object_and_the_words_go_elsewhere(root: Path, catalogue: Path) -> None:
    done = _roost(root, "verify", str(catalogue), "--json")
    assert done.returncode == 0
    assert _json(done)["ok"] is True
    shown = _json(_roost(root, "catalogue", "--from", str(catalogue), "--json"))
    assert [one["version"] for one in shown["images"][0]["versions"]] == ["v01", "v00"]
    said = _json(_roost(root, "submit", "smoke", "--from", str(catalogue), "--json"))
    assert "universe" in said["submit"]
    said = _json(_roost(root, "gc", str(catalogue), "--keep=1", "--json"))
    assert (said["ok"], said["deleted"], [one["what"] for one in said["items"]]) == (True, False, ["smoke/v00"])
    for words in (
        ["verify", str(catalogue)],
        ["catalogue", "--from", str(catalogue)],
        ["gc", str(catalogue), "--keep=1"],
    ):
        done = _roost(root, *words)
        assert done.returncode == 0
        assert "\x1b" not in done.stdout + done.stderr


def test_what_is_wrong_with_the_files_is_exit_code_1(root: Path, catalogue: Path) -> None:
    path = catalogue / "smoke/v00/io.raw"
    path.write_bytes(b"x" + path.read_bytes()[1:])
    done = _roost(root, "verify", str(catalogue))
    assert done.returncode == 1
    assert "WRONG: smoke/v00/io.raw changed" in done.stdout
    assert "verification failed" in done.stdout
    done = _roost(root, "verify", str(catalogue), "--json")
    assert done.returncode == 1
    assert [one["file"] for one in _json(done)["problems"]] == ["smoke/v00/io.raw"]
    (catalogue / "smoke/v01/release.json").write_text("{}")
    for words in (["catalogue", "--from", str(catalogue)], ["submit", "smoke", "--from", f"{catalogue}@v01"]):
        assert _roost(root, *words).returncode == 1
    # What cannot be believed is left alone, and nothing is wrong with that.
    done = _roost(root, "gc", str(catalogue), "--keep", "1", "--delete")
    assert done.returncode == 0
    assert "smoke v01 is kept" in done.stdout


def test_a_place_that_cannot_be_reached_is_exit_code_3(root: Path, catalogue: Path) -> None:
    for words in (
        ["verify", "sftp://127.0.0.1:1/x"],
        ["catalogue", "--from", "sftp://127.0.0.1:1/x"],
        ["gc", "sftp://127.0.0.1:1/x", "--keep", "1"],
        ["publish", "smoke", "--to", "sftp://127.0.0.1:1/x"],
    ):
        done = _roost(root, *words)
        assert done.returncode == 3, done.stderr
        assert "cannot be reached" in done.stderr
        assert "Traceback" not in done.stderr


PUBLISH = """
import signal, sys
# A shell's background job has Ctrl-C switched off, and its children have, too.
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from roost.cli import main as cli; from roost.pipeline import build as building
from roost.publish.targets.directory import Directory
put = Directory.put
def slow(self, path, source, *rest):
    put(self, path, source, *rest)
    print("sent", flush=True)
    sys.stdin.readline()
Directory.put = slow
building.image = lambda *_, **__: None
sys.argv = ["roost", "publish", "smoke", "--to", sys.argv[1], "--version", "half"]
cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_publication_that_is_ended_half_way_is_not_listed_and_is_resumed(
    root: Path, catalogue: Path, number: signal.Signals
) -> None:
    lab.ready(root, 7)
    env = {**os.environ, "PYTHONPATH": str(lab.PROJECT), "ROOST_ROOT": str(root)}
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISH, str(catalogue)],
        cwd=root,
        env=env,
        stdin=pipe,
        stdout=pipe,
        stderr=pipe,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "sent\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == (128 + number if number != signal.SIGKILL else -9)
    assert ("interrupted" in said) is (number != signal.SIGKILL)
    assert not list(catalogue.rglob(".part-*")) or number == signal.SIGKILL
    result = verify.verify(str(catalogue))
    assert not result["problems"]
    assert {image["version"] for image in result["images"]} == {"v00", "v01"}
    begin = time.monotonic()
    done = lab.publish(root, str(catalogue), version="half")
    assert time.monotonic() - begin < 20, "nobody waits for one that has ended"
    assert done.kept >= cellar.SMALL["root.qcow2"]
    assert verify.verify(f"{catalogue}/smoke/half")["ok"]
    assert not (catalogue / "smoke/.publishing").exists()
