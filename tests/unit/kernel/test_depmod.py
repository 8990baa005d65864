"""depmod's result: what depends on the host's kmod stays only where something in the tree reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.host import process
from roost.kernel import depmod


@pytest.mark.parametrize(("kmod", "known", "binary"), [(False, True, False), (True, True, True), (False, False, True)])
def test_binary_indexes_stay_for_kmod_only(
    kmod: bool, known: bool, binary: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modules = tmp_path / "usr/lib/modules/6.1.0-1-amd64"
    modules.mkdir(parents=True)
    (modules / "modules.order").touch()
    real = process.run

    def newer(*args: object, **options: object) -> object:
        done = real(*args, **options)  # type: ignore[arg-type]
        (modules / "modules.weakdep").touch()
        return done

    monkeypatch.setattr(process, "run", newer)
    if kmod:
        (tmp_path / "usr/bin").mkdir()
        (tmp_path / "usr/bin/kmod").touch()
    depmod.index(tmp_path / "usr", "6.1.0-1-amd64", tmp_path if known else None, tmp_path / "log")
    assert (modules / "modules.dep").is_file() and not (modules / "modules.weakdep").exists()
    assert (modules / "modules.dep.bin").exists() is binary
