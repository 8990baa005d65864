"""What `inv ssh` refuses before anything starts, and the hint for an image without a server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from roost.boot.remote import Login
from roost.cli import verb
from roost.errors import HostError, UsageError
from roost.events import Silent
from roost.pipeline import ssh
from roost.pipeline.boot import DEFAULTS
from roost.recipe import loader

RECIPE = "name: x\nos: {%s}\ndisks: [{name: root, partitions: [{mount: /, free: 5MiB}]}]\n"


def test_an_image_that_is_not_built_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(RECIPE % "debian: {suite: bookworm}")
    with pytest.raises(UsageError, match="x is not built yet"):
        ssh.ssh(str(path), Login(), events=Silent(), options=DEFAULTS)


def test_on_a_host_without_a_client_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("roost.host.process.SBIN", ())
    with pytest.raises(HostError, match="ssh is not installed") as caught:
        ssh.ssh("x", Login(), events=Silent(), options=DEFAULTS)
    assert "openssh-client" in str(caught.value)


def test_the_keys_that_bring_a_server_are_keys_of_a_recipe(tmp_path: Path) -> None:
    for number, key in enumerate(re.findall(r"`([^`]+)`", ssh.LACKING)):
        path = tmp_path / f"x{number}.yaml"
        text = RECIPE.replace("name: x", f"name: x{number}") % "debian: {suite: bookworm}"
        path.write_text(f"extends: [head{number}.yaml]\n{key}\n")
        (tmp_path / f"head{number}.yaml").write_text(text)
        loaded = loader.load(str(path), tmp_path)
        assert "openssh-server" in f"{loaded.recipe.os} {loaded.recipe.run}"


def test_the_words_of_a_command_are_those_that_were_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["roost", "ssh", "x", "--", "echo", "a  b", "--", "c"])
    assert verb.after_dashes() == ["echo", "a  b", "--", "c"]
    monkeypatch.setattr("sys.argv", ["roost", "ssh", "x"])
    assert verb.after_dashes() == []
