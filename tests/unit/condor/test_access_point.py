"""HTCondor's tools are asked with bounds, and what they cannot say is the host's fault, never an empty queue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roost.condor import access_point
from roost.errors import HostError, ToolError

AD = {"ClusterId": 12, "ProcId": 3, "JobStatus": 5, "HoldReason": "x", "RoostJob": "io-3"}
TOKEN = "0123456789abcdef"


def tool(directory: Path, name: str, script: str) -> None:
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.fixture
def bin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory on PATH whose tools fail; a test writes those that it needs."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("condor_submit", "condor_q", "condor_history"):
        tool(directory, name, "echo 'Failed to connect to schedd' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return directory


def test_without_tools_the_host_lacks_something(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostError, match="condor_submit is not installed") as caught:
        access_point.require()
    assert "--local" in (caught.value.problem.hint or "")


def test_without_a_schedd_the_host_lacks_something(bin: Path) -> None:
    for ask in (access_point.require, lambda: access_point.queued(TOKEN), lambda: access_point.past(TOKEN, 0, 1)):
        with pytest.raises(HostError) as caught:
            ask()
        assert "Failed to connect to schedd" in str(caught.value)


def test_ads(bin: Path) -> None:
    tool(bin, "condor_q", f"echo \"$@\" >{bin}/asked; echo '{json.dumps([AD])}'")
    (found,) = access_point.queued(TOKEN)
    assert (found.id, found.name, found.status) == ("12.3", "io-3", access_point.HELD)
    assert f'RoostRun == "{TOKEN}"' in (bin / "asked").read_text()
    tool(bin, "condor_q", "exit 0")
    assert access_point.queued(TOKEN) == []


@pytest.mark.parametrize("answer", ["{}", "[1]", '[{"ClusterId": "x"}]', "not JSON", '[{"ClusterId": 1}]', "[" * 9999])
def test_an_answer_that_cannot_be_read_is_not_an_empty_queue(answer: str) -> None:
    with pytest.raises(HostError, match="HTCondor's answer is not a list of jobs in JSON"):
        access_point.read_ads(answer)


def test_a_token_that_could_change_the_question_is_refused(bin: Path) -> None:
    with pytest.raises(ValueError):
        access_point.queued('x" || true || "')


def test_the_cluster(bin: Path, tmp_path: Path) -> None:
    tool(bin, "condor_submit", "pwd >&2; echo '12.0 - 12.9'")
    assert access_point.submit(tmp_path / "job.sub", tmp_path) == 12
    tool(bin, "condor_submit", "echo '12.0 - 12.9'; echo '13.0 - 13.0'")
    with pytest.raises(ToolError, match="named no cluster"):
        access_point.submit(tmp_path / "job.sub", tmp_path)
    tool(bin, "condor_submit", "echo \"ERROR: 'vm_disk' has incorrect format.\" >&2; exit 1")
    with pytest.raises(ToolError, match="incorrect format"):
        access_point.submit(tmp_path / "job.sub", tmp_path)


def test_what_tells_the_tools_where_htcondor_is_reaches_them(bin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_CONDOR_SCHEDD_HOST", "ap.example")
    monkeypatch.setenv("CONDOR_CONFIG", "/etc/mine")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    tool(bin, "condor_q", f"env >{bin}/env")
    access_point.queued(TOKEN)
    told = (bin / "env").read_text()
    assert "_CONDOR_SCHEDD_HOST=ap.example" in told and "CONDOR_CONFIG=/etc/mine" in told
    assert "AWS_SECRET" not in told
