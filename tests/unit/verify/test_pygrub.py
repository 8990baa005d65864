"""What is known to keep pygrub from starting an image, where it is not there to be asked; and how it is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.verify import pygrub

GOOD = "set default=0\nmenuentry 'a' {\n\tlinux /boot/vmlinuz root=UUID=1 ro\n\tinitrd /boot/initrd.img\n}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (GOOD, None),
        (GOOD.replace("set default=0", 'set default="${saved_entry}"'), None),
        (f"submenu 'more' {{\n{GOOD}}}\n", None),
        ("", "no menuentry"),
        ("linux /boot/vmlinuz\ninitrd /boot/initrd.img\n", "no menuentry"),
        ("menuentry 'a' {\n}\n", "names no kernel"),
        (GOOD.replace("/boot/initrd.img", "/boot/early.img /boot/initrd.img"), "one initrd only"),
        (GOOD.replace("/boot/vmlinuz", "($root)/boot/../vmlinuz"), "not plain"),
        (GOOD.replace("/boot/initrd.img", "/boot/../initrd.img"), "not plain"),
        (GOOD.replace("set default=0", 'set default="1>2"'), "not a number"),
    ],
)
def test_configurations(text: str, said: str | None) -> None:
    found = list(pygrub.mistakes(text))
    assert bool(found) == bool(said) and (said or "") in " ".join(found)


@pytest.mark.parametrize("place", ["bin/pygrub", "pygrub", "usr/lib/xen-4.9/bin/pygrub"])
def test_found_in_the_directory_that_the_variable_names(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(pygrub.VARIABLE, str(tmp_path))
    assert pygrub.find() is None
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).touch()
    found = pygrub.find()
    assert found is not None and found.program == tmp_path / place


def test_the_newest_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(pygrub.VARIABLE, str(tmp_path))
    for version in ("4.9", "4.17"):
        program = tmp_path / f"usr/lib/xen-{version}/bin/pygrub"
        program.parent.mkdir(parents=True)
        program.touch()
        (program.parent.parent / "lib/x86_64-linux-gnu/xenfsimage").mkdir(parents=True)
    found = pygrub.find()
    assert found is not None and found.version == "4.17"
    assert found.environment["LD_LIBRARY_PATH"].endswith("xen-4.17/lib/x86_64-linux-gnu")
