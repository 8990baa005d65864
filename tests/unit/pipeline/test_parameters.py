"""When other kernel parameters change nothing but grub.cfg, and what it then is."""

from __future__ import annotations

from typing import Any

import pytest

from roost.disk import grub
from roost.pipeline import parameters
from roost.recipe.cmdline import command_line
from roost.recipe.identity import filesystem_id
from roost.recipe.model import Recipe


def _recipe(*words: str, **more: Any) -> Recipe:
    disk = {"name": "root", "partitions": [{"mount": "/", "filesystem": "ext4", "free": "8MiB"}]}
    source = {"debian": {"suite": "bookworm"}}
    return Recipe.model_validate(
        {"name": "image", "os": source, "disks": [disk], "kernel": {"parameters": list(words)}, **more}
    )


@pytest.mark.parametrize(
    "more",
    [
        {"run": ["grep -q quiet /boot/grub/grub.cfg"]},
        {"cloud_init": {"user_data": {"hostname": "x"}}},
        {"files": [{"path": "/etc/a", "template": "a.j2"}]},
    ],
)
def test_what_can_read_the_parameters_makes_a_whole_build(more: dict[str, Any]) -> None:
    assert parameters._only_in_grub(_recipe("a"), _recipe("b"))
    assert not parameters._only_in_grub(_recipe("a", **more), _recipe("b", **more))


@pytest.mark.parametrize("word", ["systemd.run=/bin/true", "systemd.unit=rescue.target", "rd.break"])
def test_parameters_for_generators_make_a_whole_build(word: str) -> None:
    """Generators that nothing uses are masked in the tree."""
    assert not parameters._only_in_grub(_recipe(word), _recipe("b"))
    assert parameters._only_in_grub(_recipe(word), _recipe(word, "b"))


def _text(recipe: Recipe, kernel: str = "/boot/vmlinuz", initrd: str | None = "/boot/initrd.img") -> bytes:
    identity = filesystem_id(recipe, recipe.root_disk, 0)
    return grub.grub_cfg(recipe, kernel, initrd, command_line(recipe), identity).encode()


@pytest.mark.parametrize("initrd", ["/boot/initrd.img", None])
def test_the_new_text_is_that_of_a_whole_build(initrd: str | None) -> None:
    old, new = _recipe("a"), _recipe("quiet", "b=$c")
    assert parameters._other(new, old, _text(old, initrd=initrd)).encode() == _text(new, initrd=initrd)


@pytest.mark.parametrize("found", [b"", b"\0" * 4096, b"\tlinux16 \xff\n", _text(_recipe("a"))[:-1] + b"#"])
def test_a_file_that_is_not_the_last_build_s_is_not_replaced(found: bytes) -> None:
    with pytest.raises(parameters._WholeBuildError):
        parameters._other(_recipe("b"), _recipe("a"), found)


def test_parameters_that_are_refused_now_make_a_whole_build() -> None:
    """An older roost cut them off silently."""
    with pytest.raises(parameters._WholeBuildError):
        parameters._other(_recipe("b"), _recipe("a" * 2048), _text(_recipe("a")))
