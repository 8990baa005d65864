"""Units that a machine for one job has no use for are masked; what the image itself has a use for is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.customize import units

#: What is in every tree of these tests.
PRESENT = ("systemd-pstore.service", "sys-kernel-debug.mount", "getty@.service", "systemd-sysusers.service",
           "systemd-udev-trigger.service", "systemd-binfmt.service", "ssh.service")  # fmt: skip
PRESENT_GENERATORS = ("systemd-cryptsetup-generator", "systemd-sysv-generator", "systemd-debug-generator",
                      "systemd-run-generator", "systemd-fstab-generator")  # fmt: skip
OWN = "etc/systemd/system"
COLDPLUG = f"{OWN}/systemd-udev-trigger.service.d/roost.conf"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a tree of units and generators as systemd's package has them."""
    for name in PRESENT:
        lay(tmp_path, f"usr/lib/systemd/system/{name}", "[Unit]\nDescription=x\n")
    for name in PRESENT_GENERATORS:
        lay(tmp_path, f"usr/lib/systemd/system-generators/{name}", "")
    lay(tmp_path, "usr/lib/sysusers.d/basic.conf", "# x\ng adm 4 -\nu  root  0  -\nu messagebus -\nr - 500-900\n")
    lay(tmp_path, "etc/passwd", "root:x:0:0::/root:/bin/sh\nmessagebus:x:100:100::/:/bin/false\n")
    lay(tmp_path, "etc/group", "root:x:0:\nadm:x:4:\nmessagebus:x:100:\n")
    lay(tmp_path, "usr/lib/binfmt.d/python3.11.conf", ":python3.11:\n")
    return tmp_path


def lay(tree: Path, path: str, text: str) -> None:
    """Write a file of a tree."""
    (tree / path).parent.mkdir(parents=True, exist_ok=True)
    (tree / path).write_text(text)


def masked(tree: Path, **more: object) -> set[str]:
    """Return the names of what was masked; each is a link to /dev/null, and the drop-in of udev is a file."""
    found = units.rest(tree, **more)  # type: ignore[arg-type]
    for path in found:
        if path == COLDPLUG:
            assert (tree / path).read_text() == units.COLDPLUG
        else:
            assert str((tree / path).readlink()) == "/dev/null"
    return {path.rpartition("/")[2] for path in found}


def test_what_has_no_use_is_masked(tree: Path) -> None:
    assert masked(tree) == {
        "systemd-pstore.service",
        "sys-kernel-debug.mount",
        "systemd-binfmt.service",
        "getty@tty1.service",
        "systemd-sysusers.service",
        "systemd-cryptsetup-generator",
        "systemd-sysv-generator",
        "systemd-run-generator",
        "systemd-debug-generator",
        "roost.conf",
    }
    # What is masked is not there a second time.
    assert masked(tree) == set()


@pytest.mark.parametrize(
    ("path", "text", "kept"),
    [
        ("etc/crypttab", "", "systemd-cryptsetup-generator"),
        ("etc/binfmt.d/wine.conf", "", "systemd-binfmt.service"),
        ("usr/lib/binfmt.d/qemu-arm.conf", "", "systemd-binfmt.service"),
        ("usr/lib/sysusers.d/mine.conf", "u mine -\n", "systemd-sysusers.service"),
        ("etc/sysusers.d/mine.conf", "g mine -\n", "systemd-sysusers.service"),
        ("usr/lib/sysusers.d/mine.conf", "m root adm\n", "systemd-sysusers.service"),
        ("usr/lib/sysusers.d/mine.conf", "x what is this\n", "systemd-sysusers.service"),
        ("etc/rc2.d/S01mine", "", "systemd-sysv-generator"),
        ("etc/udev/rules.d/99-mine.rules", 'KERNEL=="tty7", MODE="0666"\n', "roost.conf"),
        (f"{OWN}/systemd-udev-trigger.service.d/mine.conf", "[Service]\n", "roost.conf"),
        (f"{OWN}/systemd-pstore.service", "[Service]\n", "systemd-pstore.service"),
        (f"{OWN}/systemd-pstore.service.d/mine.conf", "[Service]\n", "systemd-pstore.service"),
        (f"{OWN}/mine.service", "[Unit]\nRequires=a.service systemd-pstore.service\n", "systemd-pstore.service"),
        (f"{OWN}/mine.service.d/a.conf", "[Unit]\nBindsTo=systemd-pstore.service\n", "systemd-pstore.service"),
        ("usr/lib/systemd/system/mine.service", "[Unit]\nRequiresMountsFor=/opt /sys/kernel/debug/x\n",
         "sys-kernel-debug.mount"),
        (f"{OWN}/mine.target.requires/systemd-pstore.service", "", "systemd-pstore.service"),
    ],
)  # fmt: skip
def test_what_the_image_has_a_use_for_stays(tree: Path, path: str, text: str, kept: str) -> None:
    everything = masked_with(tree)
    lay(tree, path, text)
    assert masked(tree) == everything - {kept}


def test_a_script_that_a_unit_stands_for_needs_no_generator(tree: Path) -> None:
    lay(tree, "etc/rc2.d/S02ssh", "")
    lay(tree, "etc/rcS.d/S01hwclock.sh", "")
    (tree / "usr/lib/systemd/system/hwclock.service").symlink_to("/dev/null")
    assert "systemd-sysv-generator" in masked(tree)


def test_what_recipe_and_machine_ask_for_stays(tree: Path) -> None:
    assert "getty@tty1.service" not in masked_with(tree, screen=True)
    assert "systemd-pstore.service" not in masked_with(tree, enabled=["systemd-pstore.service"])
    assert "systemd-pstore.service" not in masked_with(tree, enabled=["systemd-pstore"])
    assert "systemd-debug-generator" not in masked_with(tree, cmdline="quiet systemd.mask=x.service")
    assert "systemd-run-generator" not in masked_with(tree, cmdline="systemd.run=/bin/x")


def masked_with(tree: Path, **more: object) -> set[str]:
    """Return what is masked with some wishes, and leave the tree as it was."""
    found = units.rest(tree, **more)  # type: ignore[arg-type]
    for path in found:
        (tree / path).unlink()
    (tree / COLDPLUG).parent.rmdir()
    return {path.rpartition("/")[2] for path in found}


def test_a_tree_without_systemd_stays_as_it_is(tmp_path: Path) -> None:
    lay(tmp_path, "etc/passwd", "root:x:0:0::/root:/bin/sh\n")
    assert units.rest(tmp_path) == ()
    assert not (tmp_path / "etc/systemd").exists()


def test_the_job_starts_after_the_units_that_the_recipe_enables(tree: Path) -> None:
    enabled = ["ssh", "a.socket", "late.service", "after@one.service", "x.timer", "ssh.service"]
    lay(tree, f"{OWN}/late.service", "[Unit]\nAfter=network.target roost-job.service\n")
    lay(tree, f"{OWN}/after@.service", "[Unit]\nAfter=roost-job.service\n")
    units.await_services(tree, enabled)
    assert not (tree / OWN / "roost-job.service.d").exists()
    lay(tree, f"{OWN}/roost-job.service", "[Service]\n")
    units.await_services(tree, enabled)
    text = (tree / OWN / "roost-job.service.d/services.conf").read_text()
    # A unit that waits for the job would be a circle.
    assert [line for line in text.splitlines() if line.startswith("After=")] == [
        "After=ssh.service",
        "After=a.socket",
    ]
