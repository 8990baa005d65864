"""The Containerfile: what it installs is what `inv` installs; what it copies is what a wheel is made of."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def test_the_container_has_what_inv_installs() -> None:
    listed = re.search(r"^debian_packages=\((.*?)^\)", (PROJECT / "inv").read_text(), re.MULTILINE | re.DOTALL)
    assert listed is not None
    wanted = set(re.sub(r"#.*", "", listed[1]).split())
    text = (PROJECT / "Containerfile").read_text()
    installed = re.search(r"--no-install-recommends \\\n(.*?) && rm", text, re.DOTALL)
    assert installed is not None
    there = set(installed[1].replace("\\", "").split())
    assert there - wanted == {"linux-image-cloud-amd64", "git", "openssh-client"}
    assert not wanted - there


def test_the_container_copies_what_exists() -> None:
    sources = re.findall(r"^COPY (.*) \S+$", (PROJECT / "Containerfile").read_text(), re.MULTILINE)
    assert sources and all((PROJECT / one).exists() for line in sources for one in line.split())
