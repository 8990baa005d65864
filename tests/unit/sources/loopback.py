"""A signed archive on loopback, which apt of this host selects packages from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from roost.events import Silent
from roost.host import process
from roost.recipe.debian import Debian
from roost.sources import archive, keyring, repositories, solver
from roost.sources.bootstrap import Bootstrap
from roost.sources.packages import Selection
from roost.store.cache import Cache
from tests.apt_repository import CREATED, Key, publish

KEY = Key()
THEN, NOW = "Sun, 01 Nov 2026 00:00:00 UTC", "Mon, 02 Nov 2026 00:00:00 UTC"


class Archive:
    """A signed archive on loopback: `wanted` is what a recipe asks of it now."""

    def __init__(self, directory: Path, address: str, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory, self.address, self.cache, self.log = directory / "srv", address, cache, directory / "log"
        keys = directory / "test.gpg"
        keys.write_bytes(KEY.binary)
        monkeypatch.setattr(keyring, "foreign", lambda _origin: keys)
        self.updates = self.pushes = 0
        real = process.run

        def counting(argv: list[str], **options: object) -> object:
            self.updates += any(word.endswith("hooks/select") for word in map(str, argv))
            return real(argv, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(process, "run", counting)

    def push(self, date: str = THEN) -> None:
        publish(self.directory, KEY, "stable", "main", Date=date, Codename="bookworm", Suite="stable")
        # HTTP tells times by the second: each push is some seconds after the one before.
        self.pushes += 1
        for path in (self.directory / "dists/stable").rglob("*"):
            os.utime(path, (CREATED + 10 * self.pushes,) * 2)
        release = self.directory / "dists/bookworm"
        if not release.exists():
            release.symlink_to("stable")

    def wanted(self, *names: str, variant: str = "unpacked", repositories_: tuple[object, ...] = ()) -> Bootstrap:
        debian = Debian.model_validate(
            {
                "suite": "bookworm", "packages": names, "variant": variant, "mirror": self.address,
                "repositories": repositories_,
            }
        )  # fmt: skip
        extra = repositories.read(debian, self.directory.parent)
        index = archive.index(debian, self.cache, self.log, Silent(), [one.source for one in extra])
        return Bootstrap(debian, None, "busybox", (), index, None, extra)

    def select(self, asked: Bootstrap, locked: Selection | None = None) -> Bootstrap:
        return solver.selected(asked, self.cache, self.log, locked)
