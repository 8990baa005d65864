"""A package source in apt's terms: an address, a suite, components, and the place of its signed index. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

_SOURCE = re.compile(r"deb(?:\s+\[(?P<options>[^\]]*)\])?\s+(?P<uri>\S+)\s+(?P<suite>\S+)\s*(?P<components>.*)")


@dataclass(frozen=True, slots=True)
class AptSource:
    """One line of sources.list: address, suite, components and options.

    `further` marks one that the recipe adds to the archive's own.
    """

    uri: str
    suite: str
    components: tuple[str, ...]
    options: str = ""
    further: bool = False

    @property
    def directory(self) -> str:
        """The address of its index's directory: below dists/, or next to the packages (sources.list(5))."""
        base = self.uri.rstrip("/")
        if not self.suite.endswith("/"):
            return f"{base}/dists/{self.suite}"
        return f"{base}/{self.suite.removeprefix('./').strip('/')}".rstrip("/")

    @property
    def index(self) -> str:
        """The address of its InRelease."""
        return f"{self.directory}/InRelease"

    @property
    def unsigned(self) -> AptSource:
        """The source without its keyring."""
        options = " ".join(one for one in self.options.split() if not one.lower().startswith("signed-by="))
        return replace(self, options=options)

    @property
    def line(self) -> str:
        """The line of a sources.list."""
        options = f"[{self.options}] " if self.options else ""
        return " ".join([f"deb {options}{self.uri}", self.suite, *self.components])


def parse_sources(text: str) -> tuple[AptSource, ...]:
    """Return the `deb` lines of a sources.list."""
    matches = (_SOURCE.fullmatch(line.strip()) for line in text.splitlines())
    return tuple(
        AptSource(found["uri"], found["suite"], tuple(found["components"].split()), (found["options"] or "").strip())
        for found in matches
        if found
    )
