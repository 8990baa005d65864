"""`inv check` refuses kernel parameters that never reach the kernel, each at its place, and nothing that arrives."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.errors import RecipeError
from roost.pipeline import planning
from roost.recipe import cmdline, loader

PROJECT = Path(__file__).resolve().parents[3]
TREE = "{debian: {suite: bookworm, variant: unpacked, packages: [busybox-static]}}"
PARTITIONED = "{name: root, partitions: [{mount: /, filesystem: ext4, free: 16MiB}]}"
IMAGE, WHOLE = "{image: {url: 'https://images.example.org/a.qcow2', sha256: " + "0" * 64 + "}}", "{name: root}"
XEN, BOTH = "hypervisors: [xen]", "hypervisors: [kvm, xen]"
EXTERNAL = "submit: {kernel_path: /srv/kernels}\nhypervisors: [xen]"


def refusals(directory: Path, kernel: str, more: str = "", *, edited: bool = False) -> list[tuple[str, str]]:
    """Return LINE:COLUMN and the message with its hint of each problem of a recipe; the kernel is in line 4."""
    os_, disk = (IMAGE, WHOLE) if edited else (TREE, PARTITIONED)
    path = directory / "r.yaml"
    path.write_text(f"name: r\nos: {os_}\ndisks: [{disk}]\nkernel: {kernel}\n{more}\n")
    try:
        loader.load(path, PROJECT, (), planning.problems)
    except RecipeError as error:
        found = [one for one in error.problems if one.where is not None]
        assert len(found) == len(error.problems)
        return [(f"{one.where.line}:{one.where.column}", f"{one.what} ({one.hint})") for one in found if one.where]
    return []


@pytest.mark.parametrize(
    ("word", "more", "said"),
    [
        ('a="b_c"', "", 'GRUB cannot pass \'"\' to a kernel: a="b_c" (use ASCII without blanks, \', " and \\)'),
        ("q\\z", "", "GRUB cannot pass '\\' to a kernel: q\\z (use ASCII without blanks, ', \" and \\)"),
        ("q\\z", XEN, "GRUB cannot pass '\\' to a kernel: q\\z (use letters, digits and _./:=,@%+- under xen)"),
        ("$(id)", BOTH, "grub.cfg would have to quote $(id), and pygrub does not read quotes (use letters, digits"),
        ("a=$x", BOTH, "grub.cfg would have to quote a=$x, and pygrub does not read quotes (use letters, digits"),
        ("root=/dev/x", "", "root=/dev/x: roost sets root= itself (leave it out"),
        ("root=LABEL=x", BOTH, "root=LABEL=x: roost sets root= itself (leave it out"),
    ],
)
def test_a_parameter_that_every_build_refuses(word: str, more: str, said: str, tmp_path: Path) -> None:
    ((where, message),) = refusals(tmp_path, f"{{parameters: [quiet, '{word}']}}", more)
    assert where == "4:30"
    assert message.startswith(said)


@pytest.mark.parametrize(
    ("kernel", "more", "edited"),
    [
        ("{parameters: ['$(id)', 'a=$x', 'a=<&>', roots=1]}", "", False),
        ("{parameters: ['a=!b', root=/dev/xvda1], placement: external}", EXTERNAL, False),
        ("{parameters: ['a=\"b_c\"', root=LABEL=x]}", "", True),
        ("{parameters: ['a=$x', root=LABEL=x]}", XEN, True),
    ],
)
def test_a_parameter_that_arrives(kernel: str, more: str, edited: bool, tmp_path: Path) -> None:
    assert refusals(tmp_path, kernel, more, edited=edited) == []


def test_a_given_grub_cfg_has_its_own_root(tmp_path: Path) -> None:
    given = 'files: [{path: /boot/grub/grub.cfg, content: "menuentry x {\\n linux /vmlinuz root=LABEL=x\\n}\\n"}]'
    assert refusals(tmp_path, "{parameters: [root=LABEL=x]}", given) == []


#: The line without parameters: "root=UUID=" and a UUID, "ro", the consoles.
KVM, HVC = len("console=tty0 console=ttyS0,115200 "), len("console=hvc0 ")
BASE = len("root=UUID=") + 36 + len(" ro ")


@pytest.mark.parametrize(
    ("more", "keys", "edited", "room", "said"),
    [
        (
            "",
            "",
            False,
            2047 - cmdline.RESERVE - BASE - KVM,
            "2048 bytes, 90 of them for GRUB's BOOT_IMAGE=, and Linux",
        ),
        ("", "", True, 2047 - cmdline.RESERVE - BASE - KVM, "2048 bytes, 90 of them for GRUB's BOOT_IMAGE=, and Linux"),
        (XEN, "", False, 1023 - BASE - HVC, "1024 bytes, and a Xen PV guest takes 1023: the end would be lost"),
        (XEN, "", True, 1023 - BASE - HVC, "1024 bytes, and a Xen PV guest takes 1023: the end would be lost"),
        (BOTH, "", False, 1023 - BASE - KVM - HVC, "1024 bytes, and a Xen PV guest takes 1023"),
        (EXTERNAL, "placement: external, ", False, 1023 - BASE - HVC, "1024 bytes, and a Xen PV guest takes 1023"),
    ],
)
def test_a_command_line_that_is_too_long(
    more: str, keys: str, edited: bool, room: int, said: str, tmp_path: Path
) -> None:
    def found(size: int) -> list[tuple[str, str]]:
        return refusals(tmp_path, f"{{{keys}parameters: [{'a' * (size - 2)}, b]}}", more, edited=edited)

    assert found(room) == []
    ((where, message),) = found(room + 1)
    assert where == f"4:{len('kernel: {') + len(keys) + 1}"
    assert message.startswith(f"the kernel's command line has {said}")
    assert message.endswith("(shorten kernel.parameters by 1 byte)")


@pytest.mark.parametrize("word", ["ä=1", "", "a b"])
def test_the_hint_of_a_parameter_that_is_none(word: str, tmp_path: Path) -> None:
    ((where, message),) = refusals(tmp_path, f"{{parameters: [quiet, '{word}']}}")
    assert where == "4:30"
    assert message == f"'{word}' is not allowed here (expected one parameter: ASCII without blanks, not empty)"
