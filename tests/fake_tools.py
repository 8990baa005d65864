"""Fake tools: programs on PATH that keep what they were called with, and do what a test says."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class FakeTools:
    """A directory for PATH; each tool in it adds its arguments to a file beside before its script runs."""

    directory: Path

    def put(self, name: str, script: str = "") -> Path:
        """Write a tool, a shell script that ends well unless it says otherwise."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / name
        # A call: its arguments, each after a unit separator, and a record separator. No test passes these.
        note = f"{{ for one; do printf '\\037%s' \"$one\"; done; printf '\\036'; }} >>'{self._log(name)}'"
        path.write_text(f"#!/bin/sh\n{note}\n{script}\n")
        path.chmod(0o755)
        return path

    def calls(self, name: str) -> list[list[str]]:
        """Return the arguments of each call of a tool, in their order."""
        log = self._log(name)
        return [call.split("\x1f")[1:] for call in log.read_text().split("\x1e")[:-1]] if log.exists() else []

    def _log(self, name: str) -> Path:
        return self.directory.with_name(f"{self.directory.name}.calls.{name}")
